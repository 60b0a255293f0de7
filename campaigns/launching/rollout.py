"""How far a campaign is ordered to go: the canary, the pace, the brakes, and widening it."""

from dataclasses import dataclass
from reprlib import repr as shown
from typing import Any

from django.db import connection

from agents.board.operator_verbs import RELEASED_ALL
from agents.models import HostQuerySet
from campaigns.models import Campaign
from fleet.errors import BadInputError

ASKS = "rollout"  # who paused a campaign that waits for the operator
NOBODY_ANSWERED = (
    "none of the hosts that were asked first has answered yet: more are asked when one has, or when somebody widens it"
)
LARGEST = 10**12  # that a brake may be set to, so that it fits every column and float
LIMITS = {"failed_percent": 100, "silent_percent": 100, "median_wall_ms": LARGEST, "rows": LARGEST}
BRAKES = ("denylisted", *LIMITS)
BEGUN = ("release_step", "release_goal", "released_count", "released")
# The selected hosts' query is the ORM's own and stands in for {}.
NTH_OF_HOSTS = "SELECT hashint8(id) FROM ({}) AS meant (id) ORDER BY 1 LIMIT 1 OFFSET %s"


@dataclass(frozen=True)
class Rollout:
    """What was ordered, checked. Percentages are 0 to 100, `per_second` is hosts."""

    canary_percent: float | None
    canary_count: int | None
    then: str
    per_second: int | None
    stop_if: dict[str, float]

    @classmethod
    def read(cls, value: Any) -> "Rollout | None":
        """Read `rollout` of a launch; None stays None. Raise BadInputError naming what is wrong."""
        if value is None:
            return None
        _members(value, "rollout", ("canary", "then", "per_second", "stop_if"))
        canary = value.get("canary", {})
        if "canary" in value:
            _members(canary, "rollout.canary", ("percent", "count"))
            if len(canary) != 1:
                raise BadInputError(f"rollout.canary {canary!r} is not one of percent or count", "rollout")
        percent = _number(canary, "percent", "rollout.canary", 100, zero=False)
        count = _whole(canary, "count", "rollout.canary")
        then = value.get("then", "ask")
        if then not in ("ask", "auto"):
            raise BadInputError(f"rollout.then {then!r} is neither 'ask' nor 'auto'", "rollout")
        return cls(percent, count, then, _whole(value, "per_second", "rollout"), _stop_if(value))

    @property
    def has_canary(self) -> bool:
        """Say whether some hosts go first."""
        return self.canary_count is not None or self.canary_percent is not None

    def canary_of(self, able: int) -> int:
        """Give how many of the hosts that can run it go first: all of them without a canary, at least one with."""
        if self.canary_count is not None:
            return min(able, self.canary_count)
        if self.canary_percent is not None:
            return max(1, min(able, round(able * self.canary_percent / 100)))
        return able


def _stop_if(value: dict[str, Any]) -> dict[str, float]:
    limits = value.get("stop_if", {})
    _members(limits, "rollout.stop_if", BRAKES)
    read = {name: _number(limits, name, "rollout.stop_if", maximum) for name, maximum in LIMITS.items()}
    read["denylisted"] = _whole(limits, "denylisted", "rollout.stop_if")
    return {name: limit for name in limits if (limit := read[name]) is not None}


def wanted_hosts(value: Any, able: int) -> int:
    """Read the body of `widen`: how many hosts are to be released in all, of those able. Raise BadInputError.

    RELEASED_ALL is more than those: whoever joins later as well.
    """
    _members(value, "the body", ("percent", "count", "all"), "")
    if len(value) != 1:
        raise BadInputError(f"give one of percent, count or all, not {sorted(value)}", "percent")
    if "all" in value:
        if value["all"] is not True:
            raise BadInputError(f"all {value['all']!r} is not true", "all")
        return RELEASED_ALL
    percent = _number(value, "percent", "the body", 100, "percent", zero=False)
    if percent is not None:
        return RELEASED_ALL if percent == 100 else max(1, round(able * percent / 100))
    return min(able, _whole(value, "count", "the body", "count") or 0)


def begin(campaign: Campaign, able: HostQuerySet) -> None:
    """Fix who goes first, in the fields named BEGUN, of the hosts that can run its SQL. The caller saves them."""
    rollout = Rollout.read(campaign.rollout)
    if rollout is None:
        return
    hosts = able.count()
    campaign.release_step = rollout.canary_of(hosts)
    campaign.release_goal = campaign.release_step if rollout.has_canary else RELEASED_ALL
    campaign.released_count = min(campaign.release_step, rollout.per_second or hosts)
    if campaign.released_count < hosts or (campaign.include_late_joiners and rollout.has_canary):
        text, params = able.sql_of("pk")
        campaign.released = nth(NTH_OF_HOSTS.format(text), [*params, campaign.released_count - 1])


def raise_goal(campaign: Campaign, hosts: int, step: int) -> None:
    """Let `hosts` hosts in all be released as fast as was ordered. The caller holds the lock."""
    campaign.release_step, campaign.release_goal = step, hosts
    campaign.warnings = [warning for warning in campaign.warnings if warning != NOBODY_ANSWERED]
    campaign.save(update_fields=["release_step", "release_goal", "warnings"])


def nth(text: str, params: list[Any]) -> int:
    """Give the hash that this SQL finds, RELEASED_ALL when it finds none."""
    with connection.cursor() as cursor:
        cursor.execute(text, params)
        row = cursor.fetchone()
        return int(row[0]) if row else RELEASED_ALL


def _members(value: Any, what: str, allowed: tuple[str, ...], field: str = "rollout") -> None:
    if not isinstance(value, dict):
        raise BadInputError(f"{what} {shown(value)} is not an object", field)
    for name in value:
        if name not in allowed:
            sentence = f"{what} has an unknown member {name!r}, allowed are {', '.join(allowed)}"
            raise BadInputError(sentence, field or name)


def _number(
    value: dict[str, Any], name: str, what: str, maximum: int, field: str = "rollout", *, zero: bool = True
) -> float | None:
    """Read a number; None = not given. A null is refused: it would mean everybody to one and nobody to the other."""
    if name not in value:
        return None
    number = value[name]
    known = isinstance(number, (int, float)) and not isinstance(number, bool)
    if not known or not 0 <= number <= maximum or not (number or zero):
        bound = f"0 to {maximum}" if zero else f"a number above 0, up to {maximum}"
        raise BadInputError(f"{what} has {name} {shown(number)}, allowed is {bound}", field)
    return float(number)


def _whole(value: dict[str, Any], name: str, what: str, field: str = "rollout") -> int | None:
    if name not in value:
        return None
    number = value[name]
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < 2**31:
        raise BadInputError(f"{what} has {name} {shown(number)}, allowed is a whole number above 0", field)
    return number
