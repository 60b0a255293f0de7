"""The audit's newest line, remembered outside of PostgreSQL: who cuts off the end there does not reach it here.

It lies in Redis, and a worker moves it on each second, as long as the audit still has the line that was remembered.
When it has not, nothing is moved until somebody says that the end is as it should be (`accept`). When Redis was lost
there is less to compare with, and no alarm.
"""

import logging
from datetime import UTC, datetime
from typing import NamedTuple

from agents.board import keyspace, redis_client
from fleet.audit import chain, note
from fleet.audit.chain import Place

logger = logging.getLogger(__name__)

MISSED = keyspace.AUDIT_END_MISSED


class End(NamedTuple):
    """The newest line as it was remembered, when, in UTC, and on which day it was logged last."""

    place: Place
    at: str
    logged: str

    def sentence(self, last: int) -> str:
        """Say that the audit, which ends with line `last`, does not have it, and what that can mean."""
        number = self.place.number
        if last < number:
            found = f"the audit ends with line {last}, and Redis remembers line {number} of {self.at} UTC"
        else:
            found = f"line {number} is another one than Redis remembers of {self.at} UTC"
        return (
            f"{found}: an older backup was restored, or a standby took over without the newest lines, or somebody cut"
            " the end off. If you know that it was one of the first two, say so once with verify_audit --accept-end;"
            " else compare with what was forwarded and logged"
        )


def remembered() -> End | None:
    """Give the newest line that was remembered, None = none is. Raise RedisError, OSError."""
    kept: dict[bytes, bytes] = redis_client.client().hgetall(keyspace.AUDIT_END)
    place, at, logged = (kept.get(name, b"").decode() for name in (b"place", b"at", b"logged"))
    return End(Place.read(place), at, logged) if place else None


def remember() -> None:
    """Move on to the newest line, and log it once a day. Safe to run twice."""
    end, newest, now = remembered(), chain.head(), datetime.now(UTC)
    if end is not None and not chain.has(end.place):
        if redis_client.client().hset(keyspace.AUDIT_END, MISSED, newest.number):  # the first time only
            logger.error("audit end missing: %s", end.sentence(newest.number))
    elif newest.number and (end is None or (end.place, end.logged) != (newest, f"{now:%Y-%m-%d}")):
        _write(newest, now, end.logged if end is not None else "")


def _write(newest: Place, now: datetime, logged: str) -> None:
    day = f"{now:%Y-%m-%d}"
    if logged != day:
        logger.info("audit end place=%s", newest)
    kept = {"place": str(newest), "at": f"{now:%Y-%m-%d %H:%M:%S}", "logged": day}
    redis_client.client().pipeline().hset(keyspace.AUDIT_END, mapping=kept).hdel(keyspace.AUDIT_END, MISSED).execute()


def accept(end: End) -> None:
    """Go by the audit as it is from now on, and let a line of it say which one it lacks."""
    note("audit.end_accepted", lacks=str(end.place), ended_with=str(chain.head()))
    redis_client.client().delete(keyspace.AUDIT_END)
    remember()
