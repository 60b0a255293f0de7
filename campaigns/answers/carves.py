"""What campaigns know of carves: who is expected to send some, and what a campaign got."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from agents.carving.carves import asks_for_carves
from agents.carving.models import Carve, CarveState
from campaigns.answers.results import timestamp
from campaigns.models import Campaign, Target
from campaigns.people import scopes
from campaigns.states import OPEN_STATES, SILENT_STATES, Status


def expects_carves_of(host: int) -> bool:
    """Say whether an answer of this host to SQL that may carve is still to be stored, late ones included."""
    since = timezone.now() - timedelta(seconds=settings.LATE_ANSWER_SECONDS)
    under_way = Q(status__in=[Status.TARGETING, Status.RUNNING, Status.PAUSED])
    campaigns = Campaign.objects.filter(under_way | Q(ended_at__gte=since), sql__icontains="carves")
    states = [*OPEN_STATES, *SILENT_STATES]
    return Target.objects.filter(campaign__in=campaigns, host_id=host, state__in=states).exists()


def carves_of(campaign: Campaign) -> QuerySet[Carve]:
    """Give the carves that a campaign's answers named; without a look when it asked for none."""
    if not asks_for_carves(campaign.sql):
        return Carve.objects.none()
    found = Carve.objects.filter(campaign_id=campaign.pk).select_related("host").order_by("id")
    return scopes.within_limits(found, campaign.limits)


def carve_json(carve: Carve, download: str) -> dict[str, Any]:
    """Give a carve as the API shows it; `download` is the address of its content, once that is complete."""
    complete = carve.state == CarveState.COMPLETE
    return {
        "id": carve.pk,
        "carve_id": carve.carve_id,
        "campaign": carve.campaign_id,
        "host": {"id": carve.host_id, "hostname": carve.host.hostname},
        "path": carve.path,
        "state": carve.state,
        "carve_size": carve.carve_size,
        "block_size": carve.block_size,
        "block_count": carve.block_count,
        "received_blocks": carve.received_blocks,
        "received_bytes": carve.received_bytes,
        "missing_blocks": carve.missing_blocks,
        "integrity": carve.integrity,
        "sha256": carve.sha256,
        "host_sha256": carve.host_sha256,
        "host_status": carve.host_status,
        "trouble": carve.trouble,
        "announced_at": timestamp(carve.announced_at),
        "begun_at": timestamp(carve.begun_at),
        "heard_at": timestamp(carve.heard_at),
        "completed_at": timestamp(carve.completed_at),
        "download": download if complete else None,
    }
