"""The curve of hosts online over the last day, as areas in a box that a page draws: one platform upon the other, at the
right is now.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate, pairwise

from agents.inventory.online_curve import PERIOD, SHOWN
from agents.models import Platform

WIDTH, HEIGHT = 960, 100
GAP = 2.5 * PERIOD  # longer without a count: nobody counted, and no line pretends that somebody did
DOT = 2.0  # a count alone is drawn so wide

Counts = dict[str, int]  # platform -> hosts


@dataclass(frozen=True)
class Layer:
    """A platform: its area reaches from the ground to the top of all below it, so the next one is drawn over it."""

    platform: str
    name: str
    areas: list[str]


@dataclass(frozen=True)
class Curve:
    """What is drawn, the highest layer first, and what is said of it."""

    layers: list[Layer]
    least: int
    most: int
    since: datetime


def draw(counted: dict[datetime, Counts], now: datetime) -> Curve | None:
    """Draw counts; None where there are none."""
    if not counted:
        return None
    totals = [sum(counts.values()) for counts in counted.values()]
    stretches, most = _stretches(sorted(counted)), max(totals)
    shown = [name for name in Platform.values if any(counts.get(name) for counts in counted.values())]
    heights = {at: list(accumulate(counts.get(name, 0) for name in shown)) for at, counts in counted.items()}

    def areas(layer: int) -> list[str]:
        return [_area([(_x(at, now), _y(heights[at][layer], most)) for at in stretch]) for stretch in stretches]

    layers = [Layer(name, str(Platform(name).label), areas(layer)) for layer, name in enumerate(shown)]
    return Curve(layers[::-1], min(totals), most, min(counted))


def _stretches(moments: list[datetime]) -> list[list[datetime]]:
    found = [[moments[0]]]
    for before, at in pairwise(moments):
        if at - before > GAP:
            found.append([])
        found[-1].append(at)
    return found


def _x(at: datetime, now: datetime) -> float:
    return WIDTH * (1 - max(now - at, timedelta()) / SHOWN)


def _y(hosts: int, most: int) -> float:
    return HEIGHT * (1 - hosts / max(most, 1))


def _area(top: list[tuple[float, float]]) -> str:
    if len(top) == 1:
        x, y = top[0]
        top = [(max(x - DOT, 0.0), y), (x, y)]
    corners = [(top[0][0], HEIGHT), *top, (top[-1][0], HEIGHT)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
