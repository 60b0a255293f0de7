"""`python -m tests.bench.answers`: from launch to answer, held reads against 10-second polling, in one run.

A gateway behind TLS and as many pretend hosts as asked for, on loopback; ends by itself. The time of an answer is when
the stream took it, by Redis' clock, less the moment of the launch.
"""

import argparse
import os
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import tests.servers

os.environ["DJANGO_SETTINGS_MODULE"] = "fleet.settings"

import django

django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection

from agents.board import rebuilding, redis_client
from agents.models import EnrollSecret, Host
from campaigns.collecting.collector import Collector
from campaigns.launching.launch import Order, launch
from campaigns.models import Target
from campaigns.running.targeting import write_range
from campaigns.states import State
from fleet.demo.certificates import Certificates
from tests.ports import free_port

SQL = "SELECT name, version, platform FROM os_version"
FEW, FEW_TIMES, ALL_TIMES = 20, 20, 4
SETTLE_SECONDS, LONGEST_SECONDS = 15.0, 120.0
PAUSE_SECONDS = (3.0, 13.0)  # at random, so that a launch meets hosts at any point of their interval


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=2000)
    return parser.parse_args()


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[None]:
    """Run a Python process beside this one."""
    process = subprocess.Popen([sys.executable, *arguments], env=os.environ | environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def fleet(folder: Path, hold_seconds: float, hosts: int) -> Iterator[list[int]]:
    """Start a gateway and hosts that enroll; give the ids of those hosts once all have settled."""
    certificates = Certificates(folder / "certificates")
    certificates.make("127.0.0.1")
    port = free_port()
    gateway = ["-m", "fleet.serve", "gateway", "--port", str(port)]
    gateway += ["--certificate", str(certificates.server), "--key", str(certificates.server_key)]
    simulate = ["manage.py", "simulate", "--hosts", str(hosts), "--seed", str(int(hold_seconds) + 1)]
    simulate += ["--url", f"https://127.0.0.1:{port}", "--ca", str(certificates.ca)]
    before = set(Host.objects.values_list("pk", flat=True))
    with running(*gateway, HOLD_SECONDS=str(hold_seconds)):
        wait_for(lambda: listens(port), 30)
        with running(*simulate, ENROLL_SECRET="bench of answers"):
            wait_for(lambda: Host.objects.count() == len(before) + hosts, 300)
            time.sleep(SETTLE_SECONDS)
            yield sorted(set(Host.objects.values_list("pk", flat=True)) - before)


def listens(port: int) -> bool:
    """Say whether somebody answers at this port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_for(condition: Callable[[], Any], within: float) -> None:
    """Return once the condition is true; fail after `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not happen in time")
        time.sleep(0.2)


def ask(hosts: list[int], by: User) -> tuple[list[float], int]:
    """Ask these hosts; give how many seconds each answer took, and how many did not come."""
    time.sleep(random.uniform(*PAUSE_SECONDS))
    began = time.time()
    campaign = launch(Order(sql=SQL, target={"hosts": hosts}, timeout=int(LONGEST_SECONDS)), by)
    for number in campaign.ranges.values_list("number", flat=True):
        write_range(campaign.pk, number)
    answered = Target.objects.filter(campaign=campaign, state=State.ANSWERED)
    with suppress(TimeoutError):
        wait_for(lambda: answered.count() == len(hosts), LONGEST_SECONDS)
    times = [moment.timestamp() - began for moment in answered.values_list("answered_at", flat=True)]
    return times, len(hosts) - len(times)


def measure(name: str, hosts: list[int], by: User) -> None:
    """Print a line of the table for few hosts and one for all."""
    for many, times in ((FEW, FEW_TIMES), (len(hosts), ALL_TIMES)):
        asked = [ask(random.sample(hosts, many), by) for _ in range(times)]
        took = sorted(seconds for answers, _ in asked for seconds in answers)
        cuts = statistics.quantiles(took, n=100)
        silent = sum(missing for _, missing in asked)
        figures = " | ".join(f"{value:.2f} s" for value in (cuts[49], cuts[94], took[-1]))
        print(f"| {name} | {many:,} of {len(hosts):,} | {times} | {figures} | {silent} |", flush=True)


def main() -> None:
    """Measure both ways, then stop the servers."""
    collector = Collector()
    thread = threading.Thread(target=collector.run)
    try:
        call_command("migrate", verbosity=0)
        redis_client.client().flushdb()
        rebuilding.finish({})
        EnrollSecret.objects.offer("bench", "bench of answers")
        by = User.objects.create_superuser("bench")
        thread.start()
        folder = tests.servers.open_folder()
        many = options().hosts
        print("| reads | hosts asked | launches | p50 | p95 | max | silent |\n|---|---|---|---|---|---|---|")
        for name, hold_seconds in (("held", 10.0), ("polled every 10 s", 0.0)):
            with fleet(folder, hold_seconds, many) as hosts:
                measure(name, hosts, by)
    finally:
        collector.stop()
        if thread.is_alive():
            thread.join()
        connection.close()
        tests.servers.pytest_unconfigure(None)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
