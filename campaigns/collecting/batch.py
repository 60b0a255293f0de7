"""One batch of the stream, applied to the targets and results it speaks of.

Everything happens in memory, under the locks of the campaigns, and is then written in three statements: results,
targets, counts. Entries are looked at in order, so a delivery and an answer of one host are one update.
"""

import io
import logging
from collections.abc import Iterable

from django.conf import settings
from django.db import connection

from agents.carving import carves, lookup
from agents.inventory import housekeeping
from campaigns.collecting import targets
from campaigns.collecting.entry import Entry, reading
from campaigns.collecting.tally import Tally
from campaigns.collecting.targets import RULES, TargetRow
from campaigns.models import Campaign
from fleet import traces

logger = logging.getLogger(__name__)

# COPY costs PostgreSQL a third of an INSERT … SELECT. A result that is there already is no repeat, which the target
# would have told, but an error of the data, and must be heard of.
WRITE_RESULTS = """
COPY campaigns_result
    (campaign_id, host_id, hostname, seq, state, rows, row_count, truncated, late, error, received_at)
FROM STDIN
"""
RESULT = b"%d\t%d\t%s\t%d\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n"
PIECE_BYTES = 2**18


class Batch:
    """Entries of the stream and the rows they change."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        entries = [entry for entry in entries if entry.kind != b"b"]
        self._entries = [entry for entry in entries if not entry.is_housekeeping]
        self._housekeeping = [entry for entry in entries if entry.is_housekeeping]
        self._tallies: dict[int, Tally] = {}
        self._targets: dict[tuple[int, int], TargetRow] = {}
        self._touched: dict[int, TargetRow] = {}
        self._results: list[bytes] = []
        self._carves: list[carves.Announcement] = []

    def store(self) -> None:
        """Apply every entry. Raise ValueError or a database error when one of them cannot be stored; then none is."""
        addresses = [entry.address() for entry in self._entries]
        campaigns = Campaign.objects.locked({campaign for campaign, _ in addresses})
        self._tallies = {pk: Tally(campaign) for pk, campaign in campaigns.items()}
        self._targets = targets.find(address for address in addresses if address[0] in campaigns)
        with reading():
            for entry, address in zip(self._entries, addresses, strict=True):
                if address[0] in campaigns:
                    self._apply(entry, address)
                else:
                    logger.info("entry of a deleted campaign dropped entry=%s campaign=%s", entry.id, address[0])
        self._write()
        if settings.TRACES:
            self._trace(addresses)
        lookup.store(housekeeping.store(map(_told, self._housekeeping)))

    def _trace(self, addresses: list[tuple[int, int]]) -> None:
        """Tell of each campaign what was stored, since a gateway took the first of it."""
        entries: dict[int, list[Entry]] = {}
        for entry, (campaign, _) in zip(self._entries, addresses, strict=True):
            entries.setdefault(campaign, []).append(entry)
        for campaign, tally in self._tallies.items():
            of_it = entries[campaign]
            answers = sum(entry.kind == b"a" for entry in of_it)
            began = of_it[0].at.timestamp()
            traces.note(tally.campaign, "batch stored", began, entries=len(of_it), answers=answers)

    def _apply(self, entry: Entry, address: tuple[int, int]) -> None:
        target = self._targets.get(address)
        if target is None:
            raise ValueError(f"host {address[1]} is no target of campaign {address[0]}")
        self._touched[target.id] = target
        if entry.kind == b"a":
            if target.is_owed():
                self._answer(entry, target)
        elif entry.kind in RULES:
            RULES[entry.kind](target, entry)
        else:
            raise ValueError(f"entries of kind {entry.kind!r} are unknown")

    def _answer(self, entry: Entry, target: TargetRow) -> None:
        tally = self._tallies[target.campaign_id]
        kept = tally.take(entry.rows())
        target.answer(entry, tally.campaign, len(kept.rows))
        truncated = kept.cut or b"t" in entry.fields.get(b"x", b"")
        self._results.append(_record(target, tally.last_seq, kept.text, truncated=truncated))
        if tally.asks_for_carves:
            self._carves += carves.announcements(target.host_id, target.campaign_id, kept.rows, entry.at)

    def _write(self) -> None:
        if self._results:
            with connection.wrap_database_errors, connection.cursor() as cursor:
                cursor.copy_expert(WRITE_RESULTS, io.BytesIO(b"".join(self._results)), PIECE_BYTES)
        carves.announce(self._carves)
        targets.write(self._touched.values())
        for target in self._touched.values():
            self._tallies[target.campaign_id].count(target)
        for tally in self._tallies.values():
            tally.save()


def _record(target: TargetRow, seq: int, rows: bytes, *, truncated: bool) -> bytes:
    """Write a result as a line of COPY's text format."""
    hostname, error = _escaped(target.hostname.encode()), _escaped(target.error.encode())
    rows = rows.replace(b"\\", b"\\\\")  # JSON from our own encoder has no other byte that COPY would take for its own
    state, at = str(target.state).encode(), str(target.answered_at).encode()
    numbers = (target.row_count, truncated, target.late)
    return RESULT % (target.campaign_id, target.host_id, hostname, seq, state, rows, *numbers, error, at)


def _escaped(text: bytes) -> bytes:
    for byte, escape in ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"), (b"\r", b"\\r")):
        text = text.replace(byte, escape)
    return text


def _told(entry: Entry) -> housekeeping.Told:
    query, host = entry.address()
    with reading():
        status, message = entry.status()
        return housekeeping.Told(-query, host, status, message.replace("\0", ""), entry.rows(), entry.at)
