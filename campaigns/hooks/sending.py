"""Sends what is due to one hook, in order, and tries again what was not taken: over a day, then it is given up.

A hook is sent to by one task at a time. A task that dies leaves everything as it was: another one comes after a minute,
so that a receiver may get a message twice, under the same `webhook-id`.
"""

import logging
import time
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from standardwebhooks import Webhook

from campaigns.hooks import content, notifying, rights, telling
from campaigns.hooks.models import TEST, Delivery, Hook
from campaigns.hooks.posting import Outcome, post
from campaigns.models import Campaign
from campaigns.people import scopes
from fleet.counting import counted

logger = logging.getLogger(__name__)

# How long is waited after each try that failed, in seconds; after the last one it is given up. A day in all.
WAITS = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800)
RUN_SECONDS = 30.0  # of one task; the next one goes on
GONE = 410  # the receiver wants nothing any more
USER_AGENT = "fleet-live-queries"


def send(hook_id: int, lease: int) -> None:
    """Send what is due to a hook, until something fails or the time is up. A message that comes twice does nothing."""
    held = lease + 1
    if not _hold(hook_id, lease, held):
        return
    until = time.monotonic() + RUN_SECONDS
    while _send_next(hook_id) and time.monotonic() < until and _hold(hook_id, held, held):
        pass
    # Since when nobody sends: whose turn is longest ago comes first.
    Hook.objects.filter(pk=hook_id, lease=held).update(held_until=timezone.now())


def _hold(hook_id: int, lease: int, held: int) -> bool:
    """Hold it from now on, for longer than a try takes; say whether it is still this task's to send to."""
    mine = Hook.objects.filter(pk=hook_id, lease=lease)
    return bool(mine.update(lease=held, held_until=timezone.now() + telling.HELD))


def _send_next(hook_id: int) -> bool:
    """Try the next one that is due; say whether it was taken, and more may be sent."""
    due = Delivery.objects.due(timezone.now()).filter(hook=hook_id).select_related("hook__owner")
    delivery = due.order_by("due_at", "pk").first()
    if delivery is None:
        return False
    if sentence := rights.objection(delivery.hook.owner):
        telling.stop(delivery.hook, sentence)
        return False
    if not _is_still_seen(delivery):
        return True
    outcome = _tried(delivery)
    _note(delivery, outcome)
    return outcome.is_taken


def _tried(delivery: Delivery) -> Outcome:
    if delivery.hook.kind == Hook.Kind.NOTIFICATION:
        title = f"Fleet Live Queries: {delivery.kind}"
        return notifying.notify(delivery.hook.address, title, delivery.text, delivery.reached)
    return post(delivery.hook.address, delivery.body.encode(), headers_of(delivery))


def headers_of(delivery: Delivery) -> dict[str, str]:
    """Sign a message as Standard Webhooks says, with both secrets while there are two."""
    now = timezone.now()
    secrets = [secret for secret in (delivery.hook.secret, delivery.hook.previous_secret) if secret]
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "webhook-id": delivery.message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Webhook(one).sign(delivery.message_id, now, delivery.body) for one in secrets),
    }


def _is_still_seen(delivery: Delivery) -> bool:
    """Look again at what its owner may see: a body of wider limits is written anew, or given up with the sight."""
    if delivery.kind == TEST:
        return True
    owner = delivery.hook.owner
    campaign = Campaign.objects.select_related("created_by").filter(pk=delivery.campaign_id or 0).first()
    if campaign is None or not rights.may_be_told(owner, delivery.kind, campaign):
        _change(delivery, state=Delivery.State.DEAD, error="its owner may not look at this campaign any more")
        return False
    if scopes.as_json(scopes.limits_of(owner)) != delivery.limits:
        message = content.written_anew(delivery, campaign)
        delivery.body, delivery.text, delivery.limits = message.body, message.text, message.limits
        return _change(delivery, body=message.body, text=message.text, limits=message.limits)
    return True


def _change(delivery: Delivery, **fields: Any) -> bool:
    """Change it, if it waits as it was read: a stop, a resend or a deletion since then stands. Say whether it did."""
    same = Delivery.objects.filter(pk=delivery.pk, state=Delivery.State.WAITING, tries=delivery.tries)
    return bool(same.update(**fields))


def _note(delivery: Delivery, outcome: Outcome) -> None:
    """Keep what came of a try; when it is the last one, or the receiver is gone for good, say so."""
    now, tries = timezone.now(), delivery.tries + 1
    fields: dict[str, Any] = {"tries": tries, "tried_at": now, "took_ms": outcome.took_ms}
    fields |= {"status": outcome.status, "answer": outcome.answer, "error": outcome.error}
    fields["reached"] = sorted({*delivery.reached, *outcome.reached})
    if outcome.is_taken:
        fields["state"] = Delivery.State.DELIVERED
    elif tries > len(WAITS):
        fields |= {
            "state": Delivery.State.DEAD,
            "error": f"given up after {counted(tries, 'try', 'tries')}. {outcome.error}".strip(),
        }
    else:
        fields["due_at"] = now + timedelta(seconds=WAITS[tries - 1])
    with transaction.atomic():
        _change(delivery, **fields)
        if outcome.status == GONE:
            telling.stop(delivery.hook, "the receiver answered 410: it is gone for good")
    logger.info("hook tried hook=%s delivery=%s status=%s", delivery.hook_id, delivery.pk, outcome.status)
