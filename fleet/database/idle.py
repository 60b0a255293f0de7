"""The connections to PostgreSQL that a process holds between requests and tasks."""

import os
import select
import time
from threading import Lock
from typing import Any, NamedTuple

from psycopg2.extensions import TRANSACTION_STATUS_IDLE

MOST = 8  # of a process; as many as ask may be open at once
IDLE_SECONDS = 30.0  # below what firewalls forget after
LIFE_SECONDS = 600.0  # so that nothing a session gathers stays for good


class Held(NamedTuple):
    """A connection of psycopg2, and where it leads: host, port, database, as whom."""

    connection: Any
    leads_to: tuple[str, ...]
    made_at: float  # by the monotonic clock, as all here

    def may_stay(self) -> bool:
        """Say whether it is as good as new: neither broken nor old nor in a transaction."""
        if self.connection.closed or time.monotonic() > self.made_at + LIFE_SECONDS:
            return False
        return bool(self.connection.get_transaction_status() == TRANSACTION_STATUS_IDLE)

    def is_left_alone(self) -> bool:
        """Say whether the server sent nothing: to idle ones it sends its farewell alone."""
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return not poll.poll(0)


_idle: list[tuple[Held, float]] = []  # since when; the newest last
_lock = Lock()


def take(leads_to: tuple[str, ...]) -> Held | None:
    """Give the one used last, which is the likeliest to live, if one leads there."""
    with _lock:
        long_ago = time.monotonic() - IDLE_SECONDS
        old = [held for held, since in _idle if since <= long_ago]
        fresh = [(held, since) for held, since in _idle if since > long_ago]
        found = next((held for held, _ in reversed(fresh) if held.leads_to == leads_to), None)
        _idle[:] = [(held, since) for held, since in fresh if held is not found]
    for held in old:
        held.connection.close()
    if found is None or (found.may_stay() and found.is_left_alone()):
        return found
    found.connection.close()
    return take(leads_to)


def keep(held: Held) -> None:
    """Keep it for the next, or close it."""
    if held.may_stay():
        with _lock:
            if len(_idle) < MOST:
                _idle.append((held, time.monotonic()))
                return
    held.connection.close()


def close_all() -> None:
    """Close all that nobody uses."""
    with _lock:
        every, _idle[:] = _idle[:], []
    for held, _ in every:
        held.connection.close()


def _forget() -> None:
    """Leave the parent's connections to it: psycopg2 closes none that another process made."""
    global _lock
    _lock = Lock()
    _idle.clear()


os.register_at_fork(after_in_child=_forget)
