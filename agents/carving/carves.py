"""The life of a carve: announced by a row, begun, sent block by block, checked, purged.

A host carves only what it was asked for. The row that its answer brings names the carve (`carve_guid`); the upload
begins later, but may overtake the answer, which waits for the rest of its batch. So one that is not announced is let
in while an answer of this host to such a campaign is still to be stored, and tied to the campaign by that answer:
answer and announcement are stored in one transaction, so there is no moment between. Protocol notes, section 6.
"""

import binascii
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.module_loading import import_string

from agents.carving import store
from agents.carving.models import EMPTY_ARCHIVE, Carve, CarveBlock
from agents.models import Host
from fleet.counting import counted, plural

logger = logging.getLogger(__name__)

MOST_BLOCKS = 200_000
MOST_UNANNOUNCED = 20  # of one host at a time
MOST_OF_AN_ANSWER = 1000
CHECK_SECONDS = 20.0  # longest that one run takes up digests
IDENTIFIER = re.compile(r"[0-9A-Za-z_-]{1,64}")
SHA256 = re.compile(r"[0-9a-f]{64}")
UNBEGUN = ("", "SCHEDULED", "STARTING", "PENDING")

KEEP_ALIVE = "SELECT FROM agents_carve WHERE id = %s FOR KEY SHARE"
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(%s, %s)"
ANNOUNCE = """
INSERT INTO agents_carve AS known (host_id, carve_id, campaign_id, path, announced_at, host_status, host_sha256,
    request_id, received_blocks, received_bytes, sha256, trouble)
SELECT host_id, carve_id, campaign_id, path, announced_at, host_status, host_sha256, '', 0, 0, '', ''
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::text[], %s::timestamptz[], %s::text[], %s::text[])
AS told (host_id, carve_id, campaign_id, path, announced_at, host_status, host_sha256)
WHERE host_status = ANY(%s) OR EXISTS (
    SELECT FROM agents_carve AS begun WHERE begun.host_id = told.host_id AND begun.carve_id = told.carve_id)
ON CONFLICT (host_id, carve_id) DO UPDATE SET
    campaign_id = COALESCE(known.campaign_id, excluded.campaign_id),
    announced_at = COALESCE(known.announced_at, excluded.announced_at),
    path = COALESCE(NULLIF(known.path, ''), excluded.path),
    host_status = COALESCE(NULLIF(excluded.host_status, ''), known.host_status),
    host_sha256 = COALESCE(NULLIF(excluded.host_sha256, ''), known.host_sha256)
"""


class CarveRefusedError(Exception):
    """The sentence says why a carve, or a block of one, is not taken and never will be."""


# --- announced -------------------------------------------------------------------------------------------------


def asks_for_carves(sql: str) -> bool:
    """Say whether SQL can make a host carve: whatever it is, it names the table `carves`."""
    return "carves" in sql.casefold()


@dataclass(frozen=True)
class Announcement:
    """A row of the `carves` table in an answer to a campaign that asked for carves."""

    host: int
    carve_id: str
    campaign: int
    path: str
    at: datetime
    status: str
    sha256: str


def announcements(host: int, campaign: int, rows: Iterable[dict[str, str]], at: datetime) -> list[Announcement]:
    """Read the carves that an answer names. Rows that name none, or oddly, say nothing."""
    found = {}
    for row in rows:
        carve_id = row.get("carve_guid", "")
        if IDENTIFIER.fullmatch(carve_id):
            found[carve_id] = Announcement(
                host=host,
                carve_id=carve_id,
                campaign=campaign,
                path=row.get("path", "")[:10_000],
                at=at,
                status=row.get("status", "")[:40],
                sha256=digest_in(row),
            )
        if len(found) == MOST_OF_AN_ANSWER:
            break
    return list(found.values())


def digest_in(row: dict[str, str]) -> str:
    """Give the digest in a row of the `carves` table, "" when the host has none (yet)."""
    digest = row.get("sha256", "").lower()
    return digest if SHA256.fullmatch(digest) else ""


def announce(told: Iterable[Announcement]) -> None:
    """Keep what answers say of carves, within the caller's transaction.

    A carve that is over on the host makes no new row: it was not asked for here. It completes what is known.
    """
    latest = {(one.host, one.carve_id): one for one in told}
    if not latest:
        return
    fields = ("host", "carve_id", "campaign", "path", "at", "status", "sha256")
    with connection.cursor() as cursor:
        columns = [[getattr(one, name) for one in latest.values()] for name in fields]
        cursor.execute(ANNOUNCE, [*columns, list(UNBEGUN)])


# --- begun -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Start:
    """What an agent says when it begins."""

    carve_id: str
    request_id: str
    block_count: int
    block_size: int
    carve_size: int

    @classmethod
    def read(cls, body: dict[str, Any]) -> "Start":
        """Read the body. Raise CarveRefusedError naming what is missing or odd."""
        carve_id, request_id = body.get("carve_id"), body.get("request_id")
        if not isinstance(carve_id, str) or not IDENTIFIER.fullmatch(carve_id):
            raise CarveRefusedError(f"carve_id {_shown(carve_id)} is not 1 to 64 letters, digits, - or _")
        request = request_id if isinstance(request_id, str) and IDENTIFIER.fullmatch(request_id) else ""
        sizes = (_number(body, name) for name in ("block_count", "block_size", "carve_size"))
        return cls(carve_id, request, *sizes)

    @property
    def objection(self) -> str:
        """Say why it cannot be taken, "" when it can."""
        if self.carve_size > settings.CARVE_MAX_BYTES:
            return f"carve_size {self.carve_size} is above the limit of {counted(settings.CARVE_MAX_BYTES, 'byte')}"
        if self.block_size > settings.CARVE_MAX_BLOCK_BYTES:
            limit = counted(settings.CARVE_MAX_BLOCK_BYTES, "byte")
            return f"block_size {self.block_size} is above the limit of {limit}"
        if self.block_count > MOST_BLOCKS:
            return f"block_count {self.block_count} is above the limit of {MOST_BLOCKS}: choose larger blocks"
        if not (self.block_count - 1) * self.block_size <= self.carve_size <= self.block_count * self.block_size:
            blocks, size = counted(self.block_count, "block"), counted(self.block_size, "byte")
            do = plural(self.block_count, "does", "do")
            return f"{blocks} of {size} {do} not make {counted(self.carve_size, 'byte')}"
        return ""

    def is_that_of(self, carve: Carve) -> bool:
        """Say whether the carve was begun with the same sizes."""
        sizes = (carve.block_count, carve.block_size, carve.carve_size)
        return sizes == (self.block_count, self.block_size, self.carve_size)


def begin(host: Host, start: Start) -> str:
    """Give the session of a carve; beginning again gives the same one. Raise CarveRefusedError."""
    with transaction.atomic():
        carve = _asked_for(host, start.carve_id)
        if carve.session_id is not None:
            objection = "" if start.is_that_of(carve) else f"carve {start.carve_id} was begun with other sizes"
        else:
            objection = carve.trouble = start.objection
            if not objection:
                _open(carve, start)
            carve.save()
    if objection:
        raise CarveRefusedError(objection)
    return str(carve.session_id)


def _asked_for(host: Host, carve_id: str) -> Carve:
    """Give the carve, its row locked. Raise CarveRefusedError when nobody asked this host for one."""
    expected = _expects()(host.pk)  # looked at first: an answer that is stored in between has announced the carve
    known = Carve.objects.select_for_update()
    carve = known.filter(host=host, carve_id=carve_id).first()
    if carve is not None:
        return carve
    if not expected:
        raise CarveRefusedError(f"nobody asked for carve {carve_id}")
    if Carve.objects.filter(host=host, announced_at=None, completed_at=None).count() >= MOST_UNANNOUNCED:
        raise CarveRefusedError(f"more than {MOST_UNANNOUNCED} carves of this host were named by no answer")
    Carve.objects.get_or_create(host=host, carve_id=carve_id)
    return known.get(host=host, carve_id=carve_id)


@cache
def _expects() -> Callable[[int], bool]:
    """Give who knows whether an answer of a host that may name carves is still to be stored."""
    expects: Callable[[int], bool] = import_string(settings.CARVES_EXPECTED_BY)
    return expects


def _open(carve: Carve, start: Start) -> None:
    carve.session_id = secrets.token_urlsafe(32)
    carve.request_id = start.request_id
    carve.block_count, carve.block_size, carve.carve_size = start.block_count, start.block_size, start.carve_size
    carve.begun_at = timezone.now()
    if not start.block_count:
        carve.completed_at, carve.trouble = carve.begun_at, EMPTY_ARCHIVE
    logger.info("carve begun carve=%s host=%s bytes=%s", carve.pk, carve.host_id, carve.carve_size)


# --- sent ------------------------------------------------------------------------------------------------------


def session(session_id: Any) -> Carve:
    """Give the carve of an open session. Raise CarveRefusedError for one that is unknown or expired."""
    named = session_id if isinstance(session_id, str) and len(session_id) <= 64 else ""
    carve = Carve.objects.select_related("host").filter(session_id=named.replace("\0", "")).first()
    if carve is None or carve.host.revoked_at is not None:
        raise CarveRefusedError("the session is unknown")
    if carve.completed_at is None and carve.is_expired(timezone.now()):
        silence = counted(settings.CARVE_SESSION_SECONDS, "second")
        raise CarveRefusedError(f"the session is over: nothing came for {silence}")
    return carve


def take(carve: Carve, body: dict[str, Any]) -> None:
    """Store one block, durably known before this returns; one that is here already stays. Raise CarveRefusedError."""
    number, data = _number(body, "block_id"), _bytes(body.get("data"))
    if number >= (carve.block_count or 0):
        raise CarveRefusedError(f"block_id {number} is not below the block_count of {carve.block_count}")
    announced = _size_of_block(carve, number)
    if len(data) != announced:
        raise CarveRefusedError(f"block {number} has {counted(len(data), 'byte')}, announced were {announced}")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(KEEP_ALIVE, [carve.pk])  # a purge waits for blocks under way; announcements do not
        if not cursor.rowcount:
            raise CarveRefusedError("the session is unknown")
        cursor.execute(ONE_AT_A_TIME, [carve.pk % 2**31, number])  # twins of a resent block
        if not CarveBlock.objects.filter(carve=carve, number=number).exists():
            store.write(carve, number, data)
            CarveBlock.objects.create(carve=carve, number=number, size=len(data))
            _count(carve, len(data))


def _size_of_block(carve: Carve, number: int) -> int:
    """Give a block's bytes: only the last is shorter. A wrong one that were taken would shut out the right one."""
    block_size = carve.block_size or 0
    return min(block_size, (carve.carve_size or 0) - number * block_size)


def _count(carve: Carve, size: int) -> None:
    now = timezone.now()
    row = Carve.objects.filter(pk=carve.pk)
    row.update(received_blocks=F("received_blocks") + 1, received_bytes=F("received_bytes") + size, heard_at=now)
    if row.filter(received_blocks=F("block_count")).update(completed_at=now):
        carve.refresh_from_db()
        if store.is_empty(carve):
            row.update(trouble=EMPTY_ARCHIVE)
        logger.info("carve complete carve=%s host=%s", carve.pk, carve.host_id)


def _number(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise CarveRefusedError(f"{name} {_shown(value)} is not a whole number from 0")
    return value


def _shown(value: Any) -> str:
    """Give a value for a sentence; a list or an object, which may be deep, by its kind."""
    return repr(str(value)[:80]) if not isinstance(value, list | dict) else f"(a {type(value).__name__})"


def _bytes(data: Any) -> bytes:
    try:
        return binascii.a2b_base64(data, strict_mode=True)  # b64decode takes too much padding
    except (TypeError, ValueError, binascii.Error) as error:
        raise CarveRefusedError(f"data is not base64: {error}") from error


# --- kept ------------------------------------------------------------------------------------------------------


def check() -> int:
    """Take the digests of complete carves; give how many. Taking one twice gives the same."""
    checked, ends = 0, time.monotonic() + CHECK_SECONDS
    for carve in Carve.objects.filter(completed_at__isnull=False, checked_at=None).order_by("completed_at")[:100]:
        try:
            digest, trouble = store.digest(carve), EMPTY_ARCHIVE if store.is_empty(carve) else ""
        except OSError as error:
            digest, trouble = "", f"it cannot be read from the storage: {error}"
            logger.exception("carve not read carve=%s", carve.pk)
        Carve.objects.filter(pk=carve.pk).update(sha256=digest, trouble=trouble, checked_at=timezone.now())
        checked += 1
        if time.monotonic() > ends:
            break
    return checked


def purge(carve: Carve) -> None:
    """Delete a carve with all its files, the row last: one that was cut off is finished by the next."""
    with transaction.atomic():
        Carve.objects.select_for_update().filter(pk=carve.pk).first()
        store.delete(carve)
        Carve.objects.filter(pk=carve.pk).delete()
    logger.info("carve purged carve=%s host=%s", carve.pk, carve.host_id)
