"""The hours of a week: which moments they hold, how people write them, and what is no window."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from campaigns.launching import windows
from fleet.errors import BadInputError

FRIDAY = 2  # of January 2026


def window(begin: str, end: str, *days: str, zone: str = "UTC") -> windows.Window:
    return windows.read([{"days": list(days or windows.DAYS), "from": begin, "to": end, "zone": zone}])[0]


def at(clock: str, day: int = FRIDAY, zone: str = "UTC") -> datetime:
    hour, minute = map(int, clock.split(":"))
    return datetime(2026, 1, day, hour, minute, tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("clock", "day", "is_held"),
    [
        ("08:59", FRIDAY, False),
        ("09:00", FRIDAY, True),
        ("16:59", FRIDAY, True),
        ("17:00", FRIDAY, False),
        ("09:00", FRIDAY + 1, False),
    ],
)
def test_a_window_holds_from_its_first_minute_up_to_its_last(clock: str, day: int, is_held: bool) -> None:
    assert window("09:00", "17:00", "fri").holds(at(clock, day)) == is_held


@pytest.mark.parametrize(
    ("clock", "day", "is_held"),
    [
        ("19:59", FRIDAY, False),
        ("20:00", FRIDAY, True),
        ("05:59", FRIDAY + 1, True),
        ("06:00", FRIDAY + 1, False),
        ("05:59", FRIDAY, False),
        ("20:00", FRIDAY + 1, False),
    ],
)
def test_a_window_that_ends_before_it_begins_ends_on_the_next_day(clock: str, day: int, is_held: bool) -> None:
    assert window("20:00", "06:00", "fri").holds(at(clock, day)) == is_held


def test_a_day_ends_at_midnight_and_by_the_clock_of_the_window() -> None:
    whole = window("00:00", "24:00", "fri", zone="Asia/Tokyo")

    held = [whole.holds(at(clock, day)) for clock, day in (("14:59", 1), ("15:00", 1), ("14:59", 2), ("15:00", 2))]

    assert held == [False, True, True, False]


@pytest.mark.parametrize(
    ("begin", "end", "moments"),
    [
        # 29 March, 01:00 UTC: the clocks of Berlin go from 02:00 to 03:00; 25 October: from 03:00 back to 02:00.
        ("22:00", "03:00", {"2026-03-28T21:00Z": True, "2026-03-29T00:59Z": True, "2026-03-29T01:00Z": False}),
        ("02:00", "03:00", {"2026-03-29T00:59Z": False, "2026-03-29T01:00Z": False}),
        ("02:00", "03:00", {"2026-10-25T00:00Z": True, "2026-10-25T01:59Z": True, "2026-10-25T02:00Z": False}),
        ("22:00", "02:30", {"2026-10-25T00:29Z": True, "2026-10-25T01:29Z": True, "2026-10-25T01:30Z": False}),
    ],
)
def test_a_window_goes_by_the_clock_on_the_wall_on_the_days_on_which_it_is_set(
    begin: str, end: str, moments: dict[str, bool]
) -> None:
    berlin = window(begin, end, zone="Europe/Berlin")

    assert {moment: berlin.holds(datetime.fromisoformat(moment)) for moment in moments} == moments


def test_what_people_write_is_read_and_written_alike() -> None:
    text = "fri, sat 20:00 to 06:00 Europe/Berlin\n\n 18:30 to 24:00 \nEvery day 01:00 to 02:00 UTC\n"

    found = windows.from_lines(text)

    assert windows.as_lines(found).split("\n") == [
        "fri, sat 20:00 to 06:00 Europe/Berlin",
        "every day 18:30 to 24:00 UTC",
        "every day 01:00 to 02:00 UTC",
    ]
    assert windows.from_lines(windows.as_lines(found)) == found


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("18:00", "hours '18:00' is not a list of windows"),
        ([1], "hours has 1, which is not a window like"),
        ([{"from": "18:00"}], "hours has a window without 'to': give a time like"),
        ([{"to": "18:00"}], "hours has a window without 'from': give a time like"),
        ([{"from": "18:00", "to": "18:00"}], "hours has a window from 18:00 to 18:00, which is no time"),
        ([{"from": "24:00", "to": "06:00"}], "hours has from '24:00', allowed are times of day like '18:00'"),
        ([{"from": "8:00", "to": "09:00"}], "hours has from '8:00', allowed are times of day"),
        ([{"from": "08:00", "to": 9}], "hours has to 9, allowed are times of day"),
        ([{"from": "08:00", "to": "09:00", "days": []}], "hours has days [], allowed are some of mon, tue"),
        ([{"from": "08:00", "to": "09:00", "days": ["mo"]}], "hours has the day 'mo', allowed are mon, tue"),
        ([{"from": "08:00", "to": "09:00", "zone": "Mars"}], "hours has the zone 'Mars', allowed are names like UTC"),
        ([{"from": "08:00", "to": "09:00", "when": 1}], "hours has an unknown member 'when', allowed are days, from"),
        ([{"from": "08:00", "to": "09:00"}] * 51, "hours has 51 windows, allowed are 50"),
    ],
)
def test_what_is_no_window_is_named_with_what_is_allowed(value: Any, sentence: str) -> None:
    with pytest.raises(BadInputError) as refused:
        windows.read(value)

    assert refused.value.sentence.startswith(sentence)


@pytest.mark.parametrize("line", ["20:00 - 06:00", "fri", "fri 20:00 to 06:00 UTC now"])
def test_a_line_that_is_no_window_is_shown_how_to_be_written(line: str) -> None:
    with pytest.raises(BadInputError, match="is not a window: write it as fri, sat 20:00 to 06:00 Europe/Berlin"):
        windows.from_lines(line)
