"""The table of faults: each does something to the stage, lets the caller stay for a while, and undoes it."""

import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import redis

from fleet.embedded.redis import EmbeddedRedis
from tests.faults.stage import Stage, wait_for

Doing = Callable[[Stage], AbstractContextManager[None]]

# What PostgreSQL says when its disk is full, said by a trigger: the statement fails as it would, and its transaction.
FULL_DISK = """
CREATE FUNCTION disk_is_full() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full', MESSAGE = 'could not extend file: No space left on device'; END $$
"""
STORED_SECONDS = 45.0  # within which an answer comes, with campaigns open that wait 25 s for hosts that say nothing
WRITTEN = ("campaigns_result", "campaigns_target", "campaigns_campaign")


@dataclass(frozen=True)
class Fault:
    """One row of the table. `touches` names what it is done to and needs; two at once have nothing in common."""

    name: str
    touches: frozenset[str]
    seconds: float
    do: Doing


FAULTS: dict[str, Fault] = {}


def fault(*touches: str, seconds: float) -> Callable[..., Doing]:
    """Put a function into the table, under its name in words."""

    def enter(function: Callable[[Stage], Iterator[None]]) -> Doing:
        name = function.__name__.replace("_", " ")
        FAULTS[name] = Fault(name, frozenset(touches), seconds, contextmanager(function))
        return FAULTS[name].do

    return enter


# --- processes -----------------------------------------------------------------------------------------------------


def _killed(process: str) -> Callable[[Stage], Iterator[None]]:
    def do(stage: Stage) -> Iterator[None]:
        stage.kill(process)
        yield

    return do


PROCESSES = (
    "gateway-1",
    "gateway-2",
    "console",
    "worker",
    "sweeper",
    "messenger",
    "beat",
    "collector-1",
    "collector-2",
)
for _process in PROCESSES:
    _name, _touches = f"{_process} killed", frozenset({_process, _process.replace("-1", "s").replace("-2", "s")})
    FAULTS[_name] = Fault(_name, _touches, 2.0, contextmanager(_killed(_process)))


@fault("collectors", "postgres", "redis", "worker", "sweeper", seconds=14.0)
def collector_frozen_at_work(stage: Stage) -> Iterator[None]:
    """Freeze the one that holds the cursor while it stores, so that the other takes over; then wake it.

    It waits for an answer, and nothing is undone meanwhile: what answers need must not be broken beside it.
    """
    name = _collector_at_work(stage)
    try:
        yield
    finally:
        stage.processes[name].signal(signal.SIGCONT)


def _collector_at_work(stage: Stage) -> str:
    """Stop the collector that is storing an answer just now; a lock holds it there until it is known which it is."""
    waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'campaigns_target'::regclass"
    connection = psycopg2.connect(stage.postgres.superuser_url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("LOCK TABLE campaigns_target IN EXCLUSIVE MODE")
            wait_for(lambda: stage.sql(waiting), "an answer is being stored", STORED_SECONDS)
            time.sleep(1.5)  # the other one looks meanwhile, and says that it stands by
            at_work = [name for name in stage.collectors if stage.figure(name, "fleet_collector_at_work") == 1]
            name = at_work[0] if at_work else "collector-1"  # none: one took over just now and has told nothing yet
            stage.processes[name].signal(signal.SIGSTOP)
    finally:
        connection.close()
    return name


@fault("sweeper", seconds=6.0)
def sweeper_frozen(stage: Stage) -> Iterator[None]:
    """Freeze the sweeper with its children."""
    stage.processes["sweeper"].signal(signal.SIGSTOP)
    try:
        yield
    finally:
        stage.processes["sweeper"].signal(signal.SIGCONT)


@fault("gateway-1", seconds=4.0)
def gateway_frozen(stage: Stage) -> Iterator[None]:
    """Freeze a gateway with the reads that it holds."""
    stage.processes["gateway-1"].signal(signal.SIGSTOP)
    try:
        yield
    finally:
        stage.processes["gateway-1"].signal(signal.SIGCONT)


@fault("everything", seconds=0.0)
def rolling_restart(stage: Stage) -> Iterator[None]:
    """Restart every process in the order of docs/operations.md, one after the other."""
    for name in stage.processes:
        stage.restart(name)
    yield
    stage.wait_until_ready()


@fault("gateway-2", seconds=3.0)
def everybody_reconnects(stage: Stage) -> Iterator[None]:
    """Break every connection of agents at once, twice."""
    stage.edge.break_all()
    yield
    stage.edge.break_all()


def remember_loss(stage: Stage) -> None:
    """Note that what was acknowledged so far may be lost, if it is not stored yet: its hosts are asked again."""
    stage.lossy.append(time.time())


# --- Redis ---------------------------------------------------------------------------------------------------------


@fault("redis", seconds=2.0)
def redis_killed(stage: Stage) -> Iterator[None]:
    """Kill Redis and start it again on its append-only file."""
    _kill_redis(stage.redis)
    yield
    stage.redis.start()


def _kill_redis(server: EmbeddedRedis) -> None:
    assert server.process is not None
    server.process.kill()
    server.process.wait()


@fault("redis", seconds=1.0)
def redis_emptied(stage: Stage) -> Iterator[None]:
    """Empty Redis as it runs: what was not stored yet is lost, and asked again."""
    remember_loss(stage)
    stage.board.flushall()
    yield


@fault("redis", seconds=4.0)
def redis_full(stage: Stage) -> Iterator[None]:
    """Let Redis refuse whatever needs memory."""
    board = stage.board
    board.config_set("maxmemory", max(1, board.info("memory")["used_memory"] - 2**16))
    try:
        yield
    finally:
        board.config_set("maxmemory", 0)


@fault("redis", seconds=4.0)
def redis_slow(stage: Stage) -> Iterator[None]:
    """Let each answer of Redis take its time, and break its connections now and then."""
    links = (stage.redis_of_gateways, stage.redis_of_others)
    for link in links:
        link.delay = 0.3
    try:
        yield
        for link in links:
            link.break_all()
    finally:
        for link in links:
            link.delay = 0.0


@fault("redis", seconds=4.0)
def gateways_cut_off_from_redis(stage: Stage) -> Iterator[None]:
    """Cut the wire between gateways and Redis; the others still reach it."""
    stage.redis_of_gateways.is_cut = True
    stage.redis_of_gateways.break_all()
    try:
        yield
    finally:
        stage.redis_of_gateways.is_cut = False


@fault("redis", seconds=12.0)
def gateways_hear_nothing_of_redis(stage: Stage) -> Iterator[None]:
    """Let bytes between gateways and Redis go nowhere, and the connections stand."""
    stage.redis_of_gateways.is_silent = True
    try:
        yield
    finally:
        stage.redis_of_gateways.is_silent = False
        stage.redis_of_gateways.break_all()


@fault("redis", seconds=1.0)
def redis_fails_over(stage: Stage) -> Iterator[None]:
    """Let a replica take over that has not heard of the last moment."""
    replica = _replica(stage)
    stage.replication.is_cut = True
    stage.replication.break_all()
    before = stage.crowd.ledger.taken()
    deadline = time.monotonic() + 2
    while stage.crowd.ledger.taken() == before and time.monotonic() < deadline:
        time.sleep(0.02)  # for an answer that only the old primary has
    primary = stage.redis
    remember_loss(stage)
    _kill_redis(primary)
    redis.Redis.from_url(replica.url).replicaof("NO", "ONE")
    stage.redis, stage.replica = replica, None
    shutil.rmtree(primary.directory)
    yield


def _replica(stage: Stage) -> EmbeddedRedis:
    """Start a second server that follows the first, and return when it has everything."""
    number = 1 + int(stage.redis.directory.name.split("-")[1])
    replica = EmbeddedRedis(stage.folder / f"redis-{number}")
    replica.directory.mkdir(mode=0o700)
    password = (stage.redis.directory / "redis-password").read_text()
    (replica.directory / "redis-password").write_text(password)
    replica.start()
    stage.replica = replica
    stage.replication.is_cut = False
    client = redis.Redis.from_url(replica.url)
    client.config_set("masterauth", password.strip())
    client.replicaof("127.0.0.1", str(stage.replication.port))
    wait_for(lambda: client.info("replication").get("master_link_status") == "up", "the replica follows", 90)
    return replica


# --- PostgreSQL ----------------------------------------------------------------------------------------------------


@fault("postgres", seconds=6.0)
def postgres_stopped(stage: Stage) -> Iterator[None]:
    """Stop PostgreSQL as an operator would, and start it again."""
    stage.postgres.stop()
    yield
    stage.postgres.start()


@fault("postgres", seconds=1.0)
def postgres_killed(stage: Stage) -> Iterator[None]:
    """Kill PostgreSQL with all its sessions."""
    process = stage.postgres.process
    assert process is not None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    yield
    stage.postgres.start()


@fault("postgres", seconds=5.0)
def postgres_slow(stage: Stage) -> Iterator[None]:
    """Let each answer of PostgreSQL take its time."""
    stage.database.delay = 0.1
    try:
        yield
    finally:
        stage.database.delay = 0.0


@fault("postgres", seconds=4.0)
def postgres_cut_off(stage: Stage) -> Iterator[None]:
    """Break every session, and let nobody in."""
    stage.database.is_cut = True
    stage.database.break_all()
    try:
        yield
    finally:
        stage.database.is_cut = False


@fault("postgres", seconds=4.0)
def postgres_out_of_connections(stage: Stage) -> Iterator[None]:
    """Let the database have no connection left for anybody of the installation."""
    stage.sql("ALTER ROLE fleet_owner CONNECTION LIMIT 0")
    stage.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'fleet_owner'")
    try:
        yield
    finally:
        stage.sql("ALTER ROLE fleet_owner CONNECTION LIMIT -1")


@fault("postgres", seconds=4.0)
def postgres_disk_full(stage: Stage) -> Iterator[None]:
    """Let every write of an answer, a target or a count fail as on a full disk."""
    stage.sql(FULL_DISK)
    for table in WRITTEN:
        stage.sql(
            f"CREATE TRIGGER disk_is_full BEFORE INSERT OR UPDATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION disk_is_full()"
        )
    try:
        yield
    finally:
        stage.sql("DROP FUNCTION disk_is_full() CASCADE")


@fault("postgres", seconds=2.0)
def a_migration_locks_the_large_tables(stage: Stage) -> Iterator[None]:
    """Change the large tables as a migration does while agents answer, and back."""
    for table in WRITTEN:
        stage.sql(f"SET lock_timeout = '10s'; ALTER TABLE {table} ADD COLUMN tried integer")
    yield
    for table in WRITTEN:
        stage.sql(f"SET lock_timeout = '10s'; ALTER TABLE {table} DROP COLUMN tried")


# --- disks and clocks ----------------------------------------------------------------------------------------------


@fault("gateway-1", "gateway-2", seconds=4.0)
def gateways_disk_full(stage: Stage) -> Iterator[None]:
    """Let no file of a gateway grow any more: blocks of carves, log lines of agents, its own log."""
    with ExitStack() as undo:
        for name in stage.gateway_ports:
            pid = stage.processes[name].pid
            undo.callback(_limit_files, pid, resource.RLIM_INFINITY)
            _limit_files(pid, 0)
        yield


def _limit_files(pid: int, most: int) -> None:
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, hard))
    except ProcessLookupError:
        return  # it was killed meanwhile


CLOCK_AHEAD = Path(__file__).parent / "clock_ahead"


def _clock_ahead(stage: Stage, process: str) -> Iterator[None]:
    """Start a process again whose clock is an hour ahead, then one whose clock is right."""
    stage.processes[process].more = {"PYTHONPATH": str(CLOCK_AHEAD)}
    stage.kill(process)
    try:
        yield
    finally:
        stage.processes[process].more = {}
        stage.kill(process)


@fault("worker", seconds=8.0)
def worker_clock_an_hour_ahead(stage: Stage) -> Iterator[None]:
    """Let the worker's clock jump."""
    yield from _clock_ahead(stage, "worker")


@fault("collectors", seconds=8.0)
def collector_clock_an_hour_ahead(stage: Stage) -> Iterator[None]:
    """Let a collector's clock jump."""
    yield from _clock_ahead(stage, "collector-1")


@fault("sweeper", seconds=8.0)
def sweeper_clock_an_hour_ahead(stage: Stage) -> Iterator[None]:
    """Let the sweeper's clock jump."""
    yield from _clock_ahead(stage, "sweeper")


@fault("gateway-1", seconds=8.0)
def gateway_clock_an_hour_ahead(stage: Stage) -> Iterator[None]:
    """Let a gateway's clock jump."""
    yield from _clock_ahead(stage, "gateway-1")
