"""The hours of a week in which something holds: days, times of day and the time zone of their clock."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from reprlib import repr as shown
from typing import Any
from zoneinfo import ZoneInfo

from fleet.errors import BadInputError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MEMBERS = ("days", "from", "to", "zone")
MOST_WINDOWS = 50
LINE = re.compile(r"(?:(?P<days>.*?)\s+)?(?P<from>\S+)\s+to\s+(?P<to>\S+)(?:\s+(?P<zone>\S+))?", re.A)
EVERY_DAY = "every day"
TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
MIDNIGHT = 24 * 60  # minutes; as the end of a day


@dataclass(frozen=True)
class Window:
    """Some hours of some days, in minutes since midnight. One that ends before it begins ends on the next day."""

    days: tuple[str, ...]
    begin: int
    end: int
    zone: str

    def holds(self, moment: datetime) -> bool:
        """Say whether the moment lies in it."""
        local = moment.astimezone(ZoneInfo(self.zone))
        minute, today = local.hour * 60 + local.minute, DAYS[local.weekday()]
        if self.begin < self.end:
            return today in self.days and self.begin <= minute < self.end
        yesterday = DAYS[(local - timedelta(days=1)).weekday()]
        return (today in self.days and minute >= self.begin) or (yesterday in self.days and minute < self.end)

    def __str__(self) -> str:
        days = EVERY_DAY if len(self.days) == len(DAYS) else ", ".join(self.days)
        return f"{days} {_clock(self.begin)} to {_clock(self.end)} {self.zone}"


def read(value: Any) -> list[Window]:
    """Read windows as a rule keeps them. Raise BadInputError naming what is wrong."""
    if not isinstance(value, list):
        raise BadInputError(f"hours {shown(value)} is not a list of windows", "hours")
    if len(value) > MOST_WINDOWS:
        raise BadInputError(f"hours has {len(value)} windows, allowed are {MOST_WINDOWS}", "hours")
    return [_window(one) for one in value]


def from_lines(text: str) -> list[dict[str, Any]]:
    """Read windows as people write them, one a line, as `str` of a window gives them. Raise BadInputError."""
    found = [_from_line(line.strip()) for line in text.splitlines() if line.strip()]
    read(found)
    return found


def as_lines(value: Any) -> str:
    """Write windows as people read and write them."""
    return "\n".join(str(window) for window in read(value))


def _from_line(line: str) -> dict[str, Any]:
    parts = LINE.fullmatch(line)
    if parts is None:
        raise BadInputError(
            f"{shown(line)} is not a window: write it as fri, sat 20:00 to 06:00 Europe/Berlin", "hours"
        )
    days = (parts["days"] or EVERY_DAY).casefold()
    named = list(DAYS) if days == EVERY_DAY else [day for day in re.split(r"[\s,]+", days) if day]
    return {"days": named, "from": parts["from"], "to": parts["to"], "zone": parts["zone"] or "UTC"}


def _window(value: Any) -> Window:
    if not isinstance(value, dict):
        example = '{"days": ["sat", "sun"], "from": "00:00", "to": "24:00", "zone": "Europe/Berlin"}'
        raise BadInputError(f"hours has {shown(value)}, which is not a window like {example}", "hours")
    for name in value:
        if name not in MEMBERS:
            allowed = ", ".join(MEMBERS)
            raise BadInputError(f"hours has an unknown member {name!r}, allowed are {allowed}", "hours")
    for name in ("from", "to"):
        if name not in value:
            raise BadInputError(f'hours has a window without {name!r}: give a time like "18:00"', "hours")
    begin, end = _minute(value["from"], "from"), _minute(value["to"], "to")
    if begin == end:
        raise BadInputError(
            f"hours has a window from {value['from']} to {value['to']}, which is no time: a day is 00:00 to 24:00",
            "hours",
        )
    return Window(_days(value.get("days", list(DAYS))), begin, end, _zone(value.get("zone", "UTC")))


def _days(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise BadInputError(f"hours has days {shown(value)}, allowed are some of {', '.join(DAYS)}", "hours")
    for day in value:
        if day not in DAYS:
            raise BadInputError(f"hours has the day {shown(day)}, allowed are {', '.join(DAYS)}", "hours")
    return tuple(day for day in DAYS if day in value)


def _minute(value: Any, name: str) -> int:
    if value == "24:00" and name == "to":
        return MIDNIGHT
    found = TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise BadInputError(f"hours has {name} {shown(value)}, allowed are times of day like '18:00'", "hours")
    return int(found[1]) * 60 + int(found[2])


def _zone(value: Any) -> str:
    try:
        return ZoneInfo(value).key
    except (ValueError, OSError, TypeError, AttributeError, KeyError):  # how zoneinfo refuses depends on the value
        raise BadInputError(
            f"hours has the zone {shown(value)}, allowed are names like UTC or Europe/Berlin", "hours"
        ) from None


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
