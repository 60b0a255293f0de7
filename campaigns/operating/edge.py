"""What the doctor sees at the public address, as an agent comes there: certificate, names, and a held read.

The read goes through every proxy between and is held as long as the gateway holds it; who cuts it is told by when.
"""

import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from django.conf import settings
from django.db import DatabaseError

from agents.inventory import installation
from agents.models import Host
from agents.protocol.endpoints import PREFIXES
from agents.protocol.node_key import NodeKeys, nobody
from campaigns.operating.finding import Finding, broken, warning, well
from fleet.counting import counted

AGENTS_WAIT = 16.0  # seconds; osqueryd's own, it cannot be set
SOON_DAYS = 30
SHORTEST_HOLD = 0.8  # of HOLD_SECONDS
MOST_APART = 2.0  # seconds between two clocks
# What something before the gateway answers that does not cut a held read, and what is the matter then.
ADVICE_BY_STATUS = {
    403: "does it ask hosts for certificates (mutual TLS)? Give one with --client-cert and --client-key",
    404: "let it lead /api/osquery/ and /api/v1/osquery/ to the gateways: docs/proxies.md",
    413: "let it take bodies of MAX_BODY_BYTES: docs/proxies.md",
    502: "no gateway answers it: is one running, and does it look at the right port?",
    503: "no gateway answers it: is one running, and is its health check /livez?",
}
HOSTNAME_MISMATCH = 62  # X509_V_ERR_HOSTNAME_MISMATCH of OpenSSL


@dataclass(frozen=True)
class Edge:
    """The public address, what its certificate is checked against, and the name that agents' flagfiles say."""

    host: str
    port: int
    is_secure: bool
    ca: Path | None
    name: str
    shown: tuple[Path, Path] | None = None  # a host's certificate and its key, where the edge asks for one

    @classmethod
    def at(cls, url: str, ca: Path | None, name: str, shown: tuple[Path, Path] | None = None) -> "Edge":
        """Read an address like https://fleet.example.org:8443, and see whether the files are what they should be.

        Raise ValueError.
        """
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{url!r} is no address like https://fleet.example.org: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address like https://fleet.example.org")
        is_secure = parts.scheme == "https"
        found = cls(parts.hostname, port or (443 if is_secure else 80), is_secure, ca, name or parts.hostname, shown)
        try:
            found.context()
        except OSError as error:
            files = " and ".join(str(file) for file in (ca, *(shown or ())) if file)
            raise ValueError(f"{files} cannot be used, files in PEM are wanted: {error}") from error
        return found

    def context(self) -> ssl.SSLContext:
        """Make what a connection is checked by, and with. Raise OSError for files that cannot be used."""
        made = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
        if self.shown is not None:
            made.load_cert_chain(*self.shown, password=lambda: "")  # it would ask the terminal for a key's
        return made

    def connect(self, wait: float = AGENTS_WAIT, *, checked: bool = True) -> socket.socket:
        """Open a connection as an agent does. Raise OSError."""
        plain = socket.create_connection((self.host, self.port), wait)
        if not self.is_secure:
            return plain
        context = self.context()
        if not checked:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            return context.wrap_socket(plain, server_hostname=self.name)
        except OSError:
            plain.close()
            raise


def edge(at: Edge) -> Iterator[Finding]:
    """Look at the public address."""
    try:
        yield from _certificate(at)
        status, headers, _ = _asked(at, "GET", "/livez")
        if status != 200:
            yield broken(
                "edge",
                f"/livez answers {status} at {at.host}:{at.port}",
                "does the proxy lead to a gateway or console?",
            )
        yield from _clock(headers)
        yield from _names(at)
        yield from _held_read(at)
    except (OSError, HTTPException) as error:
        yield broken("edge", f"{at.host}:{at.port} cannot be reached: {error}", _advice_when_unreachable(error))


def _advice_when_unreachable(error: Exception) -> str:
    if "CERTIFICATE_REQUIRED" in str(error) or "HANDSHAKE_FAILURE" in str(error):
        return "it asks hosts for certificates (mutual TLS): give one with --client-cert and --client-key"
    return "see PUBLIC_URL, the proxy, and the firewall"


def _certificate(at: Edge) -> Iterator[Finding]:
    if not at.is_secure:
        yield broken("edge", f"{at.host}:{at.port} is spoken to without TLS", "osqueryd speaks TLS alone")
        return
    try:
        at.connect().close()
    except ssl.SSLCertVerificationError as error:
        yield broken("edge", f"agents refuse the certificate: {error.verify_message}", _advice_of(at, error))
    with at.connect(checked=False) as connection:
        der = connection.getpeercert(binary_form=True)  # type: ignore[attr-defined]  # it is of TLS here
        version = connection.version()  # type: ignore[attr-defined]
    certificate = x509.load_der_x509_certificate(der)
    left = (certificate.not_valid_after_utc - datetime.now(UTC)).days
    said = f"the certificate of {at.name} is good for {counted(left, 'more day')}, over {version}"
    if 0 <= left < SOON_DAYS:
        yield warning("edge", said, "renew it: agents that do not trust it are silent, and say so nowhere")
    elif left >= SOON_DAYS:
        yield well("edge", said)


def _advice_of(at: Edge, error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code == HOSTNAME_MISMATCH:
        return f"its names must have {at.name}, which is the tls_hostname of the flagfile"
    trusted = at.ca or "this machine's certificates"
    return f"it is checked against {trusted}: give the CA of the flagfile's tls_server_certs with --ca, or renew it"


def _names(at: Edge) -> Iterator[Finding]:
    """Look whether people are let in by this address: agents are served under any name."""
    status = 0
    with suppress(OSError, HTTPException):  # whoever cuts it cuts the held read as well, which is told
        status, _, _ = _asked(at, "GET", "/login/")
    if status == 400:
        said = f"consoles refuse people who come to {at.name}"
        yield warning("edge", said, f"add {at.name} to ALLOWED_HOSTS, and its origin to CSRF_TRUSTED_ORIGINS")


def _clock(headers: Message) -> Iterator[Finding]:
    if "date" not in headers:
        return
    apart = abs((parsedate_to_datetime(headers["date"]) - datetime.now(UTC)).total_seconds()) - 1  # whole seconds
    if apart > MOST_APART:
        yield warning(
            "edge",
            f"the clock at the public address is {counted(round(apart), 'second')} off",
            "let all machines follow one NTP",
        )


def _held_read(at: Edge) -> Iterator[Finding]:
    """Ask for work as nobody: a key that a gateway knows to be sound, of no host, so that nothing is handed out."""
    if why := _cannot_ask():
        yield warning("edge", f"no held read was tried: {why}", "run the doctor beside a gateway, once hosts enrolled")
        return
    key = NodeKeys(settings.NODE_KEY_SECRETS).issue(*nobody(installation.here().life.name))
    began = time.monotonic()
    try:
        status, _, answer = _asked(at, "POST", f"{PREFIXES[0]}distributed/read", json.dumps({"node_key": key}))
    except TimeoutError:
        said = f"a read was not answered within {AGENTS_WAIT:.0f} seconds, which is all that agents wait"
        yield broken("edge", said, f"HOLD_SECONDS is {settings.HOLD_SECONDS:g}: is there a proxy that gathers answers?")
    except (OSError, HTTPException) as error:
        said = f"a held read was cut after {time.monotonic() - began:.1f} seconds: {error}"
        yield broken("edge", said, _longer())
    else:
        yield _verdict(status, answer, time.monotonic() - began)


def _cannot_ask() -> str:
    """Say why nobody's key cannot be made here, or would not be known; "" = it can."""
    if "NODE_KEY_SECRETS" in settings.MISSING_SECRETS:
        return "NODE_KEY_SECRETS is not set here"
    try:
        return "" if Host.objects.exists() else "no host has enrolled yet"
    except DatabaseError:
        return "PostgreSQL does not answer"


def _verdict(status: int, answer: bytes, seconds: float) -> Finding:
    if status != 200:
        said = f"something before the gateway answered a held read with {status} after {seconds:.1f} seconds"
        return broken("edge", said, ADVICE_BY_STATUS.get(status) or _longer())
    if b"node_invalid" in answer:
        said = "the gateway does not know keys of these NODE_KEY_SECRETS and this database"
        return broken("edge", said, "gateways and this machine need the same NODE_KEY_SECRETS and DATABASE_URL")
    if answer.strip() != b"{}":
        return broken("edge", f"a read is answered with {answer[:200]!r}", "the gateway's log says why")
    if settings.HOLD_SECONDS and seconds < SHORTEST_HOLD * settings.HOLD_SECONDS - 0.5:
        said = f"a read was answered after {seconds:.1f} of HOLD_SECONDS, {settings.HOLD_SECONDS:g}: gateways hold none"
        return warning(
            "edge", said, "they are full or stopping, or have another HOLD_SECONDS: answers come seconds later"
        )
    return well("edge", f"a read was held {seconds:.1f} seconds and answered")


def _longer() -> str:
    return f"let every proxy wait longer than HOLD_SECONDS, {settings.HOLD_SECONDS:g} s: docs/proxies.md"


def _asked(at: Edge, method: str, path: str, body: str | None = None) -> tuple[int, Message, bytes]:
    """Ask on a connection of its own, as agents do; give status, headers, body. Raise OSError or HTTPException."""
    connection = HTTPConnection(at.name, at.port)
    connection.sock = at.connect(checked=False)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()
