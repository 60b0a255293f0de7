"""Real processes over TLS: web, worker, sweeper, beat, collector, PostgreSQL, Redis, and 50 pretend hosts."""

import json
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import psycopg2
import pytest
import redis

from tests.end_to_end.conftest import Hosts, RunningFleet, wait_for

pytestmark = [pytest.mark.lengthy, pytest.mark.processes]
Pretend = Callable[..., Hosts]
FINAL = ("answered", "failed", "denylisted", "unsupported", "no_answer", "missed", "held_back", "stopped")
SQL = "SELECT processes.name, port FROM listening_ports JOIN processes USING (pid)"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def adds_up(counts: dict[str, int]) -> bool:
    return sum(counts[state] for state in (*FINAL, "waiting", "delivered")) == counts["targeted"]


def rows_equal_what_was_sent(fleet: RunningFleet, hosts: Hosts, number: int) -> None:
    """Compare every stored row with what its host says it sent."""
    known = {
        host["id"]: host["host_identifier"] for host in fleet.http.get("/api/v1/hosts/?limit=1000").json()["results"]
    }
    stored = {known[item["host"]["id"]]: item["rows"] for item in fleet.results(number) if item["state"] == "answered"}
    sent = {host: json.loads(rows) for (host, query), rows in hosts.crowd.sent.items() if query == f"c{number}"}
    assert stored == {host: rows for host, rows in sent.items() if host in stored}
    assert stored


def test_every_host_reaches_a_final_state_and_the_rows_are_those_it_sent(
    running_fleet: RunningFleet, pretend: Pretend
) -> None:
    hosts = pretend(50, seed=1, failing=6)

    launched = running_fleet.launch(SQL, target=hosts.target)
    campaign = running_fleet.ended(launched["id"])

    counts = campaign["counts"]
    assert campaign["status"] == "completed"
    assert counts["targeted"] == sum(counts[state] for state in FINAL) == 50
    assert counts["answered"] + counts["failed"] == 50
    rows_equal_what_was_sent(running_fleet, hosts, launched["id"])


def test_a_viewer_sees_everything_once_in_order_and_a_second_one_too(
    running_fleet: RunningFleet, pretend: Pretend
) -> None:
    launched = running_fleet.launch(SQL, target=pretend(20, seed=2).target)

    seen: list[int] = []
    with running_fleet.socket(launched["id"], after=0) as socket:
        for message in socket:
            frame = json.loads(message)
            if frame["type"] == "results":
                seen += [item["seq"] for item in frame["items"]]
                break  # the line is lost in the middle
    frames = []
    with running_fleet.socket(launched["id"], after=seen[-1]) as socket:
        frames = [json.loads(message) for message in socket]

    seen += [item["seq"] for frame in frames if frame["type"] == "results" for item in frame["items"]]
    assert seen == [item["seq"] for item in running_fleet.results(launched["id"])]
    assert frames[0]["type"] == "snapshot"
    assert [frame["type"] for frame in frames[-2:]] == ["progress", "ended"]
    assert frames[-1]["counts"]["targeted"] == running_fleet.campaign(launched["id"])["counts"]["targeted"]


def test_logs_tell_what_was_done_and_not_what_is_done_every_second(
    running_fleet: RunningFleet, pretend: Pretend
) -> None:
    launched = running_fleet.launch(SQL, target=pretend(1, seed=33).target)
    running_fleet.ended(launched["id"])
    running_fleet.http.get("/static/campaigns/icon.svg").raise_for_status()

    lines = [line for log in running_fleet.folder.glob("logs/*.log") for line in log.read_text().splitlines()]
    said_by = {line.split()[3] for line in lines if " INFO " in line}
    warnings = [line for line in lines if " py.warnings " in line]
    assert {"campaigns.launching.launch", "celery.apps.worker"} <= said_by
    assert not {"celery.app.trace", "celery.worker.strategy", "celery.beat"} & said_by
    assert [line for line in warnings if "superuser privileges" not in line] == []  # Celery's, where tests are root's


def test_a_stop_ends_what_is_open_and_says_who(running_fleet: RunningFleet, pretend: Pretend) -> None:
    launched = running_fleet.launch(SQL, target=pretend(5, seed=31, hanging=100).target)
    wait_for(lambda: running_fleet.campaign(launched["id"])["counts"]["delivered"] == 5, 90)

    first = running_fleet.http.post(f"/api/v1/campaigns/{launched['id']}/stop/")
    campaign = running_fleet.ended(launched["id"])

    assert first.status_code == 202
    assert (campaign["status"], campaign["ended_by"]) == ("stopped", "admin")
    assert campaign["counts"]["stopped"] == campaign["counts"]["targeted"] == 5
    assert running_fleet.http.post(f"/api/v1/campaigns/{launched['id']}/stop/").status_code == 409


def test_hosts_that_stay_away_are_missed_when_the_time_is_up(running_fleet: RunningFleet, pretend: Pretend) -> None:
    hosts = pretend(5, seed=32)
    hosts.stop()
    launched = running_fleet.launch(SQL, timeout=10, target=hosts.target)

    campaign = running_fleet.ended(launched["id"])

    assert campaign["status"] == "expired"
    assert campaign["counts"]["missed"] == campaign["counts"]["targeted"] == 5
    assert campaign["ended_at"] == campaign["ends_at"]


def test_answers_given_while_postgres_is_stopped_are_stored_and_not_late(
    running_fleet: RunningFleet, pretend: Pretend
) -> None:
    hosts = pretend(20, seed=3, hanging=100)
    launched = running_fleet.launch(SQL, timeout=60, target=hosts.target)
    wait_for(lambda: running_fleet.campaign(launched["id"])["counts"]["delivered"] == 20, 90)
    ends_at = moment(running_fleet.campaign(launched["id"])["ends_at"])

    group = running_fleet.facts["pids"]["postgres"]
    os.killpg(group, signal.SIGSTOP)
    try:
        hosts.let_go()
        wait_for(lambda: len([1 for _, query in hosts.crowd.sent if query == f"c{launched['id']}"]) == 20, 90)
        # until after the campaign's end, which no sweep and no collector can see
        wait_for(lambda: datetime.now(UTC) > ends_at + timedelta(seconds=3), 90)
    finally:
        os.killpg(group, signal.SIGCONT)
    campaign = running_fleet.ended(launched["id"])

    assert campaign["counts"]["answered"] == 20
    assert campaign["counts"]["missed"] == 0
    results = running_fleet.results(launched["id"])  # on a busy machine a host may really be late
    assert [item["late"] for item in results] == [moment(item["received_at"]) >= ends_at for item in results]
    assert not all(item["late"] for item in results)
    rows_equal_what_was_sent(running_fleet, hosts, launched["id"])


def test_redis_is_emptied_while_answers_come_and_none_is_lost(running_fleet: RunningFleet, pretend: Pretend) -> None:
    hosts = pretend(20, seed=4, hanging=100)
    launched = running_fleet.launch(SQL, target=hosts.target)
    wait_for(lambda: running_fleet.campaign(launched["id"])["counts"]["delivered"] == 20, 90)

    hosts.let_go()
    redis.Redis.from_url(running_fleet.facts["redis_url"]).flushall()
    campaign = running_fleet.ended(launched["id"])

    assert campaign["counts"]["answered"] == 20
    rows_equal_what_was_sent(running_fleet, hosts, launched["id"])


@pytest.mark.parametrize("name", ["collector", "worker", "sweeper", "beat", "web"])
def test_a_process_that_is_killed_comes_back_and_nothing_is_lost(
    running_fleet: RunningFleet, pretend: Pretend, name: str
) -> None:
    hosts = pretend(10, seed=10 + len(name))
    launched = running_fleet.launch(SQL, target=hosts.target)

    if running_fleet.facts["pids"].get(name):
        os.kill(running_fleet.facts["pids"][name], signal.SIGKILL)
    wait_for(lambda: _answers(running_fleet), 90)
    campaign = running_fleet.ended(launched["id"])

    assert campaign["counts"]["answered"] == campaign["counts"]["targeted"] == 10
    assert adds_up(campaign["counts"])


def _answers(fleet: RunningFleet) -> bool:
    try:
        return fleet.http.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_the_database_agrees_with_itself(running_fleet: RunningFleet) -> None:
    with psycopg2.connect(running_fleet.facts["database_url"]) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM campaigns_target t WHERE state = 'answered' AND NOT EXISTS "
            "(SELECT FROM campaigns_result r WHERE r.campaign_id = t.campaign_id AND r.host_id = t.host_id)"
        )
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT count(*) FROM campaigns_deadletter")
        assert cursor.fetchone() == (0,)
    connection.close()


def test_a_file_is_streamed_by_the_real_server(running_fleet: RunningFleet, pretend: Pretend) -> None:
    launched = running_fleet.launch(SQL, target=pretend(5, seed=40).target)
    running_fleet.ended(launched["id"])

    lines = running_fleet.http.get(f"/api/v1/campaigns/{launched['id']}/export.ndjson").text.splitlines()

    stored = [row for item in running_fleet.results(launched["id"]) for row in item["rows"]]
    assert [json.loads(line)["row"] for line in lines] == stored
