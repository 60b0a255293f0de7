"""Tell monitors and people whether this server can do its work, and what is in the way."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from redis.exceptions import RedisError

from fleet import keyspace

# What Redis must be told, so that an acknowledged answer is on the disk and none is thrown away.
STRONG = {"appendfsync": "always", "appendonly": "yes", "maxmemory-policy": "noeviction"}


def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when everything is in order, else 503; `troubles` are sentences, `warnings` do not count."""
    troubles, warnings = _troubles()
    body = {"ready": not troubles, "troubles": troubles, "warnings": warnings}
    return JsonResponse(body, status=503 if troubles else 200)


def _troubles() -> tuple[list[str], list[str]]:
    client = keyspace.connect(settings.REDIS_URL)
    warnings: list[str] = []
    checks: list[Callable[[], str | None]] = [_postgres, lambda: _board(client, warnings)]
    try:
        return [trouble for check in checks if (trouble := check())], warnings
    finally:
        client.close()


def _postgres() -> str | None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return f"PostgreSQL does not answer: {str(error).strip()}"
    return None


def _board(client: Any, warnings: list[str]) -> str | None:
    try:
        warnings += _weak_settings(client)
        size = client.memory_usage(keyspace.STREAM, samples=100) or 0
        if not client.exists(keyspace.EPOCH):
            return "the board is not whole: the sweeper rebuilds it, is it running?"
    except (RedisError, OSError) as error:
        return f"Redis does not answer: {error}"
    if size > settings.STREAM_MAX_BYTES:
        return f"{size} bytes of answers wait to be stored: is the collector running?"
    return None


def _weak_settings(client: Any) -> list[str]:
    found: dict[str, str] = {}
    for name in STRONG:  # Redis 6 takes one name at a time
        found |= client.config_get(name)
    return [
        f"Redis has {name} {found[name]}: with {wanted} no acknowledged answer can be lost"
        for name, wanted in STRONG.items()
        if found.get(name, wanted) != wanted
    ]
