"""Workers whose Redis fails: real ones, each pool that deployments use, on a Redis of their own."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import redis
from django.conf import settings

from fleet.celery import app as celery
from fleet.embedded.redis import EmbeddedRedis
from fleet.settings.work import _broker
from tests.agents.wire.conftest import eventually
from tests.campaigns.operating.test_figures import read
from tests.ports import free_port

pytestmark = pytest.mark.processes
POOLS = {"live": ("--concurrency", "2"), "hooks": ("--pool", "threads", "--concurrency", "4")}
ERRORS = ("fleet_server_errors_total", "redis")
DONE = re.compile(r"Task campaigns\.note_worker\[\S+ succeeded")


class Worker(NamedTuple):
    """One worker, and what it says."""

    process: "subprocess.Popen[bytes]"
    log: Path
    port: int  # of its figures

    def says(self, words: str) -> int:
        """Count these words in its log."""
        return self.log.read_text().count(words)

    def figures(self) -> dict[tuple[str, ...], float]:
        """Give what monitors read of it."""
        return read(httpx.get(f"http://127.0.0.1:{self.port}/metrics").content)

    def done(self) -> int:
        """Count what it did."""
        return len(DONE.findall(self.log.read_text()))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """Start a Redis that may be filled and killed."""
    made = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def silent_database() -> Iterator[socket.socket]:
    """Give a server that never says a word: a task that wants the database waits."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture(scope="module")
def workers(
    server: EmbeddedRedis, silent_database: socket.socket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Worker]]:
    """Start one worker of each pool, by queue."""
    logs = tmp_path_factory.mktemp("logs")
    database = f"postgresql://nobody:nothing@127.0.0.1:{silent_database.getsockname()[1]}/none"
    with ExitStack() as undo:
        addresses = {"REDIS_URL": server.url, "DATABASE_URL": database}
        started = {queue: start(queue, addresses, logs / f"{queue}.log", undo) for queue in POOLS}
        for worker in started.values():
            eventually(lambda worker=worker: worker.says(" ready."), 90)  # type: ignore[misc]
        yield started


def start(queue: str, addresses: dict[str, str], log: Path, undo: ExitStack) -> Worker:
    command = [sys.executable, "-m", "celery", "-A", "fleet", "worker", "--loglevel", "INFO", "-Q", queue]
    port = free_port()
    own = {"LOG_FORMAT": "json", "METRICS_PORT": str(port)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "-n", f"{queue}@%h", *POOLS[queue]],
            env=os.environ | addresses | own,
            stdout=output,
            stderr=output,
        )
    undo.callback(process.wait)
    undo.callback(process.kill)
    return Worker(process, log, port)


def test_a_full_redis_ends_no_worker(server: EmbeddedRedis, workers: dict[str, Worker]) -> None:
    board = redis.Redis.from_url(server.url)
    done = {queue: worker.done() for queue, worker in workers.items()}

    for queue, worker in workers.items():
        send_and_fill(board, server.url, queue)
        eventually(lambda worker=worker: worker.says("OutOfMemoryError"), 90)  # type: ignore[misc]
    board.config_set("maxmemory", 0)
    for queue in POOLS:
        send(server.url, queue)

    for queue, worker in workers.items():
        eventually(lambda queue=queue, worker=worker: worker.done() > done[queue], 90)  # type: ignore[misc]
        assert worker.process.poll() is None


def test_redis_killed_amid_tasks_ends_no_worker(
    server: EmbeddedRedis, silent_database: socket.socket, workers: dict[str, Worker]
) -> None:
    board = redis.Redis.from_url(server.url)
    done = {queue: worker.done() for queue, worker in workers.items()}
    for queue in POOLS:
        send(server.url, queue, "hooks.tell")
    eventually(lambda: board.hlen("unacked") == len(POOLS), 90)

    assert server.process is not None
    before = {queue: worker.figures()[ERRORS] for queue, worker in workers.items()}
    server.process.kill()
    server.process.wait()
    for worker in workers.values():
        eventually(lambda worker=worker: worker.says("Connection to broker lost"), 90)  # type: ignore[misc]
    server.start()
    for worker in workers.values():
        eventually(lambda worker=worker: worker.says("mingle: all alone") > 1, 90)  # type: ignore[misc]
    for _ in POOLS:
        silent_database.accept()[0].close()
    for worker in workers.values():
        eventually(lambda worker=worker: worker.says("OperationalError"), 90)  # type: ignore[misc]
    for queue in POOLS:
        send(server.url, queue)

    for queue, worker in workers.items():
        eventually(lambda queue=queue, worker=worker: worker.done() > done[queue], 90)  # type: ignore[misc]
        assert worker.process.poll() is None
        assert "AttributeError: " not in worker.log.read_text()  # a traceback of what used the lost connection
        assert worker.figures()[ERRORS] > before[queue]


def test_whatever_a_worker_says_is_an_object_and_every_task_has_its_figure(workers: dict[str, Worker]) -> None:
    for worker in workers.values():
        told = [json.loads(line) for line in worker.log.read_text().splitlines()]
        failures = {names[1] for names in worker.figures() if names[0] == "fleet_task_failures_total"}

        assert {"level", "logger", "event", "process"} <= set.intersection(*map(set, told))
        assert failures == set(settings.QUEUES), "a first failure is an increase"


def send(url: str, queue: str, task: str = "campaigns.note_worker") -> None:
    with celery.connection_for_write(_broker(url)) as connection:
        celery.send_task(task, queue=queue, connection=connection)


def send_and_fill(board: Any, url: str, queue: str) -> None:
    """Let Redis be full in the moment in which a worker takes a message: it cannot even note that it has it."""
    board.config_set("maxmemory", 0)
    elsewhere = f"{url.partition('?')[0]}?db=1"
    send(elsewhere, queue)
    message = redis.Redis.from_url(elsewhere).lpop(queue)
    with board.pipeline(transaction=True) as both:
        both.lpush(queue, message)
        both.config_set("maxmemory", 1)
        both.execute()
