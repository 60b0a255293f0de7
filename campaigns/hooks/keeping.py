"""What people do with hooks: make, change, rotate, stop, start, try, delete; and send a message again."""

import base64
import secrets
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from campaigns.hooks import content, notifying, posting, rights, telling
from campaigns.hooks.models import TEST, Delivery, Event, Hook
from campaigns.people.roles import KEEP_HOOKS
from fleet.audit import note
from fleet.errors import BadInputError, ConflictError, ForbiddenError

MOST_HOOKS = 50  # of one person


def new_secret() -> str:
    """Give a secret in the form of Standard Webhooks."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def check(kind: str, address: str, events: Any) -> None:
    """Raise BadInputError for an address that cannot be told, and for events that are none."""
    if not isinstance(events, list):
        raise BadInputError(f"events {str(events)[:100]!r} is not a list of events", "events")
    for event in events:
        if event not in Event.values:
            raise BadInputError(f"events has {str(event)[:100]!r}, allowed are {', '.join(Event.values)}", "events")
    if kind == Hook.Kind.NOTIFICATION:
        notifying.check(address)
    else:
        posting.check_reachable(address)


@transaction.atomic
def make(hook: Hook, by: User) -> Hook:
    """Save a new hook; its secret is to be shown now and never again. Raise BadInputError or ForbiddenError."""
    if not by.has_perm(KEEP_HOOKS):
        raise ForbiddenError(f"having hooks needs the permission {KEEP_HOOKS}")
    if Hook.objects.filter(owner=by).count() >= MOST_HOOKS:
        raise BadInputError(f"you have {MOST_HOOKS} hooks, which is the most one may have: delete one first")
    check(hook.kind, hook.address, hook.events)
    hook.owner = by
    hook.secret = new_secret() if hook.kind == Hook.Kind.WEBHOOK else ""
    hook.save()
    note("hook.made", by=by, subject=f"hook {hook.pk}", kind=str(hook.kind), **said(hook))
    return hook


@transaction.atomic
def change(hook: Hook, values: dict[str, Any], by: User) -> Hook:
    """Change its name, address, events or whose campaigns it is told of. Raise BadInputError or ForbiddenError."""
    _check_owner(hook, by, "changes it")
    was = said(hook)
    for name, value in values.items():
        setattr(hook, name, value)
    if {"address", "events"} & set(values):
        check(hook.kind, hook.address, hook.events)
    if values:
        hook.save(update_fields=[*values])
    note("hook.changed", by=by, subject=f"hook {hook.pk}", was=was, to=said(hook))
    return hook


def said(hook: Hook) -> dict[str, Any]:
    """Give what the audit says of a hook; never its secret."""
    return {"name": hook.name, "address": hook.address_shown, "events": hook.events, "only_mine": hook.only_mine}


@transaction.atomic
def rotate(hook: Hook, by: User) -> str:
    """Give a new secret, to be shown once; the one before signs beside it until the next rotation."""
    _check_owner(hook, by, "rotates its secret")
    if hook.kind != Hook.Kind.WEBHOOK:
        raise ConflictError(f"hook {hook.pk} is a notification, which is not signed: it has no secret")
    hook.previous_secret, hook.secret, hook.rotated_at = hook.secret, new_secret(), timezone.now()
    hook.save(update_fields=["previous_secret", "secret", "rotated_at"])
    note("hook.rotated", by=by, subject=f"hook {hook.pk}", name=hook.name)
    return hook.secret


def stop(hook: Hook, by: User) -> None:
    """Send to it no more. Stopping twice is stopping once."""
    if hook.stopped_at is None:
        telling.stop(hook, f"stopped by {by.get_username()}", by)


@transaction.atomic
def start(hook: Hook, by: User) -> None:
    """Send to it again, of what happens from now on. Raise ConflictError when its owner may have none.

    Raise ForbiddenError for who is not its owner: it tells what the owner sees, to where the owner said.
    """
    _check_owner(hook, by, "starts it")
    if sentence := rights.objection(hook.owner):
        raise ConflictError(f"hook {hook.pk} cannot be started: {sentence}")
    check(hook.kind, hook.address, hook.events)
    hook.stopped_at, hook.stopped_reason = None, ""
    hook.save(update_fields=["stopped_at", "stopped_reason"])
    note("hook.started", by=by, subject=f"hook {hook.pk}", name=hook.name)


@transaction.atomic
def drop(hook: Hook, by: User) -> None:
    """Delete it with what it was told."""
    note("hook.deleted", by=by, subject=f"hook {hook.pk}", **said(hook))
    hook.delete()


@transaction.atomic
def test(hook: Hook, by: User) -> Delivery:
    """Send a message to try it. Raise ConflictError while it is stopped."""
    _check_open(hook)
    note("hook.tried", by=by, subject=f"hook {hook.pk}", name=hook.name)
    return telling.keep(hook, content.test_message(hook, timezone.now()), TEST)


@transaction.atomic
def send_again(delivery: Delivery, by: User) -> Delivery:
    """Send a message once more, under its own id; one that is waiting is tried at once. Raise ConflictError.

    One that all of a service's receivers have goes to all of them again, another one to those who lack it.
    """
    _check_open(delivery.hook)
    changed = ["state", "tries", "due_at"]
    if delivery.state == Delivery.State.DELIVERED:
        delivery.reached = []
        changed.append("reached")  # of another one it stays: a try may have reached somebody since it was read
    delivery.state, delivery.tries, delivery.due_at = Delivery.State.WAITING, 0, timezone.now()
    delivery.save(update_fields=changed)
    note("hook.sent_again", by=by, subject=f"hook {delivery.hook_id}", message=delivery.message_id)
    return delivery


def _check_owner(hook: Hook, by: User, does: str) -> None:
    if hook.owner_id != by.pk:
        raise ForbiddenError(f"hook {hook.pk} is {hook.owner.get_username()}'s: only its owner {does}")


def _check_open(hook: Hook) -> None:
    if hook.stopped_at is not None:
        raise ConflictError(f"hook {hook.pk} is stopped ({hook.stopped_reason}): start it first")
