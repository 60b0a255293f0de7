"""Workers, the sweeper and the collector are killed in the middle of a statement: nothing is lost, nothing done twice.

A lock on the table they write to holds them there until they are killed.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest

from tests.end_to_end.conftest import Hosts, RunningFleet, wait_for

pytestmark = [pytest.mark.processes, pytest.mark.long]  # tests/faults does the like in each run of the suite
SQL = "SELECT pid, name FROM processes"
WAITERS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
Pretend = Callable[..., Hosts]


@contextmanager
def killed_while_writing(fleet: RunningFleet, process: str, table: str) -> Iterator[None]:
    """Let nobody write to a table while the block runs; at its end kill the process that tries to, and let go."""
    connection = psycopg2.connect(fleet.facts["database_url"])
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            yield
            wait_for(lambda: _waiters(connection, table), 90)
            os.kill(fleet.facts["pids"][process], signal.SIGKILL)
    finally:
        connection.close()


def _waiters(connection: Any, table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(WAITERS, [table])
        return int(cursor.fetchone()[0])


def test_a_worker_dies_while_it_writes_targets(running_fleet: RunningFleet, pretend: Pretend) -> None:
    hosts = pretend(20, seed=51)

    with killed_while_writing(running_fleet, "worker", "campaigns_target"):
        launched = running_fleet.launch(SQL, target=hosts.target)
    campaign = running_fleet.ended(launched["id"])

    assert campaign["status"] == "completed"
    assert campaign["counts"]["answered"] == campaign["counts"]["targeted"] == 20


def test_the_collector_dies_while_it_writes_results(running_fleet: RunningFleet, pretend: Pretend) -> None:
    hosts = pretend(20, seed=52)

    with killed_while_writing(running_fleet, "collector", "campaigns_result"):
        launched = running_fleet.launch(SQL, target=hosts.target)
    campaign = running_fleet.ended(launched["id"])

    assert campaign["counts"]["answered"] == 20
    results = running_fleet.results(launched["id"])
    assert sorted(item["seq"] for item in results) == list(range(1, 21))
    assert not any(item["late"] for item in results)


def test_the_sweeper_dies_while_it_ends_a_campaign(running_fleet: RunningFleet, pretend: Pretend) -> None:
    hosts = pretend(20, seed=53, hanging=100)
    launched = running_fleet.launch(SQL, target=hosts.target)
    wait_for(lambda: running_fleet.campaign(launched["id"])["counts"]["delivered"] == 20, 90)

    with killed_while_writing(running_fleet, "sweeper", "campaigns_target"):
        running_fleet.http.post(f"/api/v1/campaigns/{launched['id']}/stop/")
    campaign = running_fleet.ended(launched["id"])

    assert campaign["status"] == "stopped"
    assert campaign["counts"]["stopped"] == campaign["counts"]["targeted"] == 20
