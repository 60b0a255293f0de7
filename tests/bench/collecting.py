"""`python -m tests.bench.collecting`: how fast one collector empties a full stream into PostgreSQL.

PostgreSQL and Redis as they are deployed: every commit and every write on the disk. `--against FOLDER` drains the same
streams in turn with the collector of another work tree, and prints the ratio. What others do on the machine slows both
down alike; the CPU-seconds are the processes' own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.bench.durable import durable_servers

ROUNDS = 3
REPOSITORY = Path(__file__).parents[2]
# Runs in a process of its own, in the work tree whose collector is measured.
DRAIN = """
import json, os, threading, time
import django
django.setup()
from django.db import connection
from agents.board import keyspace, redis_client
from campaigns.collecting.collector import Collector

def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

def stop_when_empty():
    while redis_client.client().xlen(keyspace.STREAM):
        time.sleep(0.02)
    figures.extend([time.perf_counter() - began, time.process_time() - own, cpu_seconds(backend) - before])
    collector.stop()

with connection.cursor() as cursor:
    cursor.execute("SELECT pg_backend_pid()")
    backend = cursor.fetchone()[0]
collector, figures = Collector(), [redis_client.client().xlen(keyspace.STREAM)]
before, own, began = cpu_seconds(backend), time.process_time(), time.perf_counter()
threading.Thread(target=stop_when_empty).start()
collector.run()
print(json.dumps(figures))
"""


class Drained(NamedTuple):
    """One full stream emptied: seconds by the wall, and of the CPU."""

    entries: int
    seconds: float
    collector: float
    backend: float


def drain(folder: Path) -> Drained:
    """Empty the stream with the collector of a work tree."""
    paths = os.pathsep.join([str(folder), str(REPOSITORY)])  # its own packages first
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", DRAIN], cwd=folder, env=environment, check=True, capture_output=True)
    return Drained(*json.loads(done.stdout))


def fill(hosts: int, rows: int) -> None:
    """Launch over all hosts, and put an answer of each into the stream as `accept` does."""
    from django.contrib.auth.models import User

    from agents.board import keyspace, redis_client
    from agents.models import Host
    from campaigns.launching.launch import Order, launch
    from campaigns.running.targeting import write_range

    ids = list(Host.objects.order_by("pk").values_list("pk", flat=True)[:hosts])
    order = Order(sql="SELECT name, version, platform FROM os_version", target={"hosts": ids}, timeout=3600)
    campaign = launch(order, User.objects.get(username="bench"))
    for number in campaign.ranges.values_list("number", flat=True):
        write_range(campaign.pk, number)
    row = '{"name":"Ubuntu","version":"22.04.4 LTS (Jammy Jellyfish)","platform":"ubuntu","n":"%d"}'
    sent = f"[{','.join(row % number for number in range(rows))}]"
    stats = '{"wall_time_ms":3,"user_time":2,"system_time":1,"memory":123456}'
    fields = {"k": "a", "c": campaign.pk, "s": "0", "m": "", "t": stats, "r": sent, "x": ""}
    for start in range(0, hosts, 1000):
        pipe = redis_client.client().pipeline(transaction=False)
        for host in ids[start : start + 1000]:
            pipe.xadd(keyspace.STREAM, {**fields, "h": host})
        pipe.execute()


def check(hosts: int, rows: int) -> None:
    """Fail unless every answer of the newest campaign is stored and counted."""
    from campaigns.models import Campaign, Result

    campaign = Campaign.objects.first()
    found = (campaign.count_answered, campaign.count_rows, Result.objects.filter(campaign=campaign).count())
    if found != (hosts, hosts * rows, hosts):
        raise RuntimeError(f"{found} answers, rows and results are stored, not all of {hosts}")


def measure(hosts: int, rows: int, against: Path | None) -> None:
    """Print the median of rounds taken in turn."""
    trees = [REPOSITORY] + ([against] if against else [])
    runs: list[list[Drained]] = [[] for _ in trees]
    for _ in range(ROUNDS):
        for tree, drained in zip(trees, runs, strict=True):
            fill(hosts, rows)
            drained.append(drain(tree))
            check(hosts, rows)
    medians = []
    for tree, drained in zip(trees, runs, strict=True):
        best = max(one.entries / one.seconds for one in drained)
        rate = statistics.median(one.entries / one.seconds for one in drained)
        own = statistics.median(one.collector / one.entries for one in drained) * 1e6
        backend = statistics.median(one.backend / one.entries for one in drained) * 1e6
        medians.append((rate, own + backend))
        print(
            f"{hosts:,} answers of {rows} rows, {'this tree' if tree == REPOSITORY else 'the other'}:"
            f" {rate:,.0f} answers/s ({rate * rows:,.0f} rows/s; best {best:,.0f}), CPU per answer:"
            f" collector {own:.1f} µs, its PostgreSQL {backend:.1f} µs",
            flush=True,
        )
    if against:
        (here, cpu), (there, other_cpu) = medians
        print(f"  ratio of rates {here / there:.2f}, of answers per CPU-second {other_cpu / cpu:.2f}", flush=True)


def main() -> None:
    """Start the servers, measure, stop them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=50_000)
    parser.add_argument("--against", type=Path, help="a work tree whose collector is measured as well")
    options = parser.parse_args()
    with durable_servers(options.hosts):
        measure(options.hosts, 1, options.against)
        measure(max(1, options.hosts // 25), 200, options.against)


if __name__ == "__main__":
    main()
