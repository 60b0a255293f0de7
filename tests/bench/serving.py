"""Serve an app for a benchmark, in a process of its own on the first core."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Served(NamedTuple):
    """Where it listens, and which process it is."""

    port: int
    pid: int


@contextmanager
def served(app: str) -> Iterator[Served]:
    """Serve an app with uvicorn as it is deployed, but without TLS."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--log-level", "error", "--no-access-log"]
    command += ["--loop", "uvloop", "--http", "httptools", "--backlog", "4096"]
    process = subprocess.Popen(["taskset", "-c", "0", *command])
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield Served(port, process.pid)
    finally:
        process.terminate()
        process.wait(20)
