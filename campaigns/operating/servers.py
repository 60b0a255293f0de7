"""What the doctor sees of PostgreSQL and Redis: versions, settings that could lose answers, room, and their clocks."""

import time
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from psycopg2.errors import InsufficientPrivilege
from redis.exceptions import RedisError

from agents.board import keyspace
from agents.board.health import weak_settings
from campaigns.operating.finding import Finding, broken, warning, well
from fleet.counting import counted, plural
from fleet.errors import words_of

OLDEST_POSTGRESQL, OLDEST_REDIS = (14, 0), (6, 2)
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "autovacuum": "on"}
GATEWAYS = "fleet_gateway"  # the role that docker/gateway-role.sql makes
CROWDED = 0.8  # of connections, or of memory
OLD_TRANSACTIONS = 1_000_000_000  # of the two billion after which PostgreSQL writes no more
MOST_APART = 2.0  # seconds between two clocks


def postgresql() -> Iterator[Finding]:
    """Look at PostgreSQL, as this process reaches it."""
    looks = (_database_clock, _postgresql_version, _migrations, _durability, _connections, _transactions)
    for look in looks:
        try:
            yield from look()
        except DatabaseError as error:
            if may_not(error):
                yield forbidden("database", error)
                continue
            advice = "see DATABASE_URL, and whether the server runs and lets this machine in"
            yield broken("database", f"PostgreSQL does not answer: {words_of(error)}", advice)
            return


def may_not(error: DatabaseError) -> bool:
    """Say whether PostgreSQL refused since the role may not."""
    return isinstance(error.__cause__, InsufficientPrivilege)


def forbidden(about: str, error: DatabaseError) -> Finding:
    """Say what the role may not look at: gateways' is to see nothing but theirs, every other one all."""
    role = connection.settings_dict["USER"]
    said = f"{role} may not look at everything: {str(error).splitlines()[0]}"
    if role == GATEWAYS:
        return well(about, f"{said}, as it should be; the doctor of a console looks there")
    return broken(about, said, "let the role of DATABASE_URL own the tables: it is to be the one that migrates")


def _database_clock() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        yield from _clock("database", "PostgreSQL", float(cursor.fetchone()[0]))


def _postgresql_version() -> Iterator[Finding]:
    number = connection.cursor().connection.server_version
    version = f"{number // 10000}.{number % 10000}"
    if (number // 10000, 0) < OLDEST_POSTGRESQL:
        yield broken("database", f"PostgreSQL is {version}", f"at least {OLDEST_POSTGRESQL[0]} is needed")
    else:
        yield well("database", f"PostgreSQL {version} answers")


def _migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    missing = [
        f"{step.app_label}.{step.name}" for step, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())
    ]
    unknown = sorted(
        ".".join(key) for key in executor.loader.applied_migrations if key not in executor.loader.graph.nodes
    )
    replaced = {key for step in executor.loader.replacements.values() for key in step.replaces}
    unknown = [name for name in unknown if tuple(name.split(".", 1)) not in replaced]
    if missing:
        yield broken("database", f"migrations are missing: {', '.join(missing)}", "run `manage.py migrate`")
    elif unknown:
        said = f"the database knows migrations that this version does not have: {', '.join(unknown)}"
        yield warning(
            "database", said, "a newer version ran here: finish the upgrade on every machine, or go back with it"
        )
    else:
        yield well("database", "every migration is in")


def _durability() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(DURABLE)])
        weak = [(name, value) for name, value in cursor.fetchall() if value == "off"]
    for name, value in weak:
        loss = "tables swell" if name == "autovacuum" else "after a crash answers that were acknowledged can be gone"
        yield broken("database", f"PostgreSQL has {name} = {value}: {loss}", f"set {name} = {DURABLE[name]}")
    if not weak:
        yield well("database", f"what is committed is on the disk ({', '.join(DURABLE)} are on)")


def _connections() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), current_setting('max_connections')::int FROM pg_stat_activity")
        used, most = cursor.fetchone()
    if used > CROWDED * most:
        yield warning(
            "database", f"{used} of {most} connections are in use", "raise max_connections, or see docs/capacity.md"
        )
    else:
        yield well("database", f"{used} of {most} connections are in use")


def _transactions() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(age(datfrozenxid)) FROM pg_database WHERE datallowconn")
        age = cursor.fetchone()[0]
    if age > OLD_TRANSACTIONS:
        advice = "let autovacuum work, or run VACUUM FREEZE: at two billion PostgreSQL stops writing"
        yield warning("database", f"the oldest transaction is {age} transactions old", advice)


def redis() -> Iterator[Finding]:
    """Look at Redis, as this process reaches it."""
    client = keyspace.connect(settings.REDIS_URL)
    try:
        told = client.info()
        yield from _clock("redis", "Redis", keyspace.now_ms(client) / 1000)
        yield from _redis_version(told)
        yield from _persistence(client, told)
        yield from _memory(told)
        if told.get("role") != "master":
            yield broken(
                "redis", "Redis is a replica: it takes no writes", "point REDIS_URL at the primary, or promote this one"
            )
    except (RedisError, OSError) as error:
        yield broken("redis", f"Redis does not answer: {words_of(error)}", "see REDIS_URL, and whether the server runs")
    finally:
        client.close()


def _redis_version(told: dict[str, Any]) -> Iterator[Finding]:
    version = str(told.get("redis_version", "0"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < OLDEST_REDIS:
        yield broken("redis", f"Redis is {version}", f"at least {'.'.join(map(str, OLDEST_REDIS))} is needed")
    else:
        replicas = int(told.get("connected_slaves", 0))
        follow = f"{counted(replicas, 'replica')} {plural(replicas, 'follows', 'follow')} it"
        yield well("redis", f"Redis {version} answers, {follow}")


def _persistence(client: Any, told: dict[str, Any]) -> Iterator[Finding]:
    weak = weak_settings(client)
    for sentence in weak:
        yield warning("redis", sentence, "set it in redis.conf, and start Redis again")
    if not weak:
        yield well("redis", "an acknowledged answer is on the disk, and none is thrown away")
    for name in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"):
        if told.get(name, "ok") != "ok":
            said = f"Redis says {name} {told[name]}"
            yield broken("redis", said, "see its log: its disk is full, or may not be written")


def _memory(told: dict[str, Any]) -> Iterator[Finding]:
    used, most = told.get("used_memory", 0), told.get("maxmemory", 0) or told.get("total_system_memory", 0)
    said = f"Redis uses {used / 2**20:.0f} of {most / 2**20:.0f} MiB"
    if most and used > CROWDED * most:
        yield warning("redis", said, "give it more memory, and see why answers wait: docs/operations.md, AnswersWait")
    else:
        yield well("redis", said)
    if most and most < settings.STREAM_MAX_BYTES * 2:
        limit = settings.STREAM_MAX_BYTES / 2**20
        said = f"answers that wait may take twice STREAM_MAX_BYTES ({limit:.0f} MiB), more than Redis has"
        yield warning("redis", said, "lower STREAM_MAX_BYTES, or give Redis more memory")


def _clock(about: str, name: str, theirs: float) -> Iterator[Finding]:
    apart = abs(time.time() - theirs)
    if apart > MOST_APART:
        yield warning(
            about, f"the clock of {name} is {apart:.1f} seconds off this machine's", "let all machines follow one NTP"
        )
