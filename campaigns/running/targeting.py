"""Write a campaign's targets, range by range, and put them on the board.

A range is a row; the message that brought us here is only a hint and may come twice or late. Two transactions: first
the targets are written and committed, then they are armed, so that what is on the board always has committed targets.
Ranges of few hosts, of whichever campaigns, share both transactions while many are launched at once.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Func, IntegerField, Max
from django.utils import timezone

from agents.board import hints, operator_verbs
from agents.board.keyspace import RANGE_BITS, NoBoardError
from agents.inventory.schemas import KIND
from agents.models import BUSY, HostQuerySet, online_since
from campaigns import doorbell
from campaigns.launching.control import close_on_board
from campaigns.launching.freezing import SMALL_RANGES
from campaigns.models import Campaign, Target, TargetRange
from campaigns.running.releasing import brakes_of
from campaigns.selecting import frozen, sql_support
from campaigns.states import OPEN_STATES, Status
from fleet import traces

logger = logging.getLogger(__name__)

MANY = 20_000  # new targets after which the planner has to be told
TOGETHER = 50  # ranges at most, so that no campaign stays locked for long

COUNT_ONLINE = """
SELECT target.campaign_id, count(*) FROM campaigns_target AS target JOIN agents_presence AS presence USING (host_id)
WHERE target.campaign_id = ANY(%s) AND (presence.last_seen >= %s OR presence.busy_since >= %s) GROUP BY 1
"""
# Who is meant stands in for {}. Hosts that cannot run the SQL are final at once. Whoever writes targets has locked
# their campaigns, so that those which stand there can be looked for before: ON CONFLICT asks both indexes for each row.
WRITE = """
WITH written AS (
    INSERT INTO campaigns_target (campaign_id, host_id, hostname, state, late, deliveries, error, row_count, ended_at)
    SELECT campaign, id, hostname, CASE WHEN refused.error IS NULL THEN 'waiting' ELSE 'unsupported' END, false, 0,
        coalesce(refused.error, ''), 0, refused.chosen_at
    FROM ({}) AS meant (campaign, id, hostname, platform, version, extensions, digest)
    LEFT JOIN unnest(%s::bigint[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
    AS refused (campaign, chosen_at, platform, version, extensions, error, digest)
    USING (campaign, platform, version, extensions, digest)
    WHERE NOT EXISTS (SELECT FROM campaigns_target AS known WHERE campaign_id = meant.campaign AND host_id = meant.id)
    ORDER BY campaign, id RETURNING campaign_id, state
), counted AS (
    SELECT campaign_id, count(*) AS targets, count(*) FILTER (WHERE state = 'unsupported') AS unable
    FROM written GROUP BY 1
)
UPDATE campaigns_campaign AS campaign SET count_targeted = count_targeted + targets,
    count_unsupported = count_unsupported + unable, count_waiting = count_waiting + targets - unable
FROM counted WHERE campaign.id = counted.campaign_id RETURNING campaign.id, targets
"""
OF_ONE = "SELECT %s::bigint, meant.* FROM ({}) AS meant"  # the hosts' query is the ORM's own and stands in for {}
OF_SEVERAL = """
SELECT meant.campaign, host.id, hostname, platform, osquery_version, extensions, registry_digest
FROM unnest(%s::bigint[], %s::bigint[]) AS meant (campaign, id) JOIN agents_host AS host USING (id)
WHERE host.revoked_at IS NULL
"""
OPEN_HOSTS = f"""
SELECT range.campaign, range.number, array_agg(host_id)
FROM unnest(%s::bigint[], %s::bigint[]) AS range (campaign, number)
JOIN campaigns_campaign AS campaign ON campaign.id = range.campaign
JOIN campaigns_target AS target ON target.campaign_id = range.campaign
    AND host_id >= range.number << {RANGE_BITS} AND host_id < (range.number + 1) << {RANGE_BITS}
WHERE state = ANY(%s) AND hashint8(host_id) <= campaign.released GROUP BY 1, 2
"""  # noqa: S608 - a number of ours
NOTE_ARMED = """
UPDATE campaigns_campaign AS campaign
SET started_at = armed.started_at, ends_at = armed.ends_at, status = armed.status
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::text[])
AS armed (id, started_at, ends_at, status) WHERE campaign.id = armed.id
"""

Place = tuple[int, int]  # a campaign and the number of one of its ranges

# --- ranges -----------------------------------------------------------------------------------------------------


def write_range(campaign_id: int, number: int) -> None:
    """Write and arm one range. Safe to run twice, at once, and after a stop."""
    _write_and_arm(TargetRange.objects.filter(campaign_id=campaign_id, number=number, done_at=None))


def write_small_ranges() -> None:
    """Write and arm every range of few hosts that waits, many in the same two transactions.

    Whichever campaign stands in the way of the others, since it is locked or its rows are refused, is written alone.
    """
    hints.take(SMALL_RANGES)
    last = 0
    while waiting := _small_ranges(last):
        last = waiting[-1].pk
        done: list[TargetRange] = []
        try:
            done = _write_and_arm(waiting, pass_by=True)
        except DatabaseError:
            logger.exception("ranges not written together ranges=%s", len(waiting))
        for range_ in waiting:
            if range_ not in done:
                _write_alone(range_)


def _small_ranges(after: int) -> list[TargetRange]:
    """Give the next ranges of few hosts that wait, of which those with such an id were seen to."""
    small = TargetRange.objects.alias(meant=Func("hosts", function="bit_count", output_field=IntegerField()))
    small = small.filter(pk__gt=after, meant__lte=frozen.SMALL, done_at=None, campaign__status=Status.TARGETING)
    open_ = small.filter(campaign__closed_at=None, campaign__ended_by="")
    return list(open_.order_by("pk").defer("hosts")[:TOGETHER])


def _write_alone(range_: TargetRange) -> None:
    """Write and arm one range, or leave it to the sweep to send it again."""
    try:
        write_range(range_.campaign_id, range_.number)
    except DatabaseError:
        logger.exception("range not written campaign=%s range=%s", range_.campaign_id, range_.number)


def _write_and_arm(waiting: Iterable[TargetRange], *, pass_by: bool = False) -> list[TargetRange]:
    """Write and arm one range, or several of few hosts; give those that were to be done still.

    `pass_by` = leave out campaigns that somebody else has locked.
    """
    began = time.time()
    ranges, written = _write_targets(waiting, pass_by=pass_by)
    if ranges:
        _arm_targets(ranges, began)
    if written > MANY:
        _analyze()  # armed first: who launched waits for that, and no answer is stored within the tenth of a second
    return ranges


def _place(range_: TargetRange) -> Place:
    return range_.campaign_id, range_.number


# --- targets ----------------------------------------------------------------------------------------------------


def _write_targets(waiting: Iterable[TargetRange], *, pass_by: bool = False) -> tuple[list[TargetRange], int]:
    """Write and commit; give the ranges that are to be armed, and how many targets are new."""
    known = {range_.pk: range_.campaign_id for range_ in waiting}
    if not known:
        return [], 0
    with transaction.atomic():
        campaigns = open_campaigns(known.values(), pass_by=pass_by)
        ranges = list(TargetRange.objects.filter(pk__in=known, campaign__in=campaigns, done_at=None))
        if len(ranges) == 1:
            written = write_targets(campaigns[ranges[0].campaign_id], frozen.hosts_of(ranges))
        else:
            meant = [(range_.campaign_id, host) for range_ in ranges for host in frozen.named_in(range_)]
            written = _write(campaigns.values(), OF_SEVERAL, _columns(meant, 2))
    return ranges, written


def write_targets(campaign: Campaign, hosts: HostQuerySet) -> int:
    """Write hosts as targets of a campaign whose lock the caller holds; give how many are new."""
    text, params = hosts.sql_of("pk", "hostname", *KIND)
    return _write([campaign], OF_ONE.format(text), [campaign.pk, *params])


def _write(campaigns: Iterable[Campaign], meant: str, params: Sequence[Any]) -> int:
    """Write targets and counts; give how many are new."""
    refused = [
        (campaign.pk, campaign.chosen_at, *sql_support.Unsupported(*kind))
        for campaign in campaigns
        for kind in campaign.unsupported
    ]
    with connection.cursor() as cursor:
        cursor.execute(WRITE.format(meant), [*params, *_columns(refused, 7)])
        written: dict[int, int] = dict(cursor.fetchall())
    for campaign_id in written:
        doorbell.ring(campaign_id)
    return sum(written.values())


def _columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Turn rows of so many values into what PostgreSQL unnests."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


# --- on the board -----------------------------------------------------------------------------------------------


def _arm_targets(ranges: Iterable[TargetRange], began: float) -> None:
    with transaction.atomic():
        campaigns = open_campaigns(range_.campaign_id for range_ in ranges)
        left = [range_ for range_ in ranges if range_.campaign_id in campaigns]
        hosts = open_hosts(map(_place, left))
        armed = []
        for range_ in left:
            campaign, released = campaigns[range_.campaign_id], hosts[_place(range_)]
            if _arm(campaign, range_.number, released):
                armed.append(range_)
                traces.note(campaign, "range armed", began, range=range_.number, hosts=len(released))
        TargetRange.objects.filter(pk__in=[range_.pk for range_ in armed]).update(done_at=timezone.now(), hosts=None)
        begun = {range_.campaign_id: campaigns[range_.campaign_id] for range_ in armed}
        _note_armed(begun)
    count_online([campaign for campaign in begun.values() if campaign.status != Status.TARGETING])


def _arm(campaign: Campaign, number: int, hosts: Sequence[int]) -> bool:
    """Put one range on the board, where the first begins the campaign's time; say whether it stands there."""
    brakes = brakes_of(campaign, settings.DENYLISTED_BRAKE or None)
    try:
        armed = operator_verbs.arm(campaign.pk, number, hosts, campaign.sql, campaign.timeout, brakes)
    except NoBoardError:
        logger.warning("range not armed campaign=%s range=%s: the board is not whole", campaign.pk, number)
        return False
    if armed is None:
        end_as_closed(campaign)
        return False
    if campaign.started_at is None:
        campaign.started_at, campaign.ends_at = armed
    logger.info("range armed campaign=%s range=%s hosts=%s", campaign.pk, number, len(hosts))
    return True


def _note_armed(campaigns: Mapping[int, Campaign]) -> None:
    """Keep when they began; each runs once its last range is armed, and is over if nobody can run its SQL."""
    undone = TargetRange.objects.filter(campaign__in=campaigns, done_at=None)
    unfinished = set(undone.values_list("campaign_id", flat=True))
    for campaign in campaigns.values():
        if campaign.pk not in unfinished:
            campaign.status = Status.RUNNING
            if not campaign.open_targets and campaign.started_at:  # only then is it of interest when the last one ended
                campaign.complete_if_over(_last_end(campaign) or campaign.started_at)
        doorbell.ring(campaign.pk)
    kept = [(campaign.pk, campaign.started_at, campaign.ends_at, campaign.status) for campaign in campaigns.values()]
    with connection.cursor() as cursor:
        cursor.execute(NOTE_ARMED, _columns(kept, 4))


def count_online(campaigns: Iterable[Campaign]) -> None:
    """Count how many targets are online; first when all are known, since many a campaign ends within seconds.

    Without the campaigns' locks: over many hosts it takes a while, and answers are to be stored meanwhile. When one has
    ended its last count stays: that many were there to be asked.
    """
    counts = {campaign.pk: campaign.count_online for campaign in campaigns}
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(COUNT_ONLINE, [list(counts), online_since(now), now - BUSY])
        online = dict.fromkeys(counts, 0) | dict(cursor.fetchall())
    changed = defaultdict(list)
    for campaign_id, count in online.items() - counts.items():
        changed[count].append(campaign_id)
        doorbell.ring(campaign_id)
    for count, ids in changed.items():
        Campaign.objects.filter(pk__in=ids).update(count_online=count)


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


# --- which ------------------------------------------------------------------------------------------------------


def open_campaigns(ids: Iterable[int], *, pass_by: bool = False) -> dict[int, Campaign]:
    """Lock the campaigns; those that are gone, over or about to end are left out. `pass_by` those that are locked."""
    return {
        pk: campaign for pk, campaign in Campaign.objects.locked(ids, pass_by=pass_by).items() if _is_open(campaign)
    }


def open_campaign(campaign_id: int) -> Campaign | None:
    """Lock the campaign; None when it is gone, over or about to end."""
    return open_campaigns([campaign_id]).get(campaign_id)


def _is_open(campaign: Campaign) -> bool:
    is_ending = campaign.is_closed or bool(campaign.ended_by)
    return not is_ending and campaign.status in (Status.TARGETING, Status.RUNNING)


def open_hosts(ranges: Iterable[Place]) -> defaultdict[Place, list[int]]:
    """Name the hosts of these ranges that are released and not final."""
    found: defaultdict[Place, list[int]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(OPEN_HOSTS, [*_columns(ranges, 2), list(OPEN_STATES)])
        found.update({(campaign, number): hosts for campaign, number, hosts in cursor.fetchall()})
    return found


def _analyze() -> None:
    """Tell the planner about a table that just grew, before it is updated a hundred thousand times."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE campaigns_target")
