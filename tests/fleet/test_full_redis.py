"""Workers whose Redis has no room: real ones, each pool that deployments use, on a Redis of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

from fleet.celery import app as celery
from fleet.embedded.redis import EmbeddedRedis
from fleet.settings.work import _broker
from tests.agents.wire.conftest import eventually

pytestmark = pytest.mark.processes
POOLS = {"live": ("--concurrency", "2"), "hooks": ("--pool", "threads", "--concurrency", "4")}


class Worker(NamedTuple):
    """One worker, and what it says."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def says(self, words: str) -> int:
        """Count these words in its log."""
        return self.log.read_text().count(words)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """Start a Redis that may be filled."""
    made = EmbeddedRedis(tmp_path / "redis")
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def workers(server: EmbeddedRedis, tmp_path: Path) -> Iterator[dict[str, Worker]]:
    """Start one worker of each pool, by queue."""
    with ExitStack() as undo:
        started = {queue: start(queue, server.url, tmp_path / f"{queue}.log", undo) for queue in POOLS}
        for worker in started.values():
            eventually(lambda worker=worker: worker.says(" ready."), 60)  # type: ignore[misc]
        yield started


def start(queue: str, url: str, log: Path, undo: ExitStack) -> Worker:
    command = [sys.executable, "-m", "celery", "-A", "fleet", "worker", "--loglevel", "INFO", "-Q", queue]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "-n", f"{queue}@%h", *POOLS[queue]],
            env={**os.environ, "REDIS_URL": url},
            stdout=output,
            stderr=output,
        )
    undo.callback(process.wait, 30)
    undo.callback(process.terminate)
    return Worker(process, log)


def test_a_full_redis_ends_no_worker(server: EmbeddedRedis, workers: dict[str, Worker]) -> None:
    board = redis.Redis.from_url(server.url)

    for queue in POOLS:
        send_and_fill(board, server.url, queue)
    for worker in workers.values():
        eventually(lambda worker=worker: worker.says("OutOfMemoryError"), 30)  # type: ignore[misc]
    board.config_set("maxmemory", 0)
    for queue in POOLS:
        send(server.url, queue)

    for queue, worker in workers.items():
        eventually(lambda queue=queue: not board.llen(queue) and not board.hlen("unacked"), 30)  # type: ignore[misc]
        eventually(lambda worker=worker: worker.says("celery.app.trace Task"), 30)  # type: ignore[misc]
        assert worker.process.poll() is None


def send(url: str, queue: str) -> None:
    with celery.connection_for_write(_broker(url)) as connection:
        celery.send_task("campaigns.note_worker", queue=queue, connection=connection)


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
