"""`python -m tests.bench.held_reads [READS]`: what a held read costs in memory, and how soon all of them are woken.

A gateway in a process of its own, as it is deployed but without TLS, which a proxy or OpenSSL pays for beside it; this
process plays the hosts. Linux, loopback only, ends by itself.
"""

import asyncio
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import tests.servers

os.environ.update(DJANGO_SETTINGS_MODULE="fleet.settings", HOLD_SECONDS="120", MAX_HELD_READS="50000")

import django

django.setup()

from django.conf import settings

from agents.board import keyspace, operator_verbs, rebuilding, redis_client
from agents.protocol.node_key import NodeKeys
from tests.bench.serving import Served, served

READS = 15_000
WARM = 500  # held before the memory is looked at first
AT_ONCE = 200  # connections being opened
ADDRESSES = 8  # of loopback, so that the ports of one do not run out


def resident(pid: int) -> int:
    """Give the bytes a process holds in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def held() -> int:
    """Give how many reads the gateway says it holds."""
    return sum(int(value.split()[0]) for value in redis_client.client().hvals(keyspace.HELD))


async def until(is_so: Any) -> None:
    """Wait until something is so."""
    while not is_so():
        await asyncio.sleep(0.2)


async def hold_all(port: int, hosts: range) -> list[Any]:
    """Open the reads of these hosts."""
    keys = NodeKeys(settings.NODE_KEY_SECRETS)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(host: int) -> Any:
        async with gate:
            body = b'{"node_key":"%s"}' % keys.issue(host, 1).encode()
            local = (f"127.0.0.{1 + host % ADDRESSES}", 0)
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=local)
            head = b"POST /api/osquery/distributed/read HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
            return reader, writer

    return await asyncio.gather(*(one(host) for host in hosts))


async def measure(gateway: Served, many: int) -> None:
    """Hold, look, launch, look."""
    first, hosts = range(1, WARM + 1), range(WARM + 1, WARM + many + 1)
    warm = await hold_all(gateway.port, first)
    await until(lambda: held() == WARM)
    before = resident(gateway.pid)
    connections = await hold_all(gateway.port, hosts)
    await until(lambda: held() == WARM + many)
    grown = resident(gateway.pid) - before
    print(f"memory for each held read: {grown / many / 1024:.1f} KiB ({many:,} reads, {grown / 2**20:.0f} MiB)")
    began = time.perf_counter()
    await asyncio.to_thread(operator_verbs.arm, 1, 0, hosts, "SELECT 1", 600)
    answers = await asyncio.gather(*(reader.read() for reader, _ in connections))
    taken = time.perf_counter() - began
    handed_out = sum(b'"c1":"SELECT 1"' in answer for answer in answers)
    print(f"from the launch to the last of them answered: {taken:.2f} s, {handed_out:,} with the SQL")
    for _, writer in (*warm, *connections):
        writer.close()


def main() -> None:
    """Run, then stop the servers."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else READS
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 100_000), hard))
    os.environ["WAKE_PER_SECOND"] = str(many * 10)
    try:
        rebuilding.finish({})
        with served("fleet.asgi:gateway") as gateway:
            asyncio.run(measure(gateway, many))
    finally:
        while tests.servers._started:
            tests.servers._started.pop().stop()


if __name__ == "__main__":
    main()
