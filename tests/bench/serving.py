"""Serve an app for a benchmark, in a process of its own on the first core."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from fleet.demo.certificates import Certificates
from tests.bench.clocks import SERVER_CORE
from tests.ports import free_port

REPOSITORY = Path(__file__).parents[2]


class Served(NamedTuple):
    """Where it listens, and which process it is."""

    port: int
    pid: int
    scheme: str

    @property
    def url(self) -> str:
        """Give its address."""
        return f"{self.scheme}://127.0.0.1:{self.port}"


@contextmanager
def served(app: str, by: str = "granian", tls: Certificates | None = None, tree: Path = REPOSITORY) -> Iterator[Served]:
    """Serve an app of a work tree with granian, as it is deployed, or with uvicorn, as it was."""
    port = free_port()
    command = _granian(app, port, tls) if by == "granian" else _uvicorn(app, port, tls)
    environment = os.environ | {"PYTHONPATH": str(tree)}
    process = subprocess.Popen(["taskset", "-c", SERVER_CORE, sys.executable, *command], cwd=tree, env=environment)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield Served(port, process.pid, "https" if tls else "http")
    finally:
        process.terminate()
        process.wait(20)


def _granian(app: str, port: int, tls: Certificates | None) -> list[str]:
    files = [str(tls.server), str(tls.server_key)] if tls else []
    return ["-W", "ignore", "-m", "tests.bench.granian_serving", app, str(port), *files]


def _uvicorn(app: str, port: int, tls: Certificates | None) -> list[str]:
    command = ["-W", "ignore", "-m", "uvicorn", app, "--port", str(port), "--log-level", "error", "--no-access-log"]
    command += ["--loop", "uvloop", "--http", "httptools", "--backlog", "4096"]
    files = ["--ssl-certfile", str(tls.server), "--ssl-keyfile", str(tls.server_key)] if tls else []
    return command + files
