"""This process's client of Redis, and the scripts called through it, for all but gateways (they have `Store`)."""

from functools import cache
from typing import TYPE_CHECKING, Any

from django.conf import settings

from agents.board import keyspace

if TYPE_CHECKING:
    from redis.commands.core import Script


@cache
def client() -> Any:
    """Give this process's client."""
    return keyspace.connect(settings.REDIS_URL)


def script(name: str) -> "Script":
    """Give a script of `lua/`, to be called with keys and args."""
    return _registered(client(), name)


@cache
def _registered(client: Any, name: str) -> "Script":
    registered: Script = client.register_script(keyspace.script(name))
    return registered


def call(name: str, keys: list[str], args: list[Any]) -> list[bytes]:
    """Call a script that looks at the epoch first. Raise NoBoardError."""
    answer: list[bytes] = script(name)(keys=keys, args=args)
    if answer == [keyspace.NO_BOARD]:
        raise keyspace.NoBoardError
    return answer


def bell() -> str:
    """Name the channel that gateways listen on."""
    return keyspace.bell_channel(settings.REDIS_URL)
