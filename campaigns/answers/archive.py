"""The archive: when a campaign ends its answers are written as Parquet to a storage that outlives this database.

A dataset for Trino, Spark, ClickHouse or DuckDB: `query=…/day=…/campaign-ID-SEQ.parquet`, all runs of a query below one
folder, each answer in exactly one file. A file begins with the answer that has SEQ and ends where it is large enough:
the room it takes here is bounded. What comes late is a further file. Written once, tried again until it is there,
and said in the campaign while it is not. Nothing here deletes: how long files are kept, the storage knows.
"""

import logging
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import IO, Any

import msgspec
from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage, storages
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from campaigns.analysis.tables import names_of
from campaigns.answers.columnar import parquet
from campaigns.answers.exports import check_there, every_item
from campaigns.answers.models import Archive
from campaigns.models import Campaign
from campaigns.states import OVER
from fleet import traces
from fleet.api.parameters import moment_of

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
FOLDERS = ("query", "day")  # become columns where the dataset is read, in the place of any that is called so
FAILED = "its answers could not be archived: "  # begins what the campaign says
MOST_SAID = 500  # characters of what a library says
AGAIN = timedelta(seconds=30)  # after a failure
TAKEN = timedelta(minutes=10)  # after which whoever began it is taken for dead
AT_ONCE = 5  # campaigns of one run
MISSING = Q(archive=None) | Q(archive__up_to_seq__lt=F("last_seq")) | Q(archive__written_at=None)  # of campaigns
RUNS_AT_ONCE = 2  # a storage that hangs keeps so many threads of the messenger, and no more


def archive() -> None:
    """Write what ended and is not in the archive yet, a few campaigns at a time; others do so beside."""
    if not settings.ARCHIVE_ANSWERS:
        return
    now = timezone.now()
    if Archive.objects.filter(due_at__gt=now + AGAIN).count() >= RUNS_AT_ONCE:
        return  # so many are being written, or their writers died a while ago
    due = _waiting().filter(Q(archive=None) | Q(archive__due_at__lte=now))
    # Those first that were never tried, so that one which cannot be written holds up no other.
    for campaign in due.order_by(F("archive__due_at").asc(nulls_first=True), "ended_at")[:AT_ONCE]:
        if _taken(campaign) and not _try(campaign):
            return  # a storage that is away costs the reading of one campaign, and a traceback, each time


def where_due(campaigns: QuerySet[Campaign]) -> QuerySet[Campaign]:
    """Give those that are in the archive, where they are to be: what is deleted before it is there would be nowhere."""
    return campaigns.exclude(MISSING) if settings.ARCHIVE_ANSWERS else campaigns


def _waiting() -> QuerySet[Campaign]:
    """Give what ended and is not in the archive, or not all of it."""
    return Campaign.objects.filter(MISSING, status__in=OVER)


def failures() -> list[str]:
    """Give what each campaign says whose answers could not be archived when that was tried last."""
    if not settings.ARCHIVE_ANSWERS:
        return []
    told = _waiting().exclude(archive=None).exclude(warnings=[]).values_list("warnings", flat=True)
    return [warning for warnings in told for warning in warnings if warning.startswith(FAILED)]


def _taken(campaign: Campaign) -> bool:
    """Take it on; False when somebody was first."""
    now = timezone.now()
    Archive.objects.get_or_create(campaign=campaign, defaults={"due_at": now})
    return bool(Archive.objects.filter(campaign=campaign, due_at__lte=now).update(due_at=now + TAKEN))


def _try(campaign: Campaign) -> bool:
    """Write it; False when that failed."""
    began = time.time()
    kept = Archive.objects.get(campaign=campaign)
    after = kept.up_to_seq
    try:
        while after < campaign.last_seq:
            up_to = _write(campaign, after)
            if not _noted(kept, after, up_to):
                return True
            after = up_to
    except Exception as error:  # a storage raises what its library has; whatever it is, it is said and tried again
        logger.exception("archive failed campaign=%s", campaign.pk)
        Archive.objects.filter(pk=kept.pk).update(due_at=timezone.now() + AGAIN)
        _say(campaign.pk, f"{FAILED}{' '.join(str(error).split())[:MOST_SAID]}; it is tried again")
        traces.note(campaign, "archive failed", began, error="it is tried again")
        return False
    now = timezone.now()
    Archive.objects.filter(pk=kept.pk).update(written_at=now, due_at=now)
    _say(campaign.pk, "")
    traces.note(campaign, "archive written", began, seq=campaign.last_seq)
    logger.info("archive written campaign=%s seq=%s", campaign.pk, campaign.last_seq)
    return True


def _noted(kept: Archive, after: int, up_to: int) -> bool:
    """Note a file that is there; False when the campaign was deleted meanwhile, or another writer took over."""
    due_at = timezone.now() + TAKEN
    return bool(Archive.objects.filter(pk=kept.pk, up_to_seq=after).update(up_to_seq=up_to, due_at=due_at))


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


def name_of(campaign: Campaign, after: int) -> str:
    """Give where the answers after a seq lie in the storage: a try that died left a file of that name, or none."""
    day = (campaign.ended_at or timezone.now()).strftime("%Y-%m-%d")
    query = campaign.query_id or "none"
    return f"query={query}/day={day}/campaign-{campaign.pk}-{after + 1}.parquet"


def _write(campaign: Campaign, after: int) -> int:
    """Write the answers after a seq as one file, whole before the storage takes it; give up to which seq it goes."""
    storage: Storage = storages["archive"]
    name = name_of(campaign, after)
    names = [*OURS, *names_of(campaign.columns, (*OURS, *FOLDERS))]
    kinds = [*OURS.values(), *["string"] * len(campaign.columns)]
    with tempfile.TemporaryFile() as file:
        part = _Part(campaign, after, file)
        for piece in parquet(names, kinds, part.lines()):
            file.write(piece)
        check_there(campaign)
        file.seek(0)
        # A try that died may have left it. S3 writes over it, and asks for no more than the right to write.
        if storage.get_available_name(name) != name:
            storage.delete(name)
        storage.save(name, File(file, name))
    return part.up_to


class _Part:
    """The answers that one file takes: those after a seq, until it is large enough."""

    def __init__(self, campaign: Campaign, after: int, file: IO[bytes]) -> None:
        self.up_to = after
        self._campaign = campaign
        self._file = file

    def lines(self) -> Iterator[list[Any]]:
        """Walk over their rows. `up_to` is right when this has ended."""
        campaign = self._campaign
        for item in every_item(campaign, self.up_to):
            seq, host, marks = item["seq"], item["host"], (item["late"], item["truncated"])
            ours = [campaign.pk, seq, host["id"], host["hostname"], moment_of(item["received_at"]), *marks]
            for row in msgspec.json.decode(item["rows"]):
                yield [*ours, *map(row.get, campaign.columns)]
            self.up_to = seq
            if self._file.tell() >= settings.ARCHIVE_FILE_BYTES:
                return
        self.up_to = campaign.last_seq
