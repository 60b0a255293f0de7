"""Freeze who is meant, range by range, and let a campaign over them begin: at once, or when it was approved."""

from collections.abc import Sequence

from django.db import connection, transaction
from django.db.models.functions import Now

from agents.board import hints
from agents.board.bitmaps import bitmap_of
from agents.board.keyspace import RANGE_BITS
from agents.models import HostQuerySet
from campaigns.launching import estimates, rollout
from campaigns.models import Campaign, TargetRange
from campaigns.selecting import frozen, sql_support
from campaigns.states import Status
from fleet.audit import note
from fleet.audit.spans import spans
from fleet.queue import enqueue

# The selected hosts' query is the ORM's own and stands in for {}; its values travel as parameters.
BY_RANGE = f"SELECT id >> {RANGE_BITS}, array_agg(id) FROM ({{}}) AS meant (id) GROUP BY 1 ORDER BY 1"  # noqa: S608

SMALL_RANGES = "campaigns.write_small_ranges"

Ranges = dict[int, list[int]]  # ids of hosts by number of their range


def ranges_of(hosts: HostQuerySet) -> Ranges:
    """Name the hosts by range of ids: one question, so that whoever counts them counts those."""
    text, params = hosts.sql_of("pk")
    with connection.cursor() as cursor:
        cursor.execute(BY_RANGE.format(text), params)
        return dict(cursor.fetchall())


def freeze(campaign: Campaign, ranges: Ranges) -> None:
    """Save the campaign with who is meant. Its status says whether it begins."""
    _save(campaign, ranges, _rows_of(campaign, ranges))


def begin(campaign: Campaign, ranges: Ranges) -> None:
    """Save the campaign with who is meant, begun: each row once. Raise BadInputError when none can run it."""
    rows = _rows_of(campaign, ranges)
    _make_ready(campaign, rows)
    _save(campaign, ranges, rows)
    _enqueue(campaign, rows)


def begin_frozen(campaign: Campaign) -> None:
    """Let a campaign whose hosts are frozen begin. Raise BadInputError when none can run it."""
    rows = list(campaign.ranges.all())
    _make_ready(campaign, rows)
    campaign.save(update_fields=["unsupported", "warnings", "goes_alone", "status", "waits_for", *rollout.BEGUN])
    campaign.ranges.update(sent_at=Now())
    _enqueue(campaign, rows)


def _rows_of(campaign: Campaign, ranges: Ranges) -> list[TargetRange]:
    return [TargetRange(campaign=campaign, number=number, hosts=bitmap_of(ids)) for number, ids in ranges.items()]


def _make_ready(campaign: Campaign, rows: Sequence[TargetRange]) -> None:
    """Fix who cannot run it and who goes first. Raise BadInputError when none can run it."""
    hosts = frozen.hosts_of(rows)
    refused, warnings = sql_support.support(campaign.sql, hosts, forced=campaign.is_forced)
    campaign.unsupported = refused
    campaign.warnings += [warning for warning in warnings if warning not in campaign.warnings]
    campaign.goes_alone = estimates.goes_alone(campaign.sql)
    campaign.status, campaign.waits_for = Status.TARGETING, ""
    rollout.begin(campaign, sql_support.able(hosts, refused))


def _save(campaign: Campaign, ranges: Ranges, rows: Sequence[TargetRange]) -> None:
    """Save campaign and rows, and note exactly who is meant."""
    campaign.expected = sum(map(len, ranges.values()))
    campaign.save()
    TargetRange.objects.bulk_create(rows)
    hosts = {str(number): spans(ids) for number, ids in sorted(ranges.items())}
    subject, by = f"campaign {campaign.pk}", campaign.created_by
    note("campaign.hosts_frozen", by=by, subject=subject, count=campaign.expected, hosts_by_range=hosts)


def _enqueue(campaign: Campaign, rows: Sequence[TargetRange]) -> None:
    """Let workers write them: each range of many hosts by itself, and of the others all that wait by then."""
    for row in rows:
        if frozen.count_in(row) > frozen.SMALL:
            enqueue("campaigns.write_range", campaign.pk, row.number)
    if any(frozen.count_in(row) <= frozen.SMALL for row in rows):
        transaction.on_commit(_hint_at_small_ranges)


def _hint_at_small_ranges() -> None:
    if hints.is_first(SMALL_RANGES):
        enqueue(SMALL_RANGES)
