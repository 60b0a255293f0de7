"""Two beats, two sweepers, two workers, two collectors, and messages that come three times: no difference."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from fleet.celery import app
from tests.end_to_end.conftest import TEST_ENVIRONMENT, Hosts, RunningFleet, wait_for

pytestmark = [pytest.mark.processes, pytest.mark.long]  # tests/faults does the like in each run of the suite
SQL = "SELECT pid, name FROM processes"
ROOT = Path(__file__).parents[2]
CELERY = ["-m", "celery", "-A", "fleet"]
Pretend = Callable[..., Hosts]


@pytest.fixture(scope="module")
def environment(running_fleet: RunningFleet) -> dict[str, str]:
    """Give what the running processes were given."""
    lines = (Path(running_fleet.facts["data_dir"]) / "env").read_text().splitlines()
    bare = {name: value for name, value in os.environ.items() if name not in TEST_ENVIRONMENT}
    return bare | dict(line.split("=", 1) for line in lines)


@pytest.fixture(scope="module")
def second_ones(
    running_fleet: RunningFleet, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Start a second process of each kind but web."""
    folder = tmp_path_factory.mktemp("second")
    beats = ["beat", "--schedule", str(folder / "schedule"), "--pidfile", ""]
    commands = {
        "collector": ["manage.py", "collect"],
        "sweeper": [
            *CELERY,
            "worker",
            "-Q",
            "sweeps",
            "-n",
            "sweeper-2@%h",
            "--concurrency",
            "1",
            "--loglevel",
            "INFO",
        ],
        "worker": [*CELERY, "worker", "-Q", "live", "-n", "worker-2@%h", "--concurrency", "2", "--loglevel", "INFO"],
        "beat": [*CELERY, *beats, "--loglevel", "INFO"],
    }
    processes = []
    for name, command in commands.items():
        with (folder / f"{name}.log").open("w") as log:
            arguments = [sys.executable, *command]
            processes.append(subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=log, stderr=log))
    for name, sentence in (("sweeper", " ready."), ("worker", " ready."), ("beat", "Sending due task")):
        wait_for(lambda name=name, sentence=sentence: sentence in (folder / f"{name}.log").read_text(), 90)
    yield
    assert [process.poll() for process in processes] == [None] * 4
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(90)


def adds_up(counts: dict[str, int]) -> bool:
    return sum(counts.values()) - counts["targeted"] - counts["rows"] - counts["online"] == counts["targeted"]


@pytest.mark.usefixtures("second_ones")
def test_everybody_is_asked_once_and_answers_once(running_fleet: RunningFleet, pretend: Pretend) -> None:
    hosts = pretend(40, seed=71)
    orders = [
        {"rollout": {"canary": {"percent": 10}, "then": "auto"}},
        {"rollout": {"per_second": 10}},
        {"include_late_joiners": True, "timeout": 30},
        {},
    ]

    launched = [running_fleet.launch(SQL, target=hosts.target, **order)["id"] for order in orders]
    ended = [running_fleet.ended(number) for number in launched]

    for campaign in ended:
        assert campaign["counts"]["answered"] == campaign["counts"]["targeted"] == 40, campaign
        assert sorted(item["seq"] for item in running_fleet.results(campaign["id"])) == list(range(1, 41))
        targets = running_fleet.http.get(f"/api/v1/campaigns/{campaign['id']}/targets/?limit=1000").json()["results"]
        assert [target["deliveries"] for target in targets] == [1] * 40


@pytest.mark.usefixtures("second_ones")
def test_hosts_that_are_silent_end_once(running_fleet: RunningFleet, pretend: Pretend) -> None:
    hosts = pretend(10, seed=72, silent=100)

    launched = running_fleet.launch(SQL, target=hosts.target)
    campaign = running_fleet.ended(launched["id"])

    assert campaign["counts"]["no_answer"] == campaign["counts"]["targeted"] == 10
    assert adds_up(campaign["counts"])


@pytest.mark.usefixtures("second_ones")
def test_a_message_that_comes_again_changes_nothing(
    running_fleet: RunningFleet, pretend: Pretend, environment: dict[str, str]
) -> None:
    hosts = pretend(5, seed=73)
    launched = running_fleet.launch(SQL, target=hosts.target)
    before = running_fleet.ended(launched["id"])

    with app.connection_for_write(environment["REDIS_URL"].replace("unix://", "redis+socket://")) as connection:
        for _ in range(3):
            app.send_task("campaigns.write_range", [launched["id"], 0], queue="live", connection=connection)
    queue = redis.Redis.from_url(running_fleet.facts["redis_url"])
    wait_for(lambda: not queue.llen("live") and not queue.hlen("unacked"), 90)

    after = running_fleet.campaign(launched["id"])
    after["counts"].pop("online"), before["counts"].pop("online")
    assert after == before
    assert len(running_fleet.results(launched["id"])) == 5
