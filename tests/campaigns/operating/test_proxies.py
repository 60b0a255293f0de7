"""The proxies of docs/proxies.md, as they stand there, before a real server: held reads, sockets, addresses."""

import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.board import heartbeats, keyspace, redis_client
from campaigns.operating import edge as edges
from fleet.demo.certificates import Certificates
from tests.agents.wire.conftest import GatewayProcess, Server, eventually
from tests.campaigns.operating.test_doctor import HOLD, at, said
from tests.campaigns.operating.test_figures import free_port
from tests.factories import make_host
from tests.fleet.tiers import Tier, upgraded

DOCS = Path(__file__).parents[3] / "docs" / "proxies.md"
COMMANDS = {"nginx": ["nginx", "-g", "daemon off;", "-c"], "haproxy": ["haproxy", "-f"]}


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


@pytest.fixture(params=sorted(COMMANDS))
def proxied(
    request: Any, board: None, transactional_db: None, settings: Any, tmp_path: Path
) -> Iterator[tuple[Proxied, Certificates]]:
    """Start a server, and the proxy of the document before it."""
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not here (Debian has it)")
    settings.HOLD_SECONDS, settings.MISSING_SECRETS = HOLD, set()
    make_host()
    certificates = Certificates(tmp_path / "certificates")
    certificates.make("127.0.0.1")
    both = tmp_path / "both.pem"
    both.write_text(certificates.server.read_text() + certificates.server_key.read_text())
    server = Plain(tmp_path, HOLD_SECONDS=str(HOLD), TRUSTED_PROXIES="127.0.0.1", BEHIND_TLS_PROXY="true")
    port = free_port()
    written = re.search(rf"```{name}\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert written is not None
    changed = {
        "127.0.0.1:8000": f"127.0.0.1:{server.port}", "443": str(port), "65536": "4096", "32768": "2048",
        "60000": "1000", "fleet.example.org": "localhost", "/etc/fleet/server.pem": str(certificates.server),
        "/etc/fleet/server-key.pem": str(certificates.server_key), "/etc/fleet/server-with-key.pem": str(both),
    }  # fmt: skip
    content = written[1]
    for theirs, ours in changed.items():
        content = content.replace(theirs, ours)
    if name == "nginx":
        content = f"user root;\npid {tmp_path}/nginx.pid;\nerror_log {tmp_path}/error.log;\n" + content.replace(
            "http {",
            f"http {{ access_log off; client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;",
        )
    (tmp_path / "proxy.conf").write_text(content)
    with (tmp_path / "proxy.log").open("wb") as log:
        process = subprocess.Popen([*COMMANDS[name], str(tmp_path / "proxy.conf")], stdout=log, stderr=log)
    found = Proxied(port, certificates)
    eventually(lambda: found.listens() or process.poll() is not None)
    assert process.poll() is None, (tmp_path / "proxy.log").read_text()
    yield found, certificates
    process.terminate()
    process.wait(20)
    server.stop()


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
    assert heartbeats.last_uses_of([0])[0].address == "127.0.0.1"
