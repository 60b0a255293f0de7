"""What a message says: ids, counts, states and links, as the owner of the hook sees the campaign; never rows."""

import json
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings

from campaigns.answers import sight
from campaigns.answers.results import timestamp
from campaigns.hooks.models import TEST, Delivery, Event, Hook, HookEvent
from campaigns.models import Campaign
from campaigns.people import scopes
from fleet.counting import counted
from fleet.text import shown


@dataclass(frozen=True)
class Message:
    """The body for programs, the same in words for people, and the limits it was written under."""

    body: str
    text: str
    limits: list[list[int]]


def message_of(event: HookEvent, hook: Hook, campaign: Campaign) -> Message:
    """Write what this hook is told of an event."""
    bare = copy(campaign)
    bare.columns = []  # no message names them, and to find those of a part reads every row
    seen = sight.seen_by(bare, hook.owner)
    facts = _facts(event, seen)
    data = {
        "event": event.pk,
        "sentence": shown(_sentence(event.kind, seen, facts)),
        "campaign": _campaign(seen, facts),
    }
    if event.kind == Event.CHANGED:
        data |= {"before": event.facts.get("before"), "changes": [] if seen.is_partial else event.facts["changes"]}
    return Message(
        _as_json(event.kind, event.at, data),
        f"{data['sentence']}\n{_link(campaign)}",
        scopes.as_json(scopes.limits_of(hook.owner)),
    )


def written_anew(delivery: Delivery, campaign: Campaign) -> Message:
    """Write a message again, for an owner whose scope is another one by now."""
    body = json.loads(delivery.body)
    data, kept = body["data"], ("status", "waits_for", "ended_by", "ended_reason")
    facts = {name: data["campaign"][name] or "" for name in kept}
    facts |= {name: data[name] for name in ("before", "changes") if name in data}
    event = HookEvent(pk=data["event"], kind=delivery.kind, campaign_id=campaign.pk, facts=facts)
    event.at = datetime.fromisoformat(body["timestamp"])
    return message_of(event, delivery.hook, campaign)


def test_message(hook: Hook, at: datetime) -> Message:
    """Write what a person sends to try a hook."""
    sentence = shown(f"{hook.owner.get_username()} tries the hook {hook.name}")
    return Message(_as_json(TEST, at, {"event": None, "sentence": sentence}), sentence, [])


def _as_json(kind: str, at: datetime, data: dict[str, Any]) -> str:
    return json.dumps({"type": kind, "timestamp": timestamp(at), "data": data}, ensure_ascii=False)


def _facts(event: HookEvent, seen: Campaign) -> dict[str, Any]:
    """Give the state of that moment; sentences in which the machine counts hosts, as the owner sees them."""
    facts = {"status": seen.status, "waits_for": "", "ended_by": "", "ended_reason": "", **event.facts}
    if seen.is_partial:
        facts["ended_reason"] = seen.ended_reason if facts["ended_reason"] else ""
    return facts


def _campaign(seen: Campaign, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": seen.pk,
        "name": seen.name,
        "query": seen.query_id,
        "parent": seen.parent_id,
        "schedule": seen.schedule_id,
        "created_by": seen.created_by.get_username() if seen.created_by else None,
        "status": facts["status"],
        "waits_for": facts["waits_for"] or None,
        "ended_by": facts["ended_by"],
        "ended_reason": facts["ended_reason"],
        "started_at": timestamp(seen.started_at),
        "ends_at": timestamp(seen.ends_at),
        "ended_at": timestamp(seen.ended_at),
        "expected": seen.expected,
        "counts": seen.counts,
        "partial": seen.is_partial,
        "url": _link(seen),
        "api_url": f"{settings.PUBLIC_URL}/api/v1/campaigns/{seen.pk}/",
    }


def _sentence(kind: str, seen: Campaign, facts: dict[str, Any]) -> str:
    named = f"campaign {seen.pk}" + (f" ({seen.name})" if seen.name else "")
    hosts = counted(seen.expected, "host")
    if kind == Event.STARTED:
        return f"{named} started over {hosts}"
    if kind == Event.WAITING:
        return f"{named} waits after its first hosts: widen it, or stop"
    if kind == Event.BRAKED:
        return f"{named} is being stopped: {facts['ended_reason']}"
    if kind == Event.APPROVAL_WANTED:
        return f"{named} over {hosts} waits for a second person's approval"
    if kind == Event.CHANGED:
        return f"{named} is answered differently than {facts.get('before')}: {_changes(seen, facts)}"
    counts = f"{seen.count_answered} of {seen.count_targeted} answered, {counted(seen.count_rows, 'row')}"
    return f"{named} is {facts['status']}: {counts}; {facts['ended_reason']}".rstrip("; ")


def _changes(seen: Campaign, facts: dict[str, Any]) -> str:
    return "it is over hosts beyond your scope too" if seen.is_partial else "; ".join(facts["changes"])


def _link(campaign: Campaign) -> str:
    return f"{settings.PUBLIC_URL}/campaigns/{campaign.pk}/"
