"""Let hosts join that are meant since a campaign began, as far as who launched it may ask them."""

import logging

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from agents.board import clock, operator_verbs
from agents.board.keyspace import NoBoardError, seat_of
from agents.models import Host, HostQuerySet
from campaigns import doorbell
from campaigns.launching import approvals, quotas, rights
from campaigns.models import Campaign, Target, TargetRange
from campaigns.people import scopes
from campaigns.running import releasing
from campaigns.running.targeting import open_campaign, open_hosts, write_targets
from campaigns.selecting import sql_support
from campaigns.selecting.selection import Selection
from campaigns.states import Status
from fleet.audit import note
from fleet.audit.spans import spans
from fleet.counting import counted
from fleet.errors import FleetError

logger = logging.getLogger(__name__)

LATE_JOINERS_AT_ONCE = 10_000


def add_late_joiners(campaign_id: int) -> int:
    """Write hosts that are meant since the campaign began, release those its rollout lets; give how many joined.

    Safe to run twice. What is written and not released, because the process died between, the repair of the board
    releases. Nobody joins beyond what who launched may ask, and the campaign says so.
    """
    joined = _write_late_joiners(campaign_id)
    if joined:
        _release_late_joiners(campaign_id, joined)
    return len(joined)


def _write_late_joiners(campaign_id: int) -> list[int]:
    """Write and commit those who are meant and not written yet; give their ids."""
    with transaction.atomic():
        campaign = open_campaign(campaign_id)
        if campaign is None or campaign.status != Status.RUNNING or not campaign.include_late_joiners:
            return []
        known = Target.objects.filter(campaign=campaign, host=OuterRef("pk"))
        limits = scopes.limits_of_launch(campaign.scope, campaign.created_by)
        meant = Selection.read(campaign.target, limits).hosts(clock.now()).exclude(Exists(known))
        joined = _as_many_as_allowed(campaign, list(meant.values_list("pk", flat=True)[:LATE_JOINERS_AT_ONCE]))
        if not joined:
            return []
        for number in {seat_of(host).number for host in joined}:
            TargetRange.objects.get_or_create(campaign=campaign, number=number, defaults={"done_at": timezone.now()})
        _join(campaign, Host.objects.filter(pk__in=joined))
        note("campaign.hosts_joined", subject=f"campaign {campaign_id}", count=len(joined), hosts=spans(joined))
    return joined


def _release_late_joiners(campaign_id: int, joined: list[int]) -> None:
    """Let those among them be handed the SQL whom the rollout lets."""
    with transaction.atomic():
        campaign = open_campaign(campaign_id)
        if campaign is None or campaign.status != Status.RUNNING:
            return
        numbers = {seat_of(host).number for host in joined}
        hosts = open_hosts((campaign_id, number) for number in numbers)
        for number in numbers:
            try:
                operator_verbs.release(campaign_id, number, set(joined).intersection(hosts[campaign_id, number]))
            except NoBoardError:
                logger.warning("late joiners wait campaign=%s range=%s: the board is not whole", campaign_id, number)


def _as_many_as_allowed(campaign: Campaign, hosts: list[int]) -> list[int]:
    """Leave out hosts beyond what who launched may ask by now, and let the campaign say that some were."""
    if not hosts:
        return hosts
    by = campaign.created_by
    try:
        rights.check_start(campaign, Host.objects.filter(pk__in=hosts))
    except FleetError as error:
        _say(campaign, f"nobody joins any more: {error.sentence}")
        return []
    of_quota = None if by is None else quotas.room_for_targets(by, campaign.count_targeted)
    rooms = [room for room in (of_quota, approvals.room_for(campaign)) if room is not None]
    room = min(rooms, default=len(hosts))
    if room >= len(hosts):
        return hosts
    warning = f"nobody joins any more: {counted(campaign.count_targeted + room, 'host')} is the most that {by} may ask"
    if room != of_quota:
        warning += " without a second person's approval"
    _say(campaign, warning)
    return hosts[:room]


def _say(campaign: Campaign, warning: str) -> None:
    if warning not in campaign.warnings:
        campaign.warnings.append(warning)
        campaign.save(update_fields=["warnings"])
        doorbell.ring(campaign.pk)


def _join(campaign: Campaign, hosts: HostQuerySet) -> None:
    """Write hosts that join: they may be of kinds that nobody had at the launch, and some stand among the released."""
    if not campaign.is_forced:
        campaign.unsupported = sql_support.unsupported_too(campaign.unsupported, campaign.sql, hosts)
    write_targets(campaign, hosts)
    if campaign.rollout is not None:
        campaign.released_count = releasing.count_released(campaign)
    campaign.save(update_fields=["unsupported", "released_count"])
