"""When a schedule runs: every so many minutes, or by a crontab in a time zone."""

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from fleet.counting import counted
from fleet.errors import BadInputError

SHORTEST, LONGEST = 1, 366 * 24 * 60  # minutes


def check(every: int | None, crontab: str, zone: str) -> None:
    """Raise BadInputError for times that are none, or are said twice."""
    if (every is None) == (not crontab):
        raise BadInputError("give either every, a number of minutes, or crontab, as '0 8 * * 1-5'", "every")
    if zone not in available_timezones():
        raise BadInputError(f"zone {zone[:100]!r} is unknown: give one as Europe/Berlin, or UTC", "zone")
    if every is not None and not SHORTEST <= every <= LONGEST:
        raise BadInputError(f"every {every} is not a number of minutes from {SHORTEST} to {LONGEST:,}", "every")
    if crontab:
        next_by_crontab(crontab, zone, datetime.now(UTC))


def next_by_crontab(crontab: str, zone: str, after: datetime) -> datetime:
    """Give the next moment that a crontab means, by the clock of its zone. Raise BadInputError."""
    if len(crontab.split()) != 5:
        raise BadInputError(
            f"crontab {crontab[:100]!r} has {counted(len(crontab.split()), 'field')}, expected are 5: minute, hour,"
            " day of the month, month, day of the week",
            "crontab",
        )
    try:
        return next(CronSim(crontab, after.astimezone(ZoneInfo(zone)))).astimezone(UTC)
    except (CronSimError, StopIteration, ValueError) as error:
        raise BadInputError(f"crontab {crontab[:100]!r} is none, or never comes: {error}", "crontab") from error


def next_by_minutes(every: int, since: datetime, after: datetime) -> datetime:
    """Give the next multiple of so many minutes since the beginning: what was missed is not made up for."""
    period = timedelta(minutes=every)
    return since + ((after - since) // period + 1) * period


def by_the_clock(at: time, days: Iterable[int] = ()) -> str:
    """Write as a crontab what comes at a time on days of the week, Monday being 1 and Sunday 7; none are every day."""
    return f"{at.minute} {at.hour} * * {','.join(map(str, sorted(days))) or '*'}"


def read_clock(crontab: str) -> tuple[time, list[int]] | None:
    """Give the time and the days of such a crontab; None when it says more than that."""
    parts = crontab.split()
    if len(parts) != 5 or parts[2:4] != ["*", "*"]:
        return None
    read = CronSim(crontab, datetime.now(UTC))
    if len(read.minutes) != 1 or len(read.hours) != 1:
        return None
    days = sorted({day or 7 for day in read.weekdays if isinstance(day, int)})
    if any(not isinstance(day, int) for day in read.weekdays):  # as the first Monday of a month
        return None
    return time(min(read.hours), min(read.minutes)), [] if len(days) == 7 else days


def in_words(every: int | None, crontab: str, zone: str) -> str:
    """Say in words when a schedule of these times runs."""
    if every is None:
        return f"{CronSim(crontab, datetime.now(UTC)).explain()}, {zone}"
    for unit, minutes in (("day", 1_440), ("hour", 60), ("minute", 1)):
        if every % minutes == 0:
            many = every // minutes
            return f"every {unit}" if many == 1 else f"every {many} {unit}s"
    raise AssertionError(every)
