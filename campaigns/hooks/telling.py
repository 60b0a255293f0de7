"""From what happened to who is told: a delivery for each hook whose owner may see it, in one transaction.

One step each second, in the hooks' own queue. Safe to run twice: one does it, the other goes.
"""

import logging
import time
from datetime import datetime, timedelta
from uuid import uuid4

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from campaigns.hooks import content, rights
from campaigns.hooks.content import Message
from campaigns.hooks.models import Delivery, Hook, HookEvent
from campaigns.models import Campaign
from fleet.audit import note
from fleet.database import locks
from fleet.queue import enqueue

logger = logging.getLogger(__name__)

RUN_SECONDS = 10.0  # of one step; the next one goes on
EVENTS_AT_ONCE = 20  # of one transaction: each may count the hosts of many people
HELD = timedelta(seconds=60)  # by whoever sends, from each try on; after it he is taken for dead
AT_ONCE_PER_HOST = 4  # hooks at one receiver's name that are sent to at once: a slow one keeps no other waiting
KEPT = timedelta(days=30)
FORGOTTEN_AT_ONCE = 1_000


def step() -> None:
    """Tell what happened, and let what is due be sent."""
    until = time.monotonic() + RUN_SECONDS
    while _tell_some() and time.monotonic() < until:
        pass


@transaction.atomic
def _tell_some() -> bool:
    """Do it for a few events; say whether there may be more."""
    if not locks.take("campaigns.hooks"):
        return False
    events = spread()
    hand_out(timezone.now())
    forget(timezone.now())
    return events == EVENTS_AT_ONCE


def spread() -> int:
    """Write the deliveries of a few events that happened; give how many."""
    events = list(HookEvent.objects.order_by("pk")[:EVENTS_AT_ONCE])
    # prefetched: the hooks of a person share him, whose rights are looked up once
    hooks = list(Hook.objects.filter(stopped_at=None).prefetch_related("owner")) if events else []
    campaigns = Campaign.objects.select_related("created_by").in_bulk([event.campaign_id for event in events])
    for event in events:
        campaign = campaigns.get(event.campaign_id)
        if campaign is None:
            continue  # it was deleted: there is nothing to look at any more
        for hook in hooks:
            if hook.wants(event.kind) and _is_seen(event, hook, campaign):
                keep(hook, content.message_of(event, hook, campaign), event.kind, event.campaign_id)
    HookEvent.objects.filter(pk__in=[event.pk for event in events]).delete()
    return len(events)


def _is_seen(event: HookEvent, hook: Hook, campaign: Campaign) -> bool:
    if hook.only_mine and campaign.created_by_id != hook.owner_id:
        return False
    return not rights.objection(hook.owner) and rights.may_be_told(hook.owner, event.kind, campaign)


def keep(hook: Hook, message: Message, kind: str, campaign_id: int | None = None) -> Delivery:
    """Write a delivery, to be tried at once."""
    return Delivery.objects.create(
        hook=hook,
        message_id=f"msg_{uuid4().hex}",
        kind=kind,
        campaign_id=campaign_id,
        body=message.body,
        text=message.text,
        limits=message.limits,
    )


def stop_without_right() -> None:
    """Stop the hooks whose owner may have none any more, and say so. Nothing is sent before: sending asks as well."""
    hooks = list(Hook.objects.filter(stopped_at=None))
    owners = User.objects.in_bulk({hook.owner_id for hook in hooks})
    objections = {number: rights.objection(owner) for number, owner in owners.items()}
    for hook in hooks:
        if sentence := objections.get(hook.owner_id):
            stop(hook, sentence)


def stop(hook: Hook, reason: str, by: User | None = None) -> None:
    """Send to it no more; what waits for it is given up and can be sent again by hand."""
    with transaction.atomic():
        hook.stopped_at, hook.stopped_reason = timezone.now(), reason[:300]
        going = Hook.objects.filter(pk=hook.pk, stopped_at=None)
        if not going.update(stopped_at=hook.stopped_at, stopped_reason=hook.stopped_reason):
            return  # somebody was faster, or deleted it
        waiting = hook.deliveries.filter(state=Delivery.State.WAITING)
        waiting.update(state=Delivery.State.DEAD, error=f"the hook is stopped: {reason}")
        note("hook.stopped", by=by, subject=f"hook {hook.pk}", name=hook.name, reason=reason)
    logger.info("hook stopped hook=%s reason=%s", hook.pk, reason)


def hand_out(now: datetime) -> None:
    """Let each hook that has something due be sent to, by one task at a time."""
    due = Hook.objects.filter(pk__in=Delivery.objects.due(now).values("hook"))
    busy: dict[str, int] = {}
    for hook in Hook.objects.filter(held_until__gt=now):
        busy[hook.host] = busy.get(hook.host, 0) + 1
    for hook in due.exclude(held_until__gt=now).order_by(F("held_until").asc(nulls_first=True), "pk"):
        if busy.get(hook.host, 0) >= AT_ONCE_PER_HOST:
            continue
        busy[hook.host] = busy.get(hook.host, 0) + 1
        lease = hook.lease + 1
        Hook.objects.filter(pk=hook.pk).update(held_until=now + HELD, lease=F("lease") + 1)
        enqueue("hooks.send", hook.pk, lease)


def forget(now: datetime) -> None:
    """Delete a few deliveries that are too old."""
    old = Delivery.objects.exclude(state=Delivery.State.WAITING).filter(created_at__lt=now - KEPT)
    Delivery.objects.filter(pk__in=list(old.order_by("pk").values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE])).delete()
