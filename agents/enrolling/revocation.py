"""Send hosts away: their keys are refused on every gateway within a second. What they answered is kept."""

import logging

from django.db import transaction
from django.utils import timezone

from agents.board import operator_verbs
from agents.models import Host, HostQuerySet
from fleet.audit import note

logger = logging.getLogger(__name__)


def revoke(host: Host) -> Host:
    """Refuse every key the host has and hide it. Revoking twice is revoking once.

    The board is written before the commit: when it cannot be, nothing has happened.
    """
    with transaction.atomic():
        found: Host = Host.objects.select_for_update().get(pk=host.pk)
        found.revoked_at = found.revoked_at or timezone.now()
        found.epoch_floor = found.epoch + 1
        found.save(update_fields=["revoked_at", "epoch_floor"])
        note("host.revoked", subject=f"host {found.pk}", hostname=found.hostname)
        operator_verbs.set_floor(found.pk, found.epoch_floor)
    logger.info("host revoked host=%s floor=%s", found.pk, found.epoch_floor)
    return found


@transaction.atomic
def trust(hosts: HostQuerySet) -> int:
    """Clear the mark of a second machine, until one is noticed again; give how many bore it."""
    marked = hosts.select_for_update().exclude(in_doubt_since=None).order_by("pk")
    for host in marked:
        note("host.trusted", subject=f"host {host.pk}", hostname=host.hostname, mark=host.in_doubt_reason)
    return Host.objects.filter(pk__in=[host.pk for host in marked]).update(in_doubt_since=None, in_doubt_reason="")
