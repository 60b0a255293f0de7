"""The one clock, Redis' own: what is late, over or silent is told by it alone."""

from datetime import UTC, datetime, timedelta

from django.conf import settings

from agents.board import keyspace, redis_client


def moment(milliseconds: float | str | bytes) -> datetime:
    """Turn Redis' milliseconds into a datetime."""
    return datetime.fromtimestamp(float(milliseconds) / 1000, UTC)


def in_ms(when: datetime) -> int:
    """Turn a datetime into milliseconds."""
    return round(when.timestamp() * 1000)


def now() -> datetime:
    """Give Redis' time."""
    return moment(keyspace.now_ms(redis_client.client()))


def late_time() -> timedelta:
    """Give how long after a campaign's end answers are still taken."""
    return timedelta(seconds=settings.LATE_ANSWER_SECONDS)
