"""Addresses of hosts by their names, within a time. It loads nothing else: a notification's process begins with it."""

import socket
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from fleet.counting import plural

LookUp = Callable[[str, int, float], list[str]]


def look_up(host: str, port: int, seconds: float) -> list[str]:
    """Give the addresses of a host. Raise OSError or UnicodeError when there is none, TimeoutError when it takes long.

    The system's look-up takes no time limit, so it has a thread of its own, which ends by itself.
    """
    found: SimpleQueue[list[Any] | Exception] = SimpleQueue()

    def look() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.put(error)

    Thread(target=look, name="look-up", daemon=True).start()
    try:
        places = found.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no answer within {seconds:.3g} {plural(seconds, 'second')}") from None
    if isinstance(places, Exception):
        raise places
    return list(dict.fromkeys(str(place[0]).partition("%")[0] for *_, place in places))
