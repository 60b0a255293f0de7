"""How campaigns go away: by hand or by age. The board first, then the campaign, then its rows in small slices.

A campaign that is deleted is gone for everybody at once. Its targets, results and carves, of which there may be
millions, follow in transactions that lock nothing but the rows they delete; the audit record knows that some are left.
"""

import logging
import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from redis.exceptions import RedisError

from agents.board import clock, operator_verbs
from agents.carving import carves
from agents.carving.models import Carve
from campaigns.analysis import copies
from campaigns.answers import archive, audit
from campaigns.answers.models import AuditRecord
from campaigns.collecting.cursor import stored_until
from campaigns.collecting.models import DeadLetter
from campaigns.models import Campaign, IdempotencyKey
from campaigns.states import OVER
from fleet.audit import note
from fleet.counting import counted
from fleet.errors import ConflictError, UnavailableError

logger = logging.getLogger(__name__)

SECONDS = 0.3  # that one purge takes from the sweeper, and deleting by hand from who waits for it
CAMPAIGNS = 20  # deleted by one purge
# What orders a campaign's rows in an index. Slices follow it: whoever asks for any rows that are left walks past all
# that are deleted and not yet vacuumed.
KEYS = {"campaigns_result": "seq", "campaigns_target": "host_id", "campaigns_deadletter": "id"}
LAST = (
    "SELECT max(key) FROM (SELECT {1} AS key FROM {0} WHERE campaign_id = %s AND {1} > %s ORDER BY 1 LIMIT %s) AS slice"
)
SLICE = "DELETE FROM {0} WHERE campaign_id = %s AND {1} > %s AND {1} <= %s"
FIRST_SLICE, MOST_SLICE = 100, 10_000  # rows; a row may have a byte or a megabyte, so slices grow while they are quick
QUICK_SECONDS = 0.03
OLD_ROWS = 100  # the same of what goes by age alone


def delete(campaign_id: int, by: str) -> None:
    """Delete a campaign. Raise ConflictError while it is open or may get late answers, UnavailableError without Redis.

    What is in the stream for it is stored by then, or dropped by the collector, which finds the campaign gone.
    """
    try:
        with transaction.atomic():
            campaign = Campaign.objects.locked([campaign_id]).get(campaign_id)
            if campaign is None:
                return
            _check(campaign)
            operator_verbs.forget(campaign_id)
            audit.write(campaign, AuditRecord.Stage.DELETING)
            AuditRecord.objects.filter(campaign_id=campaign_id).update(deleted_by=by, deleted_at=timezone.now())
            campaign.delete()
            transaction.on_commit(lambda: copies.forget(campaign_id))
            note("campaign.deleted", who=by, subject=f"campaign {campaign_id}", name=campaign.name, sql=campaign.sql)
    except (RedisError, OSError) as error:
        raise UnavailableError(f"campaign {campaign_id} stays: the board does not answer ({error})") from error
    logger.info("campaign deleted campaign=%s by=%s", campaign_id, by)
    _delete_rows_of(campaign_id, time.monotonic() + SECONDS)


def _check(campaign: Campaign) -> None:
    if not campaign.is_over or campaign.ended_at is None:
        raise ConflictError(f"campaign {campaign.pk} is {campaign.status}: only what has ended can be deleted")
    settled_at = campaign.ended_at + clock.late_time()
    if settled_at >= clock.now():
        raise ConflictError(
            f"campaign {campaign.pk} takes late answers until {settled_at:%Y-%m-%d %H:%M:%S} UTC"
            f" ({counted(settings.LATE_ANSWER_SECONDS, 'second')} after its end): it can be deleted then"
        )
    if settled_at >= stored_until():
        raise ConflictError(f"campaign {campaign.pk} stays until the answers that were sent are stored: try again")


def _delete_rows_of(campaign_id: int, until: float) -> None:
    """Delete rows of a campaign that is gone, slice by slice, as long as there is time."""
    for table, key in KEYS.items():
        if not _delete_from(table, key, campaign_id, until):
            return
    while _purge_first(Carve.objects.filter(campaign_id=campaign_id)):
        if time.monotonic() > until:
            return
    AuditRecord.objects.filter(campaign_id=campaign_id).update(stage=AuditRecord.Stage.DELETED)


def _delete_from(table: str, key: str, campaign_id: int, until: float) -> bool:
    """Delete a campaign's rows of one table; False when time was up first."""
    after, size = -1, FIRST_SLICE
    while True:
        began = time.monotonic()
        last = _delete_slice(table, key, campaign_id, after, size)
        if last is None:
            return True
        now = time.monotonic()
        if now > until:
            return False
        after = last
        size = min(size * 2, MOST_SLICE) if now - began < QUICK_SECONDS else max(size // 2, FIRST_SLICE)


def _delete_slice(table: str, key: str, campaign_id: int, after: int, size: int) -> int | None:
    """Delete the next slice; give the key it ends with, None when there was nothing left."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LAST.format(table, key), [campaign_id, after, size])
        last: int | None = cursor.fetchone()[0]
        if last is not None:
            cursor.execute(SLICE.format(table, key), [campaign_id, after, last])
        return last


def _purge_first(found: QuerySet[Carve]) -> bool:
    """Delete the first carve with its files; False when there is none."""
    carve = found.order_by("pk").first()
    if carve is not None:
        carves.purge(carve)
    return carve is not None


def purge() -> None:
    """Delete campaigns that ended more than CAMPAIGN_RETENTION_DAYS ago and are not pinned, and rows that are left.

    Where answers are archived, a campaign stays until all of its own are. Idempotency keys go after a day. Does what
    fits a third of a second; the next run goes on.
    """
    until = time.monotonic() + SECONDS
    copies.forget_gone()
    left = AuditRecord.objects.filter(stage=AuditRecord.Stage.DELETING).order_by("campaign_id")
    for campaign_id in left.values_list("campaign_id", flat=True):
        _delete_rows_of(campaign_id, until)
        if time.monotonic() > until:
            return
    _delete_rows(IdempotencyKey.objects.filter(created_at__lt=clock.now() - IdempotencyKey.LIFETIME), until)
    if settings.CAMPAIGN_RETENTION_DAYS:
        _delete_old(until)


def _delete_rows(old: QuerySet[Any], until: float) -> None:
    """Delete rows that nothing refers to, the first ones first, slice by slice as long as there is time."""
    while old.filter(pk__in=old.order_by("pk").values("pk")[:OLD_ROWS]).delete()[0]:
        if time.monotonic() > until:
            return


def _delete_old(until: float) -> None:
    before = clock.now() - timedelta(days=settings.CAMPAIGN_RETENTION_DAYS)  # a worker's own clock deletes nothing
    _delete_rows(DeadLetter.objects.filter(created_at__lt=before), until)
    unnamed = Carve.objects.filter(campaign_id=None, begun_at__lt=before)  # no answer ever named them
    while _purge_first(unnamed) and time.monotonic() < until:
        pass
    old = Campaign.objects.filter(status__in=OVER, pinned=False, ended_at__lt=before)
    for campaign_id in archive.where_due(old).order_by("ended_at").values_list("pk", flat=True)[:CAMPAIGNS]:
        try:
            delete(campaign_id, f"retention of {counted(settings.CAMPAIGN_RETENTION_DAYS, 'day')}")
        except ConflictError as error:
            logger.info("campaign kept campaign=%s reason=%s", campaign_id, error.sentence)
        if time.monotonic() > until:
            return
