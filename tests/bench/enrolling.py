"""`python -m tests.bench.enrolling`: what the enrollment of a fleet that comes at once costs, over TLS.

One gateway, PostgreSQL and Redis as they are deployed, a new TLS connection for each machine. `--against FOLDER` serves
as many machines in turn with the gateway of another work tree. The figure is the CPU time of the gateway, PostgreSQL
and Redis together, from their own clocks; that of the client is left out.
"""

import argparse
import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

import psutil

from fleet.demo.certificates import Certificates
from tests.bench.durable import SECRET, durable_servers
from tests.ports import free_port

ROUNDS = 3
REPOSITORY = Path(__file__).parents[2]
DETAILS = {
    "os_version": {"name": "Ubuntu", "version": "22.04.4 LTS (Jammy Jellyfish)", "platform": "ubuntu"},
    "osquery_info": {"version": "5.23.0"},
    "system_info": {"hostname": "host", "uuid": "4c4c4544-0000", "cpu_brand": "a CPU", "physical_memory": "1024"},
}
_numbers = count(1)


class Cost(NamedTuple):
    """What one round cost: seconds by the wall, and CPU seconds of the servers and of the gateway alone."""

    seconds: float
    servers: float
    gateway: float


@contextmanager
def gateway(tree: Path, certificates: Certificates) -> Iterator[tuple[int, psutil.Process]]:
    """Serve agents over TLS with the code of a work tree, by the server it is deployed with."""
    port = free_port()
    files = [str(certificates.server), str(certificates.server_key)]
    if (tree / "tests" / "bench" / "granian_serving.py").exists():
        command = [sys.executable, "-m", "tests.bench.granian_serving", "fleet.asgi:gateway", str(port), *files]
    else:
        command = [sys.executable, "-m", "uvicorn", "fleet.asgi:gateway", "--port", str(port), "--log-level", "error"]
        command += ["--no-access-log", "--loop", "uvloop", "--http", "httptools", "--backlog", "4096"]
        command += ["--ssl-certfile", files[0], "--ssl-keyfile", files[1]]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONWARNINGS": "ignore", "LOG_LEVEL": "ERROR"}
    process = subprocess.Popen(command, cwd=tree, env=environment)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


async def enroll(port: int, machines: int, at_once: int, trust: ssl.SSLContext) -> None:
    """Let so many new machines enroll; who is given no key comes again, as agents do."""
    left = iter(range(machines))

    async def one() -> None:
        for _ in left:
            body = json.dumps(
                {
                    "enroll_secret": SECRET,
                    "host_identifier": f"new-{next(_numbers)}",
                    "platform_type": "9",
                    "host_details": DETAILS,
                }
            ).encode()
            head = "POST /api/osquery/enroll HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            content = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
            while b'"node_key"' not in await _ask(port, content, trust):
                pass

    await asyncio.gather(*(one() for _ in range(at_once)))


async def _ask(port: int, content: bytes, trust: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="localhost")
    writer.write(content)
    answer = await reader.read()
    writer.close()
    return answer


def cpu(processes: list[psutil.Process]) -> float:
    """Give the CPU seconds of processes and of all their children, those that ended too."""
    total = 0.0
    for process in processes:
        times = process.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
        for child in process.children(recursive=True):
            used = child.cpu_times()
            total += used.user + used.system
    return total


def measure(trees: list[Path], servers: list[psutil.Process], machines: int, at_once: int) -> None:
    """Print the medians of rounds taken in turn."""
    with tempfile.TemporaryDirectory() as folder:
        certificates = Certificates(Path(folder))
        certificates.make("127.0.0.1")
        trust = ssl.create_default_context(cafile=str(certificates.ca))
        runs: list[list[Cost]] = [[] for _ in trees]
        for _ in range(ROUNDS):
            for tree, costs in zip(trees, runs, strict=True):
                with gateway(tree, certificates) as (port, process):
                    asyncio.run(enroll(port, at_once, at_once, trust))  # let it warm up
                    began, before, own = time.perf_counter(), cpu([*servers, process]), cpu([process])
                    asyncio.run(enroll(port, machines, at_once, trust))
                    seconds = time.perf_counter() - began
                    costs.append(Cost(seconds, cpu([*servers, process]) - before, cpu([process]) - own))
    medians = []
    for tree, costs in zip(trees, runs, strict=True):
        cost = sorted(costs, key=lambda one: one.servers)[ROUNDS // 2]
        medians.append(cost.servers)
        print(
            f"{machines:,} machines, {at_once} at once, {'this tree' if tree == REPOSITORY else 'the other'}:"
            f" {machines / cost.seconds:,.0f}/s, {machines / cost.servers:,.0f} per CPU-second of gateway, PostgreSQL"
            f" and Redis"
            f" ({cost.servers / machines * 1000:.2f} ms each, the gateway {cost.gateway / machines * 1000:.2f})",
            flush=True,
        )
    if len(medians) > 1:
        print(f"  ratio per CPU-second {medians[1] / medians[0]:.1f}", flush=True)


def main() -> None:
    """Start the servers, measure, stop them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=1000)
    parser.add_argument("--against", type=Path, help="a work tree whose gateway is measured as well")
    options = parser.parse_args()
    with durable_servers(0) as (postgres, redis):
        servers = [psutil.Process(postgres.pid), psutil.Process(redis.pid)]
        trees = [REPOSITORY] + ([options.against] if options.against else [])
        for at_once in (16, 200):
            measure(trees, servers, options.machines, at_once)


if __name__ == "__main__":
    main()
