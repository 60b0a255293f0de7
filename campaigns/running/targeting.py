"""Write a campaign's targets, range by range, and put them on the board.

A range is a row; the message that brought us here is only a hint and may come twice or late. Two transactions: first
the targets are written and committed, then they are armed, so that what is on the board always has committed targets.
"""

import logging
import time
from datetime import datetime

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, Max, OuterRef
from django.utils import timezone

from agents.board import clock, operator_verbs
from agents.board.keyspace import RANGE_BITS, RANGE_SIZE, NoBoardError, seat_of
from agents.inventory import schemas
from agents.models import BUSY, Host, HostQuerySet, online_since
from campaigns import doorbell
from campaigns.launching import approvals, quotas, rights
from campaigns.launching.control import close_on_board
from campaigns.models import Campaign, Target, TargetRange
from campaigns.people import scopes
from campaigns.running import releasing
from campaigns.running.releasing import HASH, brakes_of
from campaigns.selecting import frozen, sql_support
from campaigns.selecting.selection import Selection
from campaigns.states import OPEN_STATES, Status
from fleet import traces
from fleet.audit import note
from fleet.audit.spans import spans
from fleet.counting import counted
from fleet.errors import FleetError

logger = logging.getLogger(__name__)

LATE_JOINERS_AT_ONCE = 10_000
MANY = 20_000  # new targets after which the planner has to be told

COUNT_ONLINE = """
SELECT count(*) FROM campaigns_target AS target JOIN agents_presence AS presence USING (host_id)
WHERE target.campaign_id = %s AND (presence.last_seen >= %s OR presence.busy_since >= %s)
"""

# The selected hosts' query is the ORM's own and stands in for {}. Hosts that cannot run the SQL are final at once.
WRITE = """
WITH written AS (
    INSERT INTO campaigns_target (campaign_id, host_id, hostname, state, late, deliveries, error, row_count, ended_at)
    SELECT %s, id, hostname, CASE WHEN refused.error IS NULL THEN 'waiting' ELSE 'unsupported' END, false, 0,
        coalesce(refused.error, ''), 0, CASE WHEN refused.error IS NOT NULL THEN %s END
    FROM ({}) AS meant (id, hostname, platform, version, extensions, digest)
    LEFT JOIN unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
    AS refused (platform, version, extensions, error, digest)
    USING (platform, version, extensions, digest) ORDER BY id
    ON CONFLICT DO NOTHING RETURNING state
)
SELECT state, count(*) FROM written GROUP BY state
"""


def write_range(campaign_id: int, number: int) -> None:
    """Write and arm one range. Safe to run twice, at once, and after a stop."""
    began = time.time()
    written = _write_targets(campaign_id, number)
    if written is None:
        return
    _arm_targets(campaign_id, number, began)
    if written > MANY:
        _analyze()  # armed first: who launched waits for that, and no answer is stored within the tenth of a second


def _write_targets(campaign_id: int, number: int) -> int | None:
    """Write and commit; give how many are new, None when there is nothing to do any more."""
    with transaction.atomic():
        campaign = open_campaign(campaign_id)
        range_ = TargetRange.objects.filter(campaign_id=campaign_id, number=number, done_at=None).first()
        if campaign is None or range_ is None:
            return None
        return _write(campaign, frozen.hosts_of([range_]))


def _write(campaign: Campaign, hosts: HostQuerySet) -> int:
    """Write targets and counts; give how many are new."""
    text, params = hosts.sql_of("pk", "hostname", *schemas.KIND)
    kinds = [sql_support.Unsupported(*kind) for kind in campaign.unsupported]
    refused = [[kind[place] for kind in kinds] for place in range(len(sql_support.Unsupported._fields))]
    with connection.cursor() as cursor:
        cursor.execute(WRITE.format(text), [campaign.pk, campaign.chosen_at, *params, *refused])
        written: dict[str, int] = dict(cursor.fetchall())
    for state, number_written in written.items():
        campaign.move(None, state, number_written)
    if written:
        campaign.save_counts()
        doorbell.ring(campaign.pk)
    return sum(written.values())


def _arm_targets(campaign_id: int, number: int, began: float) -> None:
    with transaction.atomic():
        campaign = open_campaign(campaign_id)
        if campaign is None:
            return
        bits = [seat_of(host).bit for host in open_hosts(campaign, number)]
        brakes = brakes_of(campaign, settings.DENYLISTED_BRAKE or None)
        try:
            armed = operator_verbs.arm(campaign_id, number, bits, campaign.sql, campaign.timeout, brakes)
        except NoBoardError:
            logger.warning("range not armed campaign=%s range=%s: the board is not whole", campaign_id, number)
            return
        if armed is None:
            end_as_closed(campaign)
            return
        TargetRange.objects.filter(campaign_id=campaign_id, number=number).update(done_at=timezone.now(), hosts=None)
        _note_armed(campaign, armed)
        traces.note(campaign, "range armed", began, range=number, hosts=len(bits))
    if campaign.status != Status.TARGETING:
        count_online(campaign)
    logger.info("range armed campaign=%s range=%s hosts=%s", campaign_id, number, len(bits))


def _note_armed(campaign: Campaign, armed: operator_verbs.Armed) -> None:
    """Keep when the campaign began; it runs once its last range is armed, and is over if nobody can run its SQL."""
    if campaign.started_at is None:
        campaign.started_at, campaign.ends_at = armed
    if not campaign.ranges.filter(done_at=None).exists():
        campaign.status = Status.RUNNING
        if not campaign.open_targets:  # only then is it of interest when the last one ended
            campaign.complete_if_over(_last_end(campaign) or armed.started_at)
    campaign.save(update_fields=["started_at", "ends_at", "status"])
    doorbell.ring(campaign.pk)


def count_online(campaign: Campaign) -> None:
    """Count how many targets are online; first when all are known, since many a campaign ends within seconds.

    Without the campaign's lock: over many hosts it takes a while, and answers are to be stored meanwhile. When it has
    ended the last count stays: that many were there to be asked.
    """
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(COUNT_ONLINE, [campaign.pk, online_since(now), now - BUSY])
        online = cursor.fetchone()[0]
    if online != campaign.count_online:
        Campaign.objects.filter(pk=campaign.pk).update(count_online=online)
        doorbell.ring(campaign.pk)


def _last_end(campaign: Campaign) -> datetime | None:
    """Give when the last final target became so; None = none is, or that was before the campaign began."""
    last: datetime | None = Target.objects.filter(campaign=campaign).aggregate(last=Max("ended_at"))["last"]
    return last if last and campaign.started_at and last > campaign.started_at else None


def end_as_closed(campaign: Campaign) -> None:
    """End what the board knows as closed: a stop got so far, and Postgres failed before it could keep it."""
    campaign.ended_by, campaign.ended_reason = "server", "a stop reached the board and could not be stored"
    campaign.save(update_fields=["ended_by", "ended_reason"])
    close_on_board(campaign)
    doorbell.ring(campaign.pk)


def open_campaign(campaign_id: int) -> Campaign | None:
    """Lock the campaign; None when it is gone, over or about to end."""
    campaign = Campaign.objects.locked([campaign_id]).get(campaign_id)
    if campaign is None or campaign.is_closed or campaign.ended_by:
        return None
    return campaign if campaign.status in (Status.TARGETING, Status.RUNNING) else None


def open_hosts(campaign: Campaign, number: int) -> list[int]:
    """Name the hosts of a range that are released and not final."""
    first = number << RANGE_BITS
    targets = Target.objects.filter(campaign=campaign, host_id__gte=first, host_id__lt=first + RANGE_SIZE)
    released = targets.annotate(hash=HASH).filter(state__in=OPEN_STATES, hash__lte=campaign.released)
    return list(released.values_list("host_id", flat=True))


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
        for number in {seat_of(host).number for host in joined}:
            try:
                operator_verbs.release(campaign_id, number, set(joined).intersection(open_hosts(campaign, number)))
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
    _write(campaign, hosts)
    if campaign.rollout is not None:
        campaign.released_count = releasing.count_released(campaign)
    campaign.save(update_fields=["unsupported", "released_count"])


def _analyze() -> None:
    """Tell the planner about a table that just grew, before it is updated a hundred thousand times."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE campaigns_target")
