"""Whether this server can do its work, and what is in the way: PostgreSQL, Redis, and each kind of process."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import DatabaseError, connection
from redis.exceptions import RedisError, ResponseError

from agents.board import keyspace
from agents.board.gateway_verbs import SWEEP_SILENT_MS
from agents.board.heartbeats import GATEWAY_SILENT_MS
from fleet.audit import forwarding
from fleet.counting import counted
from fleet.errors import words_of

# What Redis must be told, so that an acknowledged answer is on the disk and none is thrown away.
STRONG = {"appendfsync": "always", "appendonly": "yes", "maxmemory-policy": "noeviction"}

WORKER_SILENT_MS = 15_000  # a worker tells that it is alive every two seconds
ANSWERS_WAIT_MS = 15_000  # for a collector that mostly stores an answer within a second


class Health(NamedTuple):
    """Sentences for people: `troubles` keep the server from its work, `warnings` do not."""

    troubles: list[str]
    warnings: list[str]


def health() -> Health:
    """Look at PostgreSQL, Redis, and at what each kind of process last told there."""
    client = keyspace.connect(settings.REDIS_URL)
    try:
        board, warnings = _board(client)
    except (RedisError, OSError) as error:
        board, warnings = [f"Redis does not answer: {words_of(error)}"], []
    finally:
        client.close()
    return Health([*_postgres(), *board], [*warnings, *forwarding.troubles()])


def _postgres() -> list[str]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return [f"PostgreSQL does not answer: {words_of(error)}"]
    return []


def _board(client: Any) -> tuple[list[str], list[str]]:
    now = keyspace.now_ms(client)
    troubles = [*_processes(client, now), *_stream(client, now)]
    if not client.exists(keyspace.EPOCH):
        troubles.append("the board is not whole: the sweeper rebuilds it, is it running?")
    return troubles, [*weak_settings(client), *remarks(client)]


def remarks(client: Any) -> Iterator[str]:
    """Say what gateways and the sweeper noticed of keys and of the audit: what it is, a colon, and what to do."""
    yield from _old_secrets(client)
    yield from _strangers(client)
    yield from _audit_end(client)


def _processes(client: Any, now: int) -> Iterator[str]:
    """Name the kinds of processes that were silent too long; each tells Redis that it is alive."""
    swept, worked = (int(at or 0) for at in client.mget(keyspace.SWEPT, keyspace.WORKED))
    if now - swept > SWEEP_SILENT_MS:
        yield f"nothing was swept {_since(now, swept)}: are the sweeper and beat running?"
    if now - worked > WORKER_SILENT_MS:
        yield f"no worker worked {_since(now, worked)}: are the worker and beat running?"
    last_told = max(map(int, client.hvals(keyspace.GATEWAYS)), default=0)
    if now - last_told > GATEWAY_SILENT_MS:
        yield f"no gateway told of itself {_since(now, last_told)}: is one running?"


def _since(now: int, then: int) -> str:
    return f"for {counted((now - then) // 1000, 'second')}" if then else "yet"


def _stream(client: Any, now: int) -> Iterator[str]:
    oldest = client.xrange(keyspace.STREAM, count=1)
    waits = now - keyspace.entry_ms(oldest[0][0].decode()) if oldest else 0
    if waits > ANSWERS_WAIT_MS:
        yield f"answers have waited {counted(waits // 1000, 'second')} to be stored: is the collector running?"
    size = client.memory_usage(keyspace.STREAM, samples=100) or 0
    if size > settings.STREAM_MAX_BYTES:
        yield f"{counted(size, 'byte')} of answers wait to be stored, so no new work is handed out"


def _old_secrets(client: Any) -> Iterator[str]:
    """Say how often node keys of old secrets, and of the older form, were used, as long as these are kept."""
    if times := int(client.hget(keyspace.OLD_SECRETS, str(keyspace.OLD_FORM_FIELD)) or 0):
        yield f"{counted(times, 'request')} used node keys that name no installation: see docs/backup.md"
    for place, times in sorted(client.hgetall(keyspace.OLD_SECRETS).items()):
        if 0 < int(place) < len(settings.NODE_KEY_SECRETS):
            number = int(place) + 1
            used = counted(int(times), "check-in")
            yield f"{used} used secret {number} of NODE_KEY_SECRETS: it must stay while this grows"


def _strangers(client: Any) -> Iterator[str]:
    """Say that keys are used whose hosts this database does not have."""
    if times := int(client.get(keyspace.STRANGERS) or 0):
        yield (
            f"{counted(times, 'request')} came lately with keys of hosts that the database does not have: was it lost"
            " or restored from an older backup? These hosts are told to enroll again (docs/backup.md)"
        )


def _audit_end(client: Any) -> Iterator[str]:
    if client.hexists(keyspace.AUDIT_END, keyspace.AUDIT_END_MISSED):
        yield "the audit lacks a line that it had: `manage.py verify_audit` says which (docs/audit.md)"


def weak_settings(client: Any) -> list[str]:
    """Say which settings of Redis could lose what was acknowledged."""
    found: dict[str, str] = {}
    try:
        for name in STRONG:  # Redis 6 takes one name at a time
            found |= client.config_get(name)
    except ResponseError as error:  # as rented ones do
        return [f"Redis does not tell its settings ({error}): see to {_as_words(STRONG)}"]
    return [
        f"Redis has {name} {found[name]}: with {wanted} no acknowledged answer can be lost"
        for name, wanted in STRONG.items()
        if found.get(name, wanted) != wanted
    ]


def _as_words(values: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


@register(Tags.security, deploy=True)
def check_redis(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Let `manage.py check --deploy` say when Redis could lose what was acknowledged."""
    client = keyspace.connect(settings.REDIS_URL)
    try:
        return [Warning(sentence, id="fleet.W001") for sentence in weak_settings(client)]
    except (RedisError, OSError) as error:
        return [Warning(f"Redis does not answer: {error}", id="fleet.W002")]
    finally:
        client.close()
