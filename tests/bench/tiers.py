"""The whole installation for a benchmark: every tier in a process of its own, as the demo runs them, without TLS."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError

from fleet.demo import demo
from fleet.embedded.postgres import EmbeddedPostgres
from fleet.embedded.redis import EmbeddedRedis
from fleet.embedded.server import die_with_parent
from tests.bench import clocks
from tests.ports import free_port

READY_SECONDS = 180  # a board of a million hosts is written meanwhile


class Tiers(NamedTuple):
    """Where it listens, a token of the user `bench`, and the process of each tier."""

    url: str
    token: str
    pids: Mapping[str, int]

    def cpu(self) -> dict[str, float]:
        """Give the CPU seconds each tier has used."""
        return {name: clocks.cpu_of(pid) for name, pid in self.pids.items()}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the API. Raise HTTPError for what is refused."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, content, headers, method=method)  # noqa: S310 - our own
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 - our own
            return json.loads(answer.read() or b"null")

    def wait_until_ready(self) -> None:
        """Return when every tier is there and the board is written."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                if self.ask("GET", "/readyz")["ready"]:
                    return
            except (HTTPError, URLError, OSError):
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    @contextmanager
    def own_gateway(self, folder: Path) -> Iterator["Tiers"]:
        """Serve agents by one process more beside the one that serves people; give its address.

        As deployments do, which give it and Redis eight times the weight of every other tier; that lasts.
        """
        port = free_port()
        command = ["-m", "fleet.serve", "gateway", "--port", str(port)]
        for tier in self.pids.keys() - {"redis"}:
            _lower(self.pids[tier])
        with process(command, folder / "gateway.log") as pid:
            found = self._replace(url=f"http://127.0.0.1:{port}", pids={**self.pids, "gateway": pid})
            found.wait_until_ready()
            yield found


@contextmanager
def tiers(servers: tuple[EmbeddedPostgres, EmbeddedRedis], folder: Path) -> Iterator[Tiers]:
    """Start every tier beside these servers; end them when done. Their logs lie in the folder."""
    from django.contrib.auth.models import User

    from campaigns.tokens import ApiToken

    token = ApiToken.objects.create(user=User.objects.get(username="bench"), expiry=None, name="bench")[1]
    port = free_port()
    postgres, redis = servers
    pids = {"postgres": postgres.pid, "redis": redis.pid}
    with ExitStack() as running:
        commands = {"web": ["-m", "fleet.serve", "application", "--port", str(port)], **demo.background(folder)}
        for name, command in commands.items():
            pids[name] = running.enter_context(process(command, folder / f"{name}.log"))
        found = Tiers(f"http://127.0.0.1:{port}", token, pids)
        found.wait_until_ready()
        yield found


def _lower(pid: int) -> None:
    """Lower the priority of a process that is there, all its threads and its children: 1.25 to the ninth is 7.5."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in (pid, *map(int, children)):
        for thread in os.listdir(f"/proc/{each}/task"):
            os.setpriority(os.PRIO_PROCESS, int(thread), 9)


@contextmanager
def process(command: list[str], log: Path) -> Iterator[int]:
    """Run one of ours; give its id, and end it when done."""
    with log.open("wb") as output:
        started = subprocess.Popen(
            [sys.executable, *command], env=os.environ, stdout=output, stderr=output, preexec_fn=die_with_parent
        )
    try:
        yield started.pid
    finally:
        started.terminate()
        started.wait(30)
