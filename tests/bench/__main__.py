"""`make bench`: the ratios of docs/performance.md, each measured in one run. Loopback only, ends by itself."""

import asyncio
import os
import statistics
import time
from collections.abc import Callable

import tests.servers

os.environ.update(DJANGO_SETTINGS_MODULE="fleet.settings", HOLD_SECONDS="0")

import django

django.setup()

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection

from agents.board import clock, keyspace, operator_verbs, rebuilding, redis_client
from agents.board.copy import Board
from agents.board.gateway_verbs import Store
from agents.models import Host, Label
from agents.protocol.messages import Answer
from agents.protocol.node_key import NodeKeys
from campaigns.launching.estimates import estimate
from campaigns.launching.launch import Order, launch
from campaigns.models import Campaign
from campaigns.running import sweeps
from campaigns.running.targeting import write_range
from tests.bench.serving import served

ROUNDS, REQUESTS, AT_ONCE = 5, 3000, 50
HOSTS = 100_000


async def _request(port: int, content: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(content)
    answer = await reader.read()
    writer.close()
    if not answer.endswith(b"{}"):
        raise RuntimeError(f"unexpected answer {answer!r}")


async def _load(port: int, key: str) -> float:
    """Give requests per second of a client that opens a connection for each, as agents do."""
    body = b'{"node_key":"%s"}' % key.encode()
    head = b"POST /api/osquery/distributed/read HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    content = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    left = iter(range(REQUESTS))

    async def one() -> None:
        for _ in left:
            await _request(port, content)

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    return REQUESTS / (time.perf_counter() - began)


def rate(port: int, key: str) -> float:
    """Measure once."""
    return asyncio.run(_load(port, key))


def ratio(name: str, measured: Callable[[], float], base: Callable[[], float]) -> None:
    """Print the median of ratios of rounds taken in turn."""
    pairs = [(measured(), base()) for _ in range(ROUNDS)]
    values = [left / right for left, right in pairs]
    rates = " against ".join(f"{statistics.median(column):,.0f}/s" for column in zip(*pairs, strict=True))
    print(f"{name}: {statistics.median(values):.2f} ({rates}, {ROUNDS} rounds {min(values):.2f} to {max(values):.2f})")


def idle() -> None:
    """Count what idle check-ins cost Redis and PostgreSQL."""
    key = NodeKeys(settings.NODE_KEY_SECRETS).issue(77, 1)
    rebuilding.finish({})
    with served("fleet.asgi:gateway") as gateway:
        rate(gateway.port, key)
        before, sql, began = commands(), statements(), time.monotonic()
        rate(gateway.port, key)
        seconds = time.monotonic() - began
        print(
            f"Redis commands during {REQUESTS} idle check-ins: {commands() - before} in {seconds:.1f} s"
            f" (a gateway looks every second); SQL transactions: {statements() - sql}"
        )


def commands() -> int:
    """Count the commands Redis has run."""
    return int(redis_client.client().info("stats")["total_commands_processed"])


def statements() -> int:
    """Count PostgreSQL's transactions, our own looks left out."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def writes() -> None:
    """Compare durable one-row writes through shared round trips with a round trip each."""
    many = 4000

    async def run(*, shared: bool) -> float:
        store = Store(settings.REDIS_URL, Board(), "bench")
        await store.refresh()
        left = iter(range(1000, 1000 + many))

        async def one() -> None:
            for host in left:
                own = store if shared else alone[host % len(alone)]
                await own.accept(host, [Answer(1, 0, "", b"{}", b'[{"a":"1"}]')])

        alone = [Store(settings.REDIS_URL, store._board, "bench") for _ in range(0 if shared else AT_ONCE)]
        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(AT_ONCE)))
        taken = time.perf_counter() - began
        for opened in (store, *alone):
            await opened.close()
        return many / taken

    def measured(*, shared: bool) -> float:
        redis_client.client().flushdb()
        rebuilding.finish({})
        operator_verbs.arm(1, 0, range(1000, 1000 + many), "SELECT 1", 600)
        return asyncio.run(run(shared=shared))

    ratio(
        "durable writes, shared round trips against one connection each",
        lambda: measured(shared=True),
        lambda: measured(shared=False),
    )


def launches() -> None:
    """Time 100,000 hosts from launch to armed, against a bare INSERT of as many rows of the same shape."""
    redis_client.client().flushdb()
    rebuilding.finish({})
    hosts = (Host(host_identifier=f"bench-{n}", hostname=f"host-{n}", platform="linux") for n in range(HOSTS))
    Host.objects.bulk_create(hosts, batch_size=5000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE agents_host")
        began = time.perf_counter()
        cursor.execute("CREATE TABLE bare AS SELECT id, hostname, 'waiting' AS state, 0 AS deliveries FROM agents_host")
        bare = time.perf_counter() - began
    began = time.perf_counter()
    campaign = launch(Order(sql="SELECT 1", target={"all": True}), User.objects.create_superuser("bench"))
    for number in campaign.ranges.values_list("number", flat=True):
        write_range(campaign.pk, number)
    taken = time.perf_counter() - began
    campaign.refresh_from_db()
    print(
        f"{campaign.count_targeted:,} hosts from launch to armed: {taken:.2f} s, {taken / bare:.1f} times a bare copy"
        f" of the rows ({bare:.2f} s), status {campaign.status}"
    )
    _estimates(campaign)
    _ends(campaign)


def _estimates(campaign: Campaign) -> None:
    """Time estimates over all hosts and over a label, half of them seen lately, of SQL all of them answered before."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO agents_presence (host_id, last_seen) SELECT id, now() FROM agents_host WHERE id % 2 = 0"
        )
        cursor.execute("UPDATE campaigns_target SET wall_ms = host_id % 900, memory_bytes = host_id * 100")
        cursor.execute(
            "INSERT INTO agents_labelmembership (label_id, host_id, added_at)"
            " SELECT %s, id, now() FROM agents_host WHERE id %% 2 = 0",
            [Label.objects.create(name="half").pk],
        )
        cursor.execute("VACUUM ANALYZE agents_presence, agents_labelmembership, campaigns_target")
    Campaign.objects.update(count_answered=HOSTS, count_waiting=0)
    for target in ({"all": True}, {"labels": ["half"]}, {"labels": ["half"], "platforms": ["linux"]}):
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            found = estimate(target, campaign.created_by, campaign.sql)
            times.append(time.perf_counter() - began)
        print(
            f"estimate of {', '.join(target)} over {found['targeted']:,} hosts, {found['online']:,} online:"
            f" {statistics.median(times) * 1000:.0f} ms, with the cost of earlier runs"
        )
    Campaign.objects.update(count_answered=0, count_waiting=HOSTS)


def _ends(campaign: Campaign) -> None:
    """Time the end of a campaign whose time is up while all of its targets are open."""
    campaign.refresh_from_db()
    redis_client.client().hset(keyspace.campaign_key(campaign.pk), "ends_at", clock.in_ms(clock.now()))
    Campaign.objects.update(ends_at=clock.now())
    began = time.perf_counter()
    sweeps.sweep()
    taken = time.perf_counter() - began
    campaign.refresh_from_db()
    print(
        f"{campaign.count_missed:,} open targets from the end to their final state: {taken:.2f} s ({campaign.status})"
    )


def main() -> None:
    """Run all, then stop the servers."""
    try:
        call_command("migrate", verbosity=0)
        idle()
        writes()
        launches()
    finally:
        connection.close()
        while tests.servers._started:
            tests.servers._started.pop().stop()


if __name__ == "__main__":
    main()
