"""What a campaign's SQL cost its hosts, as they told: percentiles, how it is spread, and the dearest hosts.

PostgreSQL counts; the targets are those that a person may see. A host that told nothing is left out.
"""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.db.models import (
    Aggregate,
    BigIntegerField,
    Count,
    F,
    FloatField,
    Func,
    IntegerField,
    Max,
    Min,
    Value,
)

from campaigns.answers.target_list import seen_by
from campaigns.models import Campaign, Target

# What hosts tell of a query, and the expression for it.
MEASURES: dict[str, Any] = {
    "wall": F("wall_ms"),
    "user": F("user_ms"),
    "system": F("system_ms"),
    "memory": F("memory_bytes"),
}
FRACTIONS = (0.5, 0.9, 0.99)
STEPS = 24  # of the distribution
DEAREST = 10


class Percentiles(Aggregate):
    """Give the values below which these parts of the others lie, between neighbours as they lie between them."""

    function = "percentile_cont"
    template = "%(function)s(ARRAY[%(fractions)s]) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = ArrayField(FloatField())

    def __init__(self, expression: Any, fractions: tuple[float, ...]) -> None:
        super().__init__(expression, fractions=", ".join(map(repr, fractions)))


@dataclass(frozen=True)
class Cost:
    """One measure: how many hosts told it, its percentiles by FRACTIONS, its largest."""

    name: str
    hosts: int
    p50: float
    p90: float
    p99: float
    most: int


@dataclass(frozen=True)
class Step:
    """A part of the distribution: the hosts whose cost is from `least` up to below `most`, the last with it."""

    least: float
    most: float
    hosts: int


def costs(campaign: Campaign, by: User) -> list[Cost]:
    """Give the measures that at least one host told."""
    figures: dict[str, Any] = {}
    for name, value in MEASURES.items():
        figures |= {
            f"{name}_hosts": Count(value),
            f"{name}_most": Max(value),
            f"{name}_at": Percentiles(value, FRACTIONS),
        }
    found = seen_by(campaign, by).aggregate(**figures)
    measured = []
    for name in (name for name in MEASURES if found[f"{name}_hosts"]):
        p50, p90, p99 = found[f"{name}_at"]
        measured.append(Cost(name, found[f"{name}_hosts"], p50, p90, p99, found[f"{name}_most"]))
    return measured


def spread(campaign: Campaign, by: User, measure: str) -> list[Step]:
    """Count the hosts in equal steps from the least to the most; one step when all cost the same, [] when none told."""
    targets = _told(campaign, by, measure)
    least, most = targets.aggregate(least=Min("cost"), most=Max("cost")).values()
    if least is None:
        return []
    if least == most:
        return [Step(least, most, targets.count())]
    bounds = (Value(least, BigIntegerField()), Value(most, BigIntegerField()), Value(STEPS))
    step = Func(F("cost"), *bounds, function="width_bucket", output_field=IntegerField())
    counted = dict(targets.annotate(step=step).order_by().values_list("step").annotate(Count("pk")))
    counted[STEPS] = counted.get(STEPS, 0) + counted.get(STEPS + 1, 0)  # the most itself lies beyond the last bound
    width = (most - least) / STEPS
    return [Step(least + width * at, least + width * (at + 1), counted.get(at + 1, 0)) for at in range(STEPS)]


def dearest(campaign: Campaign, by: User, measure: str) -> list[tuple[Target, int]]:
    """Give the hosts that it cost most, each with what it cost."""
    return [(target, target.cost) for target in _told(campaign, by, measure).order_by("-cost", "host_id")[:DEAREST]]


def _told(campaign: Campaign, by: User, measure: str) -> Any:
    return seen_by(campaign, by).annotate(cost=MEASURES[measure]).exclude(cost=None)
