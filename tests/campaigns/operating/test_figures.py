"""`/metrics`: what monitors read of every kind of process, as Prometheus' own parser reads it."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
from django.db import connection
from prometheus_client.parser import text_string_to_metric_families
from redis.exceptions import ConnectionError as RedisAwayError

from agents.board import keyspace, redis_client
from campaigns.launching import control
from campaigns.operating import figures
from campaigns.states import Status
from fleet import metrics
from fleet.celery import app as celery
from tests.agents.wire.conftest import GatewayProcess, eventually
from tests.factories import make_campaign, make_hosts, make_user
from tests.ports import free_port

TOKEN = "only-for-monitors"
Figures = dict[tuple[str, ...], float]


def read(text: bytes) -> Figures:
    """Give each sample under its name and the values of its labels; several gateways of a process add up."""
    found: Counter[tuple[str, ...]] = Counter()
    for family in text_string_to_metric_families(text.decode()):
        found.update({(sample.name, *sample.labels.values()): sample.value for sample in family.samples})
    return dict(found)


def of_house() -> Figures:
    return read(metrics.text(figures.House()))


@pytest.mark.parametrize("tier", ["gateway", "console"])
@pytest.mark.processes
def test_a_tier_shows_its_figures_to_who_bears_the_token(tier: str, board: None, tmp_path: Path) -> None:
    port = free_port()
    own = {"DJANGO_SETTINGS_MODULE": "fleet.settings", "METRICS_TOKEN": TOKEN, "METRICS_PORT": str(port)}
    process = GatewayProcess(tmp_path / "tier.log", {**os.environ, **own}, tier)
    address = f"http://127.0.0.1:{process.port}/metrics"

    strangers = [httpx.get(address), httpx.get(address, headers={"Authorization": "Bearer wrong"})]
    written = httpx.post(address, headers={"Authorization": f"Bearer {TOKEN}"})
    shown = httpx.get(address, headers={"Authorization": f"Bearer {TOKEN}"})
    beside = httpx.get(f"http://127.0.0.1:{port}/metrics")
    process.stop()

    assert [answer.status_code for answer in strangers] == [401, 401]
    assert written.status_code == 405
    assert shown.headers["content-type"].startswith("text/plain; version=")
    assert shown.headers["x-content-type-options"] == "nosniff"
    found = read(shown.content)
    assert (("fleet_up", "postgresql") in found) == (tier == "console"), "only consoles speak for all"
    assert (("fleet_gateway_held_reads",) in found) == (tier == "gateway")
    assert ("fleet_sockets",) in found
    assert ("fleet_server_errors_total", "redis") in read(beside.content)


@pytest.mark.django_db
def test_the_house_tells_of_campaigns_hosts_and_the_stream(board: None) -> None:
    make_campaign(*make_hosts(3))
    redis: Any = redis_client.client()
    now = keyspace.now_ms(redis)
    redis.xadd(keyspace.STREAM, {"k": "a"}, id=f"{now - 20_000}-0")
    redis.set(keyspace.SWEPT, now - 30_000)

    found = of_house()

    assert found["fleet_hosts",] == 3
    assert found["fleet_campaigns", Status.RUNNING] == 1
    assert found["fleet_campaigns", Status.PAUSED] == 0
    assert found["fleet_stream_entries",] == 1
    assert 20 <= found["fleet_stream_lag_seconds",] < 60
    assert 30 <= found["fleet_silence_seconds", "sweeper"] < 90
    assert ("fleet_silence_seconds", "gateway") not in found, "of what never was nothing is told"
    assert found["fleet_board_whole",] == 1
    assert found["fleet_live_queries_enabled",] == 1


@pytest.mark.django_db
def test_the_house_tells_what_waits_in_a_queue_and_since_when(board: None) -> None:
    celery.send_task("campaigns.note_worker", queue="live")
    celery.send_task("campaigns.note_worker", queue="live")

    found = of_house()

    assert found["fleet_queue_messages", "live"] == 2
    assert 0 < found["fleet_queue_age_seconds", "live"] < 60
    assert found["fleet_queue_messages", "sweeps"] == 0


@pytest.mark.django_db
def test_the_kill_switch_is_a_figure(board: None) -> None:
    control.disable_live_queries(make_user(admin=True), "an incident")

    assert of_house()["fleet_live_queries_enabled",] == 0


@pytest.mark.django_db
def test_a_monitor_is_answered_while_redis_is_away(board: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise RedisAwayError("nobody listens")

    monkeypatch.setattr(redis_client, "client", away)
    before = read(metrics.text())["fleet_server_errors_total", "redis"]

    found = of_house()

    assert found["fleet_up", "redis"] == 0
    assert found["fleet_up", "postgresql"] == 1
    assert ("fleet_stream_entries",) not in found
    assert read(metrics.text())["fleet_server_errors_total", "redis"] == before + 1


def test_a_collector_tells_how_large_its_batches_are(board: None, transactional_db: None, tmp_path: Path) -> None:
    port = free_port()
    database = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}")
    own = {"DATABASE_URL": urlunsplit(database), "METRICS_PORT": str(port)}
    with (tmp_path / "collector.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "manage.py", "collect"], env={**os.environ, **own}, stderr=log)
    try:
        eventually(lambda: _collector_at(port) is not None, 90)
        redis_client.client().xadd(keyspace.STREAM, {"k": "unknown"})
        eventually(lambda: (_collector_at(port) or {}).get(("fleet_collector_batch_entries_sum",), 0) >= 1, 90)
    finally:
        process.terminate()
        process.wait(30)


def _collector_at(port: int) -> Figures | None:
    try:
        return read(httpx.get(f"http://127.0.0.1:{port}/metrics").content)
    except httpx.TransportError:
        return None


@pytest.mark.django_db
def test_all_children_of_a_worker_add_up(board: None, tmp_path: Path) -> None:
    port = free_port()
    own = {"METRICS_PORT": str(port), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "celery", "-A", "fleet", "worker", "-Q", "live", "--concurrency", "2"]
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen([*command, "--without-mingle"], env={**os.environ, **own}, stderr=log, stdout=log)
    try:
        for _ in range(4):
            celery.send_task("campaigns.note_worker", queue="live")
        ran = ("fleet_task_seconds_count", "campaigns.note_worker")
        eventually(lambda: (_collector_at(port) or {}).get(ran, 0) == 4, 90)
        (tmp_path / "counter_99.db").touch()  # as a child does that begins to count in this moment
        assert (_collector_at(port) or {})[ran] == 4
    finally:
        process.terminate()
        process.wait(30)
