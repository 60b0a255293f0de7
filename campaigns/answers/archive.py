"""The archive: when a campaign ends its answers are written as Parquet to a storage that outlives this database.

A dataset for Trino, Spark, ClickHouse or DuckDB: `query=…/day=…/campaign-ID-SEQ.parquet`, all runs of a query below one
folder, each answer in exactly one file. What comes late is a further file of its own. Written once, tried again until
it is there, and said in the campaign while it is not. Nothing here deletes: how long files are kept, the storage knows.
"""

import logging
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage, storages
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from campaigns.answers.columnar import parquet
from campaigns.answers.exports import every_item
from campaigns.answers.models import Archive
from campaigns.models import Campaign
from campaigns.states import OVER
from fleet.parameters import moment_of
from fleet.spreadsheets import beside

logger = logging.getLogger(__name__)

OURS = {
    "campaign": "int64",
    "seq": "int64",
    "host_id": "int64",
    "host": "string",
    "received_at": "timestamp",
    "late": "bool",
    "truncated": "bool",
}
FAILED = "its answers could not be archived: "  # begins what the campaign says
AGAIN = timedelta(seconds=30)  # after a failure
TAKEN = timedelta(minutes=10)  # after which whoever began it is taken for dead
AT_ONCE = 5  # campaigns of one run
RUNS_AT_ONCE = 2  # a storage that hangs keeps so many threads of the messenger, and no more


def archive() -> None:
    """Write what ended and is not in the archive yet, a few campaigns at a time; others do so beside."""
    if not settings.ARCHIVE_ANSWERS:
        return
    now = timezone.now()
    if Archive.objects.filter(due_at__gt=now + AGAIN).count() >= RUNS_AT_ONCE:
        return  # so many are being written, or their writers died a while ago
    missing = Q(archive=None) | (Q(archive__up_to_seq__lt=F("last_seq")) & Q(archive__due_at__lte=now))
    unwritten = Q(archive__up_to_seq=0, archive__written_at=None, archive__due_at__lte=now)
    ended = Campaign.objects.filter(missing | unwritten, status__in=OVER)
    for campaign in ended.order_by("ended_at")[:AT_ONCE]:
        if _taken(campaign):
            _try(campaign)


def _taken(campaign: Campaign) -> bool:
    """Take it on; False when somebody was first."""
    now = timezone.now()
    Archive.objects.get_or_create(campaign=campaign, defaults={"due_at": now})
    return bool(Archive.objects.filter(campaign=campaign, due_at__lte=now).update(due_at=now + TAKEN))


def _try(campaign: Campaign) -> None:
    kept = Archive.objects.get(campaign=campaign)
    try:
        if campaign.last_seq > kept.up_to_seq:
            _write(campaign, kept.up_to_seq)
    except Exception as error:  # a storage raises what its library has; whatever it is, it is said and tried again
        logger.exception("archive failed campaign=%s", campaign.pk)
        Archive.objects.filter(pk=kept.pk).update(due_at=timezone.now() + AGAIN)
        _say(campaign.pk, f"{FAILED}{error}; it is tried again")
        return
    now = timezone.now()
    Archive.objects.filter(pk=kept.pk).update(up_to_seq=campaign.last_seq, written_at=now, due_at=now)
    _say(campaign.pk, "")
    logger.info("archive written campaign=%s seq=%s", campaign.pk, campaign.last_seq)


def _say(campaign_id: int, sentence: str) -> None:
    """Let the campaign say that it failed, or no more."""
    with transaction.atomic():
        campaign = Campaign.objects.locked([campaign_id]).get(campaign_id)
        if campaign is None:
            return
        warnings = [warning for warning in campaign.warnings if not warning.startswith(FAILED)]
        warnings += [sentence] if sentence else []
        if warnings != campaign.warnings:
            campaign.warnings = warnings
            campaign.save(update_fields=["warnings"])


def name_of(campaign: Campaign) -> str:
    """Give where its answers lie in the storage, up to its last seq."""
    day = (campaign.ended_at or timezone.now()).strftime("%Y-%m-%d")
    query = campaign.query_id or "none"
    return f"query={query}/day={day}/campaign-{campaign.pk}-{campaign.last_seq}.parquet"


def _write(campaign: Campaign, after: int) -> None:
    """Write the answers after a seq as one file: it is whole here before the storage takes it."""
    storage: Storage = storages["archive"]
    name = name_of(campaign)
    names = [*OURS, *beside(OURS, campaign.columns)]
    kinds = [*OURS.values(), *["string"] * len(campaign.columns)]
    with tempfile.TemporaryFile() as file:
        for piece in parquet(names, kinds, _lines(campaign, after)):
            file.write(piece)
        file.seek(0)
        if storage.exists(name):  # by a try that died before it could note it
            storage.delete(name)
        storage.save(name, File(file, name))


def _lines(campaign: Campaign, after: int) -> Iterator[list[Any]]:
    for item in every_item(campaign, after):
        host, received_at = item["host"], moment_of(item["received_at"])
        ours = [campaign.pk, item["seq"], host["id"], host["hostname"], received_at, item["late"], item["truncated"]]
        for row in msgspec.json.decode(item["rows"]):
            yield [*ours, *map(row.get, campaign.columns)]
