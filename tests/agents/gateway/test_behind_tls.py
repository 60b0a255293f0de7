"""A gateway behind real TLS: mutual TLS where it is wanted, and a carve all the way from a pretend host."""

import asyncio
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from agents.carving import carves, store
from agents.carving.models import Carve, CarveState, Integrity
from agents.models import EnrollSecret, Host
from agents.protocol.node_key import NodeKeys
from agents.simulator import agent as simulated
from agents.simulator.agent import Agent
from agents.simulator.response import BrokenError
from agents.simulator.simulated_tables import SimulatedHost
from agents.simulator.wire import Endpoint, Wire
from campaigns.operating.edge import Edge, edge
from fleet.demo.certificates import Certificates
from tests.end_to_end.conftest import wait_for
from tests.factories import make_campaign
from tests.fleet.tiers import client_certificate
from tests.ports import free_port

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("board", "carves_folder"),
    pytest.mark.processes,
]

READY_SECONDS = 90.0


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Give a CA and a server's certificate for localhost."""
    made = Certificates(tmp_path / "certificates")
    made.make("127.0.0.1")
    return made


@pytest.fixture
def client_files(certificates: Certificates, tmp_path: Path) -> tuple[Path, Path]:
    """Give a host's certificate, signed by the same CA, and its key."""
    return client_certificate(certificates, tmp_path, "host-1")


@pytest.fixture
def serve(certificates: Certificates, tmp_path: Path) -> Callable[..., Any]:
    """Serve the gateway as it is deployed, on this test's database; give its address."""

    @contextmanager
    def started(*flags: str) -> Iterator[str]:
        port = free_port()
        command = [sys.executable, "-m", "fleet.serve", "gateway", "--port", str(port), *flags]
        command += ["--certificate", str(certificates.server), "--key", str(certificates.server_key)]
        database, _, _ = os.environ["DATABASE_URL"].partition("?")
        name = connection.settings_dict["NAME"]
        query = os.environ["DATABASE_URL"].removeprefix(database)
        environment = {
            **os.environ,
            "DATABASE_URL": f"{database.rpartition('/')[0]}/{name}{query}",
            "CARVES_DIR": str(tmp_path / "carves"),
            "HOLD_SECONDS": "0",
        }
        log = (tmp_path / "server.log").open("w+")
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            wait_for(lambda: _listens(port) or process.poll() is not None, READY_SECONDS)
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            yield f"https://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)
            log.close()

    return started


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def config_of(endpoint: Endpoint) -> dict[str, Any]:
    """Fetch the config as a host does that is enrolled."""
    key = NodeKeys(settings.NODE_KEY_SECRETS).issue(1, 1)

    async def post() -> bytes:
        wire = Wire(endpoint)
        try:
            return await wire.post("/api/osquery/config", json.dumps({"node_key": key}).encode(), key)
        finally:
            wire.close()

    answer: dict[str, Any] = json.loads(asyncio.run(post()))
    return answer


def test_with_mutual_tls_only_a_host_with_a_certificate_is_served(
    serve: Callable[..., Any], certificates: Certificates, client_files: tuple[Path, Path]
) -> None:
    with serve("--client-ca", str(certificates.ca)) as url:
        assert "options" in config_of(Endpoint(url, certificates.ca, client_files))

        with pytest.raises(BrokenError):
            config_of(Endpoint(url, certificates.ca))

        refused, served = (
            [finding for finding in edge(Edge.at(url, certificates.ca, "localhost", shown)) if finding.severity == 2]
            for shown in (None, client_files)
        )
        assert served == []
        assert [finding.advice for finding in refused] == [
            "it asks hosts for certificates (mutual TLS): give one with --client-cert and --client-key"
        ]


def test_a_certificate_of_another_ca_is_refused(
    serve: Callable[..., Any], certificates: Certificates, tmp_path: Path
) -> None:
    others = Certificates(tmp_path / "others")
    others.make("127.0.0.1")

    with serve("--client-ca", str(certificates.ca)) as url, pytest.raises(BrokenError):
        config_of(Endpoint(url, certificates.ca, (others.server, others.server_key)))


def test_a_pretend_host_carves_all_the_way(
    serve: Callable[..., Any],
    certificates: Certificates,
    collect: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(simulated, "CARVE_SECONDS", 0.0)
    EnrollSecret.objects.offer("tests", "secret of the tests")
    machine = SimulatedHost(1)
    machine.flags["carver_block_size"] = "5000"

    with serve() as url, ThreadPoolExecutor(1) as pool:
        loop = asyncio.new_event_loop()
        wire = Wire(Endpoint(url, certificates.ca), machine.version)
        host = Agent(machine, wire, "secret of the tests", pool, Counter(), interval=0.1)
        loop.run_until_complete(host.enroll())
        campaign = make_campaign(Host.objects.get(), sql="SELECT * FROM carves WHERE carve = 1 AND path = '/etc/hosts'")
        life = loop.create_task(host.run())
        loop.run_until_complete(_until(lambda: host.counts["carves"]))
        life.cancel()
        loop.run_until_complete(asyncio.gather(life, return_exceptions=True))
        loop.close()
    collect()
    carves.check()

    carve = Carve.objects.get()
    assert (carve.state, carve.campaign_id, carve.path) == (CarveState.COMPLETE, campaign.pk, "/etc/hosts")
    content = b"".join(store.pieces(carve))
    assert machine.carver.carves[0].sha256 == carve.sha256 == hashlib.sha256(content).hexdigest()
    assert carve.integrity == Integrity.UNKNOWN
    assert carve.block_count is not None
    assert carve.block_count > 1
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert [name.rpartition("/")[2] for name in tar.getnames()] == ["hosts"]


async def _until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.05)
