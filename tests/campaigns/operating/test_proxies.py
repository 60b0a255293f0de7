"""The proxies of docs/proxies.md, as they stand there, before a real server: held reads, sockets, addresses."""

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from django.test import Client

from agents.board import heartbeats, keyspace, redis_client
from agents.models import EnrollSecret
from campaigns.operating import edge as edges
from fleet import addresses
from fleet.demo.certificates import Certificates
from fleet.peers import Peers
from tests.agents.wire.conftest import GatewayProcess, Server, eventually
from tests.campaigns.operating.test_doctor import HOLD, at, said
from tests.factories import make_host
from tests.fleet.tiers import Tier, client_certificate, upgraded
from tests.ports import free_port

DOCS = Path(__file__).parents[3] / "docs" / "proxies.md"
COMMANDS = {
    "nginx": ["nginx", "-g", "daemon off;", "-c"],
    "haproxy": ["haproxy", "-f"],
    "envoy": [str(Path(sys.executable).parent / "envoy"), "--concurrency", "1", "--disable-hot-restart", "-c"],
}
IN_THE_BIND = " ca-file /etc/fleet/hosts-ca.pem verify optional"  # of HAProxy, which has one line for it
BUSY_SECONDS = 6.0  # HAProxy by itself waits as long as it waits between two looks: two seconds
NAME_HEADER = "X-Client-Certificate-Name"


class Plain(Tier):
    """A tier without TLS: the proxy does it."""

    def __init__(self, folder: Path, **changes: str) -> None:
        own = {"DJANGO_SETTINGS_MODULE": "fleet.settings", **changes}
        GatewayProcess.__init__(self, folder / "tier.log", {**os.environ, **own}, "application")

    def connect(self) -> Any:
        """Open a connection as it is."""
        return Server.connect(self)


class Proxied(Tier):
    """The proxy's port, over TLS."""

    def __init__(self, port: int, certificates: Certificates) -> None:
        self.port = port
        self._trust = ssl.create_default_context(cafile=str(certificates.ca))


def in_place_of(changed: dict[str, str], text: str) -> str:
    """Replace all in one pass: a port put in, say 44397, is not searched for the next, 443."""
    return re.sub("|".join(map(re.escape, changed)), lambda found: changed[found[0]], text)


def configuration(name: str, folder: Path, port: int, upstream: int, *, mutual: bool) -> str:
    """Give the proxy's configuration as the document has it, with ports and files of here; for mutual TLS or not."""
    written = re.search(rf"```{name}\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert written is not None
    content = written[1]
    if not mutual:
        content = re.sub(r"^.*# mutual TLS$\n", "", content, flags=re.MULTILINE).replace(IN_THE_BIND, "")
        assert "hosts-ca" not in content
    changed = {
        "127.0.0.1:8000": f"127.0.0.1:{upstream}", "8000": str(upstream), "443": str(port), "65536": "4096",
        "32768": "2048", "60000": "1000", "fleet.example.org": "localhost", '"::", ipv4_compat: true': "127.0.0.1",
        "/etc/fleet": str(folder),
    }  # fmt: skip
    content = in_place_of(changed, content)
    if name != "nginx":
        return content
    own = f"access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;"
    return f"user root;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n" + content.replace(
        "http {", f"http {{ {own}", 1
    )


@contextmanager
def started(name: str, folder: Path, certificates: Certificates, upstream: int, *, mutual: bool) -> Iterator[Proxied]:
    """Start a proxy, whose files lie in the folder, before what listens on `upstream`."""
    program = shutil.which(COMMANDS[name][0])
    if program is None:
        pytest.skip(f"{name} is not here (Debian has nginx and HAProxy, PyPI has Envoy)")
    shutil.copy(certificates.server, folder / "server.pem")
    shutil.copy(certificates.server_key, folder / "server-key.pem")
    shutil.copy(certificates.ca, folder / "hosts-ca.pem")
    both = (folder / "server.pem").read_text() + (folder / "server-key.pem").read_text()
    (folder / "server-with-key.pem").write_text(both)
    port = free_port()
    file = folder / "proxy.yaml"
    file.write_text(configuration(name, folder, port, upstream, mutual=mutual))
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen([program, *COMMANDS[name][1:], str(file)], stdout=log, stderr=log)
    found = Proxied(port, certificates)
    try:
        eventually(lambda: found.listens() or process.poll() is not None, 90)
        assert process.poll() is None, (folder / "proxy.log").read_text()
        yield found
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(params=sorted(COMMANDS))
def proxied(
    request: Any, board: None, transactional_db: None, settings: Any, tmp_path: Path
) -> Iterator[tuple[Proxied, Certificates]]:
    """Start a server, and the proxy of the document before it."""
    settings.HOLD_SECONDS, settings.MISSING_SECRETS = HOLD, set()
    make_host()
    certificates = Certificates(tmp_path / "certificates")
    certificates.make("127.0.0.1")
    server = Plain(tmp_path, HOLD_SECONDS=str(HOLD), TRUSTED_PROXIES="127.0.0.1", BEHIND_TLS_PROXY="true")
    try:
        with started(request.param, tmp_path, certificates, server.port, mutual=False) as found:
            yield found, certificates
    finally:
        server.stop()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_ports_that_hold_the_digits_of_others_are_put_in_whole(name: str) -> None:
    content = configuration(name, Path("/folder"), 60000, 44397, mutual=False)

    assert {"60000", "44397"} <= set(re.findall(r"\d+", content))
    assert not re.findall(r"\d{6,}", content)


@pytest.mark.processes
def test_reads_are_held_and_sockets_opened_through_the_proxy(proxied: tuple[Proxied, Certificates]) -> None:
    proxy, certificates = proxied

    found = list(edges.edge(at(proxy.port, certificates)))
    connection, answered = upgraded(proxy, "/ws/campaigns/1/", "Origin: https://localhost")
    connection.close()
    told = redis_client.client().hget(keyspace.ADDRESSES, "0")

    assert said(found) == ""
    assert any("a read was held" in finding.sentence for finding in found)
    assert answered.startswith("HTTP/1.1 101"), "a socket that is refused is opened first, then closed with its code"
    assert told is not None
    here = {each.address for interface in psutil.net_if_addrs().values() for each in interface}
    assert heartbeats.last_uses_of([0])[0].address in here, "Envoy names another one of its own where it sees loopback"


class Echo(BaseHTTPRequestHandler):
    """A server behind the proxy that says which name of a certificate it was told."""

    def do_GET(self) -> None:
        """Answer with the names."""
        body = json.dumps(self.headers.get_all(NAME_HEADER, [])).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Busy(Echo):
    """A server that takes its time to say that it lives."""

    looked_at = threading.Event()

    def do_GET(self) -> None:
        """Answer, late where a proxy looks whether somebody is there."""
        if self.path != "/livez":
            return super().do_GET()
        threading.Event().wait(BUSY_SECONDS)
        try:
            return super().do_GET()
        finally:
            self.looked_at.set()


@contextmanager
def served(by: type[Echo]) -> Iterator[int]:
    """Give the port of a server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), by) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def upstream() -> Iterator[int]:
    with served(Echo) as port:
        yield port


@pytest.mark.processes
@pytest.mark.parametrize("name", ["envoy", "haproxy"])
def test_a_busy_server_is_not_taken_for_a_dead_one(name: str, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "certificates")
    certificates.make("127.0.0.1")
    Busy.looked_at.clear()

    with served(Busy) as port, started(name, tmp_path, certificates, port, mutual=False) as proxy:
        assert Busy.looked_at.wait(90)
        trust = ssl.create_default_context(cafile=str(certificates.ca))
        answer = httpx.get(f"https://localhost:{proxy.port}/login/", verify=trust, timeout=90)

    assert answer.status_code == 200, (tmp_path / "proxy.log").read_text()


def test_the_edge_of_the_containers_waits_as_long_as_that_of_the_document() -> None:
    wait = re.compile(r"timeout check \S+")
    document, containers = DOCS.read_text(), (DOCS.parents[1] / "docker" / "edge" / "haproxy.cfg").read_text()

    assert wait.findall(document) == wait.findall(containers) == ["timeout check 10s"]


@pytest.mark.processes
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_edge_asks_agents_for_certificates_and_passes_their_names_on(
    name: str, upstream: int, tmp_path: Path
) -> None:
    certificates, others = (Certificates(tmp_path / folder) for folder in ("certificates", "others"))
    for each in (certificates, others):
        each.make("127.0.0.1")
    host = client_certificate(certificates, tmp_path, "web-01")
    stranger = client_certificate(others, tmp_path, "stranger")
    pretended = {NAME_HEADER: "CN=pretended"}

    with started(name, tmp_path, certificates, upstream, mutual=True) as proxy:

        def asked(path: str, shown: tuple[Path, Path] | None) -> tuple[int, list[str]]:
            trust = ssl.create_default_context(cafile=str(certificates.ca))
            if shown is not None:
                trust.load_cert_chain(*shown)
            try:
                answer = httpx.get(f"https://localhost:{proxy.port}{path}", verify=trust, headers=pretended)
            except httpx.TransportError:
                return 0, []  # the handshake failed
            return answer.status_code, [each for each in answer.json() if each] if answer.status_code == 200 else []

        eventually(lambda: asked("/login/", None)[0] == 200, 90)  # it asks by itself whether the server lives
        assert asked("/login/", None) == (200, []), "people need none, and nobody says who he is himself"
        for begin in ("/api/osquery", "/api/v1/osquery"):
            assert asked(f"{begin}/enroll", None) == (403, [])
            assert asked(f"{begin}/enroll", host) == (200, ["CN=web-01"])
            assert asked(f"{begin}/enroll", stranger)[0] in (0, 400)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("board")
@pytest.mark.parametrize(("trusted", "told"), [(["127.0.0.1"], "CN=web-01"), ([], "")])
def test_the_name_of_a_certificate_is_logged_at_enrollment_when_a_trusted_proxy_tells_it(
    trusted: list[str], told: str, settings: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_peers", lambda: Peers(trusted))
    EnrollSecret.objects.offer("all", "long enough to be a secret")
    body = {"enroll_secret": "long enough to be a secret", "host_identifier": "web-01"}

    with caplog.at_level("INFO", logger="agents.enrolling.enrollment"):
        Client(headers={NAME_HEADER: "CN=web-01"}).post("/api/osquery/enroll", body, content_type="application/json")

    assert f"certificate={told!r}" in caplog.text
