"""A whole server: real processes as the demo starts them, and hosts that this test process pretends."""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets.sync.client

from agents.simulator.crowd import Crowd, Shares
from tests.ports import free_port
from tests.servers import open_folder

READY_SECONDS = 120


class RunningFleet:
    """One demo without hosts, unless told otherwise, and its API."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        port = free_port()
        command = [sys.executable, "-m", "fleet.demo", "--json", "--hosts", "0", "--port", str(port)]
        command += ["--data-dir", str(folder), *arguments]
        bare = {name: value for name, value in os.environ.items() if name not in TEST_ENVIRONMENT}
        self.folder = folder
        self.log = (folder / "demo.log").open("w+")
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=bare,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (folder / "demo.log").read_text()
        self.facts: dict[str, Any] = json.loads(line)
        self.trust = ssl.create_default_context(cafile=self.facts["ca"])
        headers = {"Authorization": f"Bearer {self.facts['token']}"}
        self.http = httpx.Client(base_url=self.facts["console"], headers=headers, verify=self.trust, timeout=90)

    def stop(self) -> None:
        self.http.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(90)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()

    def launch(self, sql: str = "SELECT pid, name FROM processes", timeout: int = 300, **order: Any) -> dict[str, Any]:
        answer = self.http.post(
            "/api/v1/campaigns/", json={"sql": sql, "target": {"all": True}, "timeout": timeout} | order
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    def campaign(self, number: int) -> dict[str, Any]:
        return self.http.get(f"/api/v1/campaigns/{number}/").json()

    def ended(self, number: int, within: float = 180) -> dict[str, Any]:
        """Give the campaign once it ended."""
        return wait_for(lambda: (found := self.campaign(number))["ended_at"] and found, within)

    def results(self, number: int) -> list[dict[str, Any]]:
        return self.http.get(f"/api/v1/campaigns/{number}/results/?limit=1000").json()["results"]

    def hosts(self) -> int:
        return self.http.get("/api/v1/hosts/?limit=1").json()["count"]

    def socket(self, number: int, after: int | None = None) -> Any:
        address = self.facts["console"].replace("https", "wss") + f"/ws/campaigns/{number}/"
        address += "" if after is None else f"?after={after}"
        return websockets.sync.client.connect(
            address, ssl=self.trust, subprotocols=["bearer", self.facts["token"]], open_timeout=READY_SECONDS
        )


TEST_ENVIRONMENT = (  # what people who start a demo have not set
    *("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "NODE_KEY_SECRETS", "ALLOWED_HOSTS", "SECURE_COOKIES", "LOG_LEVEL"),
)


def wait_for(condition: Callable[[], Any], within: float) -> Any:
    """Give what the condition gives once it is true; fail after `within` seconds."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
    return value


class Hosts:
    """A crowd of pretend hosts on a thread of its own."""

    def __init__(self, fleet: RunningFleet, many: int, shares: Shares, seed: int) -> None:
        facts = fleet.facts
        self.crowd = Crowd(
            facts["agents"], Path(facts["ca"]), facts["enroll_secret"], many, seed=seed, shares=shares, keep_sent=True
        )
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self.crowd.run())
        self._thread = threading.Thread(target=self._run)
        before = fleet.hosts()
        self._thread.start()
        wait_for(lambda: fleet.hosts() >= before + many, 90)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            self._loop.close()

    @property
    def target(self) -> dict[str, Any]:
        """Give the selection that means these hosts."""
        return {"hosts": [machine.identifier for machine, _ in self.crowd._machines()]}

    def let_go(self) -> None:
        """Let those that hang answer, what they hang at as well."""
        self._loop.call_soon_threadsafe(self.crowd.let_go.set)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(90)


@pytest.fixture(scope="module")
def running_fleet() -> Iterator[RunningFleet]:
    """Give a server of its own to each file of tests."""
    fleet = RunningFleet(open_folder())
    yield fleet
    fleet.stop()


@pytest.fixture
def pretend(running_fleet: RunningFleet) -> Iterator[Callable[..., Hosts]]:
    """Start pretend hosts; they go when the test ends."""
    started: list[Hosts] = []

    def start(many: int, seed: int, **shares: float) -> Hosts:
        started.append(Hosts(running_fleet, many, Shares(**shares), seed))
        return started[-1]

    yield start
    for hosts in started:
        hosts.stop()
