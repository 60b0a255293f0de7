"""The tab About of a campaign: what was asked of whom and why, how far it may go, who did what to it. Reads only."""

from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET

from agents.board.operator_verbs import RELEASED_ALL
from agents.models import Platform
from campaigns.answers.models import AuditRecord
from campaigns.answers.target_list import seen_by
from campaigns.console import wording
from campaigns.console.access import needs_sight, user_of
from campaigns.console.lookups import found_campaign, no_such_campaign
from campaigns.launching.models import Approval
from campaigns.launching.rollout import Rollout
from campaigns.models import Campaign
from campaigns.running import brakes
from fleet.audit.models import AuditEvent
from fleet.counting import plural

LINES_SHOWN = 200
MACHINE = "the machine"
LAUNCHED = "campaign.launched"


class Line(NamedTuple):
    """One thing that was done: when, by whom, what, and what is known of it besides."""

    at: datetime
    who: str
    what: str
    more: str = ""


class Brake(NamedTuple):
    """A brake in words: what it watches, its limit, the figure now, and how near that is."""

    words: str
    limit: str
    now: str
    share: int  # percent of the limit, 100 at most
    is_past: bool


@needs_sight()
@require_GET
def campaign_about(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show what a campaign is."""
    shown = found_campaign(campaign_id, user_of(request))
    if shown is None:
        return no_such_campaign(request, campaign_id)
    return render(request, "campaigns/_about.html", {"campaign": shown, **about_context(request, shown)})


def about_context(request: HttpRequest, shown: Campaign) -> dict[str, Any]:
    """Give all that is known of it beside its rows."""
    is_whole = not shown.is_partial  # else figures and lines would tell of hosts outside of this person's scope
    platforms = seen_by(shown, user_of(request)).order_by().values_list("host__platform").annotate(Count("pk"))
    return {
        "platforms": [(Platform(name).label, count) for name, count in sorted(platforms, key=lambda one: -one[1])],
        "rollout": _rollout(shown),
        "steps": _steps(shown) if is_whole else [],
        "is_released_to_all": shown.released == RELEASED_ALL,
        "brakes": [_brake(reading, limit) for reading, limit in brakes.readings(shown)] if is_whole else [],
        "limits": _limits(shown),
        "children": Campaign.objects.visible_to(user_of(request)).filter(parent=shown.pk).order_by("pk"),
        "audit_lines": audit_lines(shown) if is_whole else [],
        "approval": Approval.objects.filter(campaign=shown).first(),
    }


def _rollout(shown: Campaign) -> str:
    """Say in words how far it was ordered to go, and how fast."""
    ordered = Rollout.read(shown.rollout)
    if ordered is None:
        return "All hosts may be asked at once."
    words = []
    if ordered.has_canary:
        first = (
            f"{ordered.canary_count:,} {plural(ordered.canary_count, 'host')}"
            if ordered.canary_count
            else f"{ordered.canary_percent:g} % of the hosts"
        )
        then = "pauses and asks" if ordered.then == "ask" else "goes on by itself, four times as many each step"
        words.append(f"It asks {first} first; when those have answered it {then}.")
    if ordered.per_second is not None:
        words.append(f"It asks at most {ordered.per_second:,} {plural(ordered.per_second, 'host')} a second.")
    return " ".join(words) or "All hosts may be asked at once."


def _steps(shown: Campaign) -> list[Line]:
    """Give how far it went, step by step: the first hosts, each widening, and how far it is now."""
    ordered = Rollout.read(shown.rollout)
    if ordered is None:
        return []
    begun = shown.started_at or shown.chosen_at
    first = ordered.canary_of(shown.able_targets)
    steps = [Line(begun, MACHINE, f"{first:,} {plural(first, 'host')} first")] if ordered.has_canary else []
    widened = AuditEvent.objects.filter(subject=f"campaign {shown.pk}", action="campaign.widened").order_by("id")
    found = widened[:LINES_SHOWN]
    return steps + [Line(event.at, event.who or MACHINE, "widened", _in_words(event.details)) for event in found]


def _brake(reading: brakes.Reading, limit: float) -> Brake:
    words, unit = wording.BRAKES[reading.name]
    value = reading.value
    if reading.of is not None:
        value = 100 * (reading.value or 0) / reading.of if reading.of else None
    now = "nothing known yet" if value is None else f"{value:,.1f}".removesuffix(".0") + unit
    if reading.of:
        now += f" ({reading.value:,g} of {reading.of:,})"
    share = 0 if value is None else min(100, round(100 * value / limit)) if limit else 100 * bool(value)
    return Brake(words, f"{limit:,g}{unit}", now, share, reading.is_past(limit))


def _limits(shown: Campaign) -> list[tuple[str, str]]:
    within = (
        f"{wording.duration(shown.answer_within)} from its delivery" if shown.answer_within else "as long as it runs"
    )
    joining = "yes, while it runs" if shown.include_late_joiners else "no: only who was meant at the beginning"
    days = settings.CAMPAIGN_RETENTION_DAYS
    kept = (
        "for ever: it is pinned"
        if shown.pinned
        else f"{days:,} {plural(days, 'day')} after the end"
        if days
        else "for ever"
    )
    return [
        ("Waits for answers", wording.duration(shown.timeout)),
        ("One host may take", within),
        ("Hosts that join later", joining),
        ("Rows kept", f"{settings.CAMPAIGN_MAX_ROWS:,}, {wording.binary_size(settings.CAMPAIGN_MAX_BYTES)} at most"),
        ("Beside other SQL", "no: it goes alone, it was slow or denylisted before" if shown.goes_alone else "yes"),
        ("Answers are kept", kept),
    ]


def audit_lines(shown: Campaign) -> list[Line]:
    """Give who did what to it in order: the audit's lines, and what the campaign's own record tells besides."""
    events = AuditEvent.objects.filter(subject=f"campaign {shown.pk}").order_by("id")[:LINES_SHOWN]
    lines = [Line(event.at, event.who or MACHINE, _done(event.action), _told(event)) for event in events]
    actions = {event.action for event in events}
    return sorted([*lines, *_of_record(shown, actions)], key=lambda line: line.at)


def _of_record(shown: Campaign, actions: set[str]) -> list[Line]:
    by = shown.created_by.get_username() if shown.created_by else "somebody who is gone"
    lines = [] if LAUNCHED in actions else [Line(shown.created_at, by, "launched", shown.reason)]
    record = AuditRecord.objects.filter(campaign_id=shown.pk).first()
    if record is not None and not any(action.startswith("approval.") for action in actions):
        for said in record.approvals:
            at = parse_datetime(said["at"])
            lines += [Line(at, said["by"], f"approval {said['what']}", said["reason"])] if at else []
    if shown.started_at:
        lines.append(Line(shown.started_at, MACHINE, "began to hand it out"))
    if shown.ended_at:
        lines.append(Line(shown.ended_at, shown.ended_by or MACHINE, str(shown.status), shown.ended_reason))
    for child in shown.reruns.select_related("created_by"):
        who = child.created_by.get_username() if child.created_by else "somebody who is gone"
        lines.append(Line(child.created_at, who, f"asked again in campaign {child.pk}"))
    return lines


def _done(action: str) -> str:
    """Say `campaign.paused` as people do."""
    thing, _, done = action.partition(".")
    words = (done if thing == "campaign" else f"{thing} {done}").replace("_", " ")
    return words or action


def _told(event: AuditEvent) -> str:
    """Give what a line tells besides; what was launched stands elsewhere on the page."""
    return str(event.details.get("reason", "")) if event.action == LAUNCHED else _in_words(event.details)


def _in_words(details: dict[str, Any]) -> str:
    """Give the plain values; lists of hosts and the like are for those who search the audit."""
    plain = {name: value for name, value in details.items() if isinstance(value, str | int | float) and value != ""}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in plain.items() if name != "sql")
