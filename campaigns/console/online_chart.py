"""The curve of hosts online over the last day, as points in a box that a page draws: at the right is now."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from agents.inventory.online_curve import PERIOD, SHOWN

WIDTH, HEIGHT = 960, 100
GAP = 2.5 * PERIOD  # longer without a count: nobody counted, and no line pretends that somebody did
DOT = 2.0  # a count alone is drawn so wide

Counts = list[tuple[datetime, int]]


@dataclass(frozen=True)
class Curve:
    """What is drawn, and what is said of it."""

    lines: list[str]
    areas: list[str]
    least: int
    most: int
    since: datetime


def draw(counts: Counts, now: datetime) -> Curve | None:
    """Draw counts, oldest first; None where there are none."""
    if not counts:
        return None
    numbers = [hosts for _, hosts in counts]
    most = max(numbers)
    stretches = [[_place(each, now, most) for each in stretch] for stretch in _stretches(counts)]
    lines = [_points(stretch if len(stretch) > 1 else _dot(stretch[0])) for stretch in stretches]
    areas = [f"{stretch[0][0]:.1f},{HEIGHT} {_points(stretch)} {stretch[-1][0]:.1f},{HEIGHT}" for stretch in stretches]
    return Curve(lines, areas, min(numbers), most, counts[0][0])


def of_all(counted: dict[str, Counts]) -> Counts:
    """Add up the platforms."""
    total: dict[datetime, int] = {}
    for counts in counted.values():
        for at, hosts in counts:
            total[at] = total.get(at, 0) + hosts
    return sorted(total.items())


def _stretches(counts: Counts) -> list[Counts]:
    found = [[counts[0]]]
    for before, each in pairwise(counts):
        if each[0] - before[0] > GAP:
            found.append([])
        found[-1].append(each)
    return found


def _place(each: tuple[datetime, int], now: datetime, most: int) -> tuple[float, float]:
    at, hosts = each
    age = max(now - at, timedelta()) / SHOWN
    return WIDTH * (1 - age), HEIGHT - (HEIGHT - 2) * hosts / max(most, 1)


def _dot(place: tuple[float, float]) -> list[tuple[float, float]]:
    x, y = place
    return [(max(x - DOT, 0.0), y), (x, y)]


def _points(places: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
