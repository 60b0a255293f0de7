"""One tier as the demo and docker/ serve it, `fleet.serve` over TLS, and what is sent to it in bytes."""

import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fleet.demo.certificates import Certificates, _builder, _pem, _subject
from tests.agents.wire.conftest import GatewayProcess

PATIENCE = 30  # seconds; on a machine with other work
MiB = 2**20
Then = Callable[[socket.socket], bytes]  # sends; gives what it heard


class Tier(GatewayProcess):
    """One tier in a process of its own, over TLS."""

    def __init__(self, name: str, folder: Path, certificates: Certificates, **changes: str) -> None:
        self._trust = ssl.create_default_context(cafile=str(certificates.ca))
        self.temporary = folder / name
        self.temporary.mkdir()
        own = {"DJANGO_SETTINGS_MODULE": "fleet.settings", "TMPDIR": str(self.temporary), **changes}
        files = ("--certificate", str(certificates.server), "--key", str(certificates.server_key))
        super().__init__(folder / f"{name}.log", {**os.environ, **own}, name, *files)

    def connect(self) -> socket.socket:
        """Open a connection, as a browser does."""
        return self._trust.wrap_socket(super().connect(), server_hostname="localhost")


def client_certificate(certificates: Certificates, folder: Path, name: str) -> tuple[Path, Path]:
    """Make a host's certificate, signed by the same CA, and its key; give both files."""
    ca = x509.load_pem_x509_certificate(certificates.ca.read_bytes())
    ca_key = serialization.load_pem_private_key(certificates._ca_key.read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    signed = _builder(_subject(name), ca.subject, key.public_key(), 30).sign(ca_key, hashes.SHA256())
    files = (folder / f"{name}.pem", folder / f"{name}-key.pem")
    files[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(_pem(key))
    return files


def sent(to: GatewayProcess, head: str, body: bytes = b"", *, then: "Then | None" = None) -> str:
    """Send this request, and what `then` sends; give everything until the server closes."""
    return sent_as_is(to, on_the_wire(head) + body, then)


def sent_as_is(to: GatewayProcess, content: bytes, then: "Then | None") -> str:
    with to.connect() as connection:
        heard = b""
        try:
            connection.sendall(content)
            if then is not None:
                heard = then(connection)
        except OSError:
            pass  # the server had heard enough; what it said is still there to be read
        return heard.decode() + everything(connection)


def on_the_wire(head: str) -> bytes:
    return head.replace("\n", "\r\n").encode() + b"\r\n\r\n"


def everything(connection: socket.socket) -> str:
    content = b""
    connection.settimeout(PATIENCE)
    try:
        while piece := connection.recv(2**16):
            content += piece
    except (ConnectionError, ssl.SSLError):
        pass  # closed without a farewell
    return content.decode(errors="replace")


def head(path: str, *lines: str, method: str = "POST") -> str:
    return "\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines])


def memory_of(process: GatewayProcess) -> int:
    return int(psutil.Process(process.pid).memory_info().rss)


def upgraded(to: GatewayProcess, path: str, *lines: str) -> tuple[socket.socket, str]:
    """Ask for a socket; give the connection and the head of the answer."""
    connection = to.connect()
    connection.settimeout(PATIENCE)
    key = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {'A' * 22}==")
    asked = head(path, *key, *lines, method="GET").replace("Connection: close", "Connection: Upgrade")
    connection.sendall(on_the_wire(asked))
    heard = b""
    while not heard.endswith(b"\r\n\r\n"):
        heard += connection.recv(1)
    return connection, heard.decode()


def frame(opcode: int, content: bytes, *, final: bool = True) -> bytes:
    """Write a client's frame, masked with zeros."""
    return bytes([0x80 * final | opcode, 0xFF]) + len(content).to_bytes(8, "big") + bytes(4) + content
