"""Launches that may be said twice: under the same key of a person the second one launches nothing."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from campaigns.models import Campaign, IdempotencyKey
from fleet.errors import ConflictError


def digest_of(said: Any) -> str:
    """Give what tells what is asked for from anything else; it is what JSON holds."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def once(by: User, key: str, digest: str, launch: Callable[[], Campaign]) -> tuple[Campaign, bool]:
    """Launch under an idempotency key; give the campaign and whether it is new.

    The same key and person within 24 hours gives the first campaign. Raise ConflictError when the digest is another.
    """
    with transaction.atomic():
        _lock_key(by, key)
        earlier = IdempotencyKey.objects.filter(user=by, key=key).select_related("campaign").first()
        if earlier is not None and earlier.created_at > timezone.now() - IdempotencyKey.LIFETIME:
            if earlier.body_digest != digest:
                raise ConflictError(
                    f"Idempotency-Key {key!r} was used for another launch, campaign {earlier.campaign_id}"
                )
            return earlier.campaign, False
        campaign = launch()
        IdempotencyKey.objects.update_or_create(
            user=by,
            key=key,
            defaults={"body_digest": digest, "campaign": campaign, "created_at": timezone.now()},
        )
    return campaign, True


def _lock_key(by: User, key: str) -> None:
    """Let launches under the same key wait for each other until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", [key, by.pk])
