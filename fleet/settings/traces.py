"""Whether traces are sent: what OpenTelemetry's variables say, as far as it is for us to look at them.

Read before anything starts, so that a process that could not send does not begin.
"""

from importlib.metadata import PackageNotFoundError, version

from django.core.exceptions import ImproperlyConfigured

from fleet.settings.environment import env

EXPORTER = "opentelemetry-exporter-otlp-proto-http"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def are_on() -> bool:
    """Say whether there is somewhere to send them. Raise ImproperlyConfigured when it could not be done."""
    named = {name: place for name in ENDPOINTS if (place := env.place(name, default=""))}
    if not named or env.bool("OTEL_SDK_DISABLED", default=False):
        return False
    if _one_of("OTEL_TRACES_EXPORTER", "otlp", "none") == "none":
        return False
    for name, place in named.items():
        if not place.startswith(("http://", "https://")):
            said = f"…{place.rpartition('@')[2]!r}"  # without what lets in
            raise ImproperlyConfigured(f"{name} {said} is no address that begins with http:// or https://")
    for name in PROTOCOLS:
        _one_of(name, "http/protobuf")
    try:
        version(EXPORTER)
    except PackageNotFoundError as error:
        raise ImproperlyConfigured(
            f"{next(iter(named))} is set, and traces need the package {EXPORTER}, which is not installed:"
            " pip install -r requirements-extra.txt"
        ) from error
    return True


def _one_of(name: str, *words: str) -> str:
    """Read a word; the first when it is not set, which for OpenTelemetry an empty one is not."""
    return env.choice(name, words, default=words[0]) if env.str(name, default="") else words[0]


def headers() -> str:
    """Give what is sent along, "name=value,other=value": mostly what lets in, so it may come from a file as well."""
    given: str = env.str("OTEL_EXPORTER_OTLP_TRACES_HEADERS", default="")
    return given or str(env.str("OTEL_EXPORTER_OTLP_HEADERS", default=""))
