"""The headers of every answer to people and programs, whoever made it: pages, API, admin, docs, errors, files."""

from collections.abc import Mapping

from django.conf import settings

_BASE = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self'{styles}; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
STRICT = _BASE.format(scripts="", styles="")
NOT_NEEDED = (
    "accelerometer",
    "autoplay",
    "camera",
    "display-capture",
    "encrypted-media",
    "fullscreen",
    "geolocation",
    "gyroscope",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "screen-wake-lock",
    "usb",
    "xr-spatial-tracking",
)
OF_PASSKEYS = ("publickey-credentials-create", "publickey-credentials-get")
ALWAYS = {
    "Permissions-Policy": ", ".join(
        (*(f"{feature}=()" for feature in NOT_NEEDED), *(f"{feature}=(self)" for feature in OF_PASSKEYS))
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def policy_of_admin(nonce: str = "") -> str:
    """Give the policy of the admin's pages; under a nonce a library's styles are let in.

    Alpine, which moves the admin, evaluates the attributes of its templates.
    """
    return _BASE.format(scripts=" 'unsafe-eval'", styles=f" 'nonce-{nonce}'" if nonce else "")


def missing(path: str, present: Mapping[str, str], *, is_secure: bool) -> dict[str, str]:
    """Give the headers that an answer still lacks. `present` finds names in whatever case."""
    wanted = {"Content-Security-Policy": _policy_of(path), **ALWAYS}
    if is_secure and settings.SECURE_HSTS_SECONDS:
        wanted["Strict-Transport-Security"] = _transport()
    lacking = {name: value for name, value in wanted.items() if name not in present}
    if "no-store" not in present.get("Cache-Control", "") and not _may_be_kept(path, present):
        lacking["Cache-Control"] = "no-store"
    return lacking


def _policy_of(path: str) -> str:
    return policy_of_admin() if path.startswith("/admin/") else STRICT


def _transport() -> str:
    below = "; includeSubDomains" if settings.SECURE_HSTS_INCLUDE_SUBDOMAINS else ""
    return f"max-age={settings.SECURE_HSTS_SECONDS}{below}"


def _may_be_kept(path: str, present: Mapping[str, str]) -> bool:
    """Say whether this is a static file, which says by itself for how long; errors there say nothing."""
    return path.startswith(settings.STATIC_URL) and "Cache-Control" in present
