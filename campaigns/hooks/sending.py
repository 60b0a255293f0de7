"""Sends what is due to one hook, in order, and tries again what was not taken: over a day, then it is given up.

A hook is sent to by one task at a time. A task that dies leaves everything as it was: another one comes after a minute,
so that a receiver may get a message twice, under the same `webhook-id`.
"""

import logging
import time
from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from standardwebhooks import Webhook

from campaigns.hooks import content, notifying, rights, telling
from campaigns.hooks.models import TEST, Delivery, Hook
from campaigns.hooks.posting import Outcome, post
from campaigns.models import Campaign
from campaigns.people import scopes

logger = logging.getLogger(__name__)

# How long is waited after each try that failed, in seconds; after the last one it is given up. A day in all.
WAITS = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800)
RUN_SECONDS = 30.0  # of one task; the next one goes on
GONE = 410  # the receiver wants nothing any more
USER_AGENT = "fleet-live-queries"


def send(hook_id: int, lease: int) -> None:
    """Send what is due to a hook, until something fails or the time is up. A message that comes twice does nothing."""
    if not Hook.objects.filter(pk=hook_id, lease=lease).update(lease=lease + 1):
        return
    until = time.monotonic() + RUN_SECONDS
    while time.monotonic() < until and _send_next(hook_id):
        pass
    Hook.objects.filter(pk=hook_id, lease=lease + 1).update(held_until=None)


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
        return notifying.notify(delivery.hook.address, f"Fleet Live Queries: {delivery.kind}", delivery.text)
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
        delivery.state, delivery.error = Delivery.State.DEAD, "its owner may not look at this campaign any more"
        delivery.save(update_fields=["state", "error"])
        return False
    if scopes.as_json(scopes.limits_of(owner)) != delivery.limits:
        message = content.written_anew(delivery, campaign)
        delivery.body, delivery.text, delivery.limits = message.body, message.text, message.limits
        delivery.save(update_fields=["body", "text", "limits"])
    return True


def _note(delivery: Delivery, outcome: Outcome) -> None:
    """Keep what came of a try; when it is the last one, or the receiver is gone for good, say so."""
    now = timezone.now()
    delivery.tries += 1
    delivery.tried_at, delivery.took_ms = now, outcome.took_ms
    delivery.status, delivery.answer, delivery.error = outcome.status, outcome.answer, outcome.error
    if outcome.is_taken:
        delivery.state = Delivery.State.DELIVERED
    elif delivery.tries > len(WAITS):
        delivery.state = Delivery.State.DEAD
        delivery.error = f"given up after {delivery.tries} tries. {outcome.error}".strip()
    else:
        delivery.due_at = now + timedelta(seconds=WAITS[delivery.tries - 1])
    with transaction.atomic():
        delivery.save()
        if outcome.status == GONE:
            telling.stop(delivery.hook, "the receiver answered 410: it is gone for good")
    logger.info("hook tried hook=%s delivery=%s status=%s", delivery.hook_id, delivery.pk, outcome.status)
