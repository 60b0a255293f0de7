"""The tab Cost of a campaign: what its SQL cost its hosts. Reads only."""

from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from campaigns.answers import costs
from campaigns.console import wording
from campaigns.console.access import needs_sight, user_of
from campaigns.console.lookups import found_campaign, no_such_campaign
from campaigns.models import Campaign
from fleet.counting import plural

NAMES = {"wall": "wall time", "user": "user CPU", "system": "system CPU", "memory": "memory"}
HEIGHT = 64  # of the drawing of the distribution, in its own units
LEAST = 1.5  # so that one host of many is seen


class Bar(NamedTuple):
    """One step of the distribution as it is drawn, with its words."""

    x: float
    y: float
    width: float
    height: float
    words: str


@needs_sight()
@require_GET
def campaign_cost(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show what the SQL cost."""
    shown = found_campaign(campaign_id, user_of(request))
    if shown is None:
        return no_such_campaign(request, campaign_id)
    return render(request, "campaigns/_cost.html", {"campaign": shown, **cost_context(request, shown)})


def cost_context(request: HttpRequest, shown: Campaign) -> dict[str, Any]:
    """Give percentiles of each measure, and of the one that is looked at its distribution and its dearest hosts."""
    by = user_of(request)
    found = costs.costs(shown, by)
    told = [cost.name for cost in found]
    asked = request.GET.get("measure", "")
    measure = asked if asked in told else next(iter(told), "")
    steps = costs.spread(shown, by, measure) if measure else []
    dear = costs.dearest(shown, by, measure) if measure else []
    return {
        "costs": [(cost.name, NAMES[cost.name], cost.hosts, _values(cost)) for cost in found],
        "measure": measure,
        "measure_name": NAMES.get(measure, ""),
        "bars": _bars(steps, measure),
        "least": wording.cost(steps[0].least, measure) if steps else "",
        "most": wording.cost(steps[-1].most, measure) if steps else "",
        "dearest": [(target, wording.cost(cost, measure)) for target, cost in dear],
    }


def _values(cost: costs.Cost) -> list[str]:
    return [wording.cost(value, cost.name) for value in (cost.p50, cost.p90, cost.p99, cost.most)]


def _bars(steps: list[costs.Step], measure: str) -> list[Bar]:
    """Draw the steps in a box that is as wide as they are many."""
    most = max((step.hosts for step in steps), default=1)
    bars = []
    for at, step in enumerate(steps):
        height = max(LEAST, HEIGHT * step.hosts / most) if step.hosts else 0
        hosts = f"{step.hosts:,} {plural(step.hosts, 'host')}"
        words = f"{wording.cost(step.least, measure)} to {wording.cost(step.most, measure)}: {hosts}"
        bars.append(Bar(at + 0.05, HEIGHT - height, 0.9, height, words))
    return bars
