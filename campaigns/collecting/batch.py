"""One batch of the stream, applied to the targets and results it speaks of.

Everything happens in memory, under the locks of the campaigns, and is then written in three statements: results,
targets, counts. Entries are looked at in order, so a delivery and an answer of one host are one update.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from django.db import connection

from agents.board import clock, keyspace
from agents.carving import carves
from agents.inventory import housekeeping
from agents.protocol import messages
from campaigns import doorbell
from campaigns.collecting.limits import Fitting, Room, warn_of_cut
from campaigns.models import Campaign, Target
from campaigns.states import ANSWER_STATES, OPEN_STATES, State

logger = logging.getLogger(__name__)

MOST_COLUMNS, LONGEST_COLUMN = 2_000, 256  # that a campaign lists, and characters; rows keep all of theirs
COLUMNS_LEFT_OUT = (
    f"answers have columns that are not listed: a campaign lists {MOST_COLUMNS:,}, with names of {LONGEST_COLUMN}"
    " characters at most; rows keep all of theirs"
)
LONGEST_ERROR = 10_000  # characters

FIND_TARGETS = """
SELECT target.* FROM campaigns_target AS target
JOIN unnest(%s::bigint[], %s::bigint[]) AS entry (campaign_id, host_id) USING (campaign_id, host_id)
"""
WRITE_RESULTS = """
INSERT INTO campaigns_result
    (campaign_id, host_id, hostname, seq, state, rows, row_count, truncated, late, error, received_at)
SELECT campaign_id, host_id, hostname, seq, state, rows::jsonb, row_count, truncated, late, error, received_at
FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::int[], %s::bool[],
    %s::bool[], %s::text[], %s::timestamptz[])
AS sent (campaign_id, host_id, hostname, seq, state, rows, row_count, truncated, late, error, received_at)
ON CONFLICT DO NOTHING
RETURNING campaign_id, seq, row_count
"""
TARGET_COLUMNS = {
    "id": "bigint",
    "state": "text",
    "late": "bool",
    "deliveries": "int",
    "delivered_at": "timestamptz",
    "answered_at": "timestamptz",
    "ended_at": "timestamptz",
    "error": "text",
    "row_count": "int",
    "wall_ms": "bigint",
    "user_ms": "bigint",
    "system_ms": "bigint",
    "memory_bytes": "bigint",
}
WRITE_TARGETS = """
UPDATE campaigns_target AS target SET {sets}
FROM unnest({arrays}) AS new ({names}) WHERE target.id = new.id
""".format(
    sets=", ".join(f"{name} = new.{name}" for name in TARGET_COLUMNS if name != "id"),
    arrays=", ".join(f"%s::{kind}[]" for kind in TARGET_COLUMNS.values()),
    names=", ".join(TARGET_COLUMNS),
)


@dataclass(frozen=True)
class Entry:
    """One entry of the stream, as it lies there.

    Kinds: d delivered, g given back (it was not), a answered, n no answer, b the board began.
    """

    id: str
    fields: dict[bytes, bytes]

    @property
    def kind(self) -> bytes:
        """Give the kind; b"" for an entry that has none."""
        return self.fields.get(b"k", b"")

    @property
    def at(self) -> datetime:
        """Give when Redis took it."""
        return clock.moment(keyspace.entry_ms(self.id))

    @property
    def is_housekeeping(self) -> bool:
        """Say whether the server asked this on its own behalf."""
        return (self._number(b"c") or 0) < 0

    def address(self) -> tuple[int | None, int | None]:
        """Give campaign and host, None where the entry does not say it readably."""
        return self._number(b"c"), self._number(b"h")

    def _number(self, name: bytes) -> int | None:
        value = self.fields.get(name, b"")
        return int(value) if value.removeprefix(b"-").isdigit() and len(value) < 19 else None


@dataclass(frozen=True)
class Sent:
    """A result to be written."""

    target: Target
    kept: Fitting
    truncated: bool
    at: datetime


class Batch:
    """Entries of the stream and the rows they change."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        entries = [entry for entry in entries if entry.kind != b"b"]
        self._entries = [entry for entry in entries if not entry.is_housekeeping]
        self._housekeeping = [entry for entry in entries if entry.is_housekeeping]
        self._campaigns: dict[int, Campaign] = {}
        self._targets: dict[tuple[int, int], Target] = {}
        self._before: dict[int, str] = {}
        self._touched: dict[int, Target] = {}
        self._sent: list[Sent] = []
        self._seqs: dict[int, int] = {}
        self._rooms: dict[int, Room] = {}

    def store(self) -> None:
        """Apply every entry. Raise ValueError or a database error when one of them cannot be stored; then none is."""
        addresses = [_address(entry) for entry in self._entries]
        self._campaigns = Campaign.objects.locked({campaign for campaign, _ in addresses})
        self._targets = _targets_of([address for address in addresses if address[0] in self._campaigns])
        self._before = {target.pk: target.state for target in self._targets.values()}
        for entry, address in zip(self._entries, addresses, strict=True):
            if address[0] in self._campaigns:
                self._apply(entry, address)
            else:
                logger.info("entry dropped entry=%s: campaign %s is gone", entry.id, address[0])
        self._write()
        housekeeping.store(map(_told, self._housekeeping))

    def _apply(self, entry: Entry, address: tuple[int, int]) -> None:
        target = self._targets.get(address)
        if target is None:
            raise ValueError(f"host {address[1]} is no target of campaign {address[0]}")
        apply = {b"d": self._deliver, b"g": self._take_back, b"n": self._give_up, b"a": self._answer}.get(entry.kind)
        if apply is None:
            raise ValueError(f"entries of kind {entry.kind!r} are unknown")
        with _reading():
            apply(entry, target)
        self._touched[target.pk] = target

    def _deliver(self, entry: Entry, target: Target) -> None:
        if target.state == State.WAITING:
            target.state = State.DELIVERED
        target.deliveries = max(target.deliveries, int(entry.fields[b"n"]))
        target.delivered_at = entry.at

    def _take_back(self, entry: Entry, target: Target) -> None:
        """Undo the last delivery, which never left the gateway: alone this leads a target back to `waiting`."""
        deliveries, before = int(entry.fields[b"n"]), entry.fields[b"p"]
        if target.deliveries == deliveries + 1:
            target.deliveries = deliveries
            target.delivered_at = clock.moment(before) if before else None
            if not deliveries and target.state == State.DELIVERED:
                target.state = State.WAITING

    def _give_up(self, entry: Entry, target: Target) -> None:
        if target.state in OPEN_STATES:
            target.state, target.ended_at = State.NO_ANSWER, entry.at
            target.error = f"handed out {target.deliveries} times, nothing came back"

    def _answer(self, entry: Entry, target: Target) -> None:
        if target.state in (*ANSWER_STATES, State.UNSUPPORTED):
            return  # a repeat: the first answer stands
        status, message = int(entry.fields[b"s"]), entry.fields[b"m"].decode("utf-8", "replace")
        rows = messages.rows_of(entry.fields[b"r"])
        kept = self._fit(self._campaigns[target.campaign_id], rows)
        target.late = self._campaigns[target.campaign_id].is_past(entry.at) or (
            target.ended_at is not None and entry.at > target.ended_at
        )
        target.state = state_of(status, message)
        target.error = "" if target.state == State.ANSWERED else _error(status, message)
        target.answered_at = target.ended_at = entry.at
        target.row_count = len(kept.rows)
        target.wall_ms, target.user_ms, target.system_ms, target.memory_bytes = messages.stats_of(entry.fields[b"t"])
        truncated = kept.cut or b"t" in entry.fields.get(b"x", b"")
        self._sent.append(Sent(target, kept, truncated, entry.at))

    def _fit(self, campaign: Campaign, rows: list[dict[str, str]]) -> Fitting:
        """Cut what the campaign has no room for, and let it say so."""
        kept = self._rooms.setdefault(campaign.pk, Room(campaign)).fit(rows)
        if kept.cut:
            warn_of_cut(campaign)
        return kept

    # --- writing ----------------------------------------------------------------------------------------------

    def _write(self) -> None:
        self._write_results()
        touched = sorted(self._touched.values(), key=attrgetter("pk"))
        if touched:
            with connection.cursor() as cursor:
                arrays = [[getattr(target, name) for target in touched] for name in TARGET_COLUMNS]
                cursor.execute(WRITE_TARGETS, arrays)
        for campaign_id, campaign in self._campaigns.items():
            self._count(campaign, [target for target in touched if target.campaign_id == campaign_id])

    def _write_results(self) -> None:
        if not self._sent:
            return
        records = [self._record(sent) for sent in self._sent]
        sizes = {(record[0], record[3]): sent.kept.size for record, sent in zip(records, self._sent, strict=True)}
        with connection.cursor() as cursor:
            cursor.execute(WRITE_RESULTS, [list(column) for column in zip(*records, strict=True)])
            for campaign_id, seq, row_count in cursor.fetchall():
                campaign = self._campaigns[campaign_id]
                campaign.last_seq = max(campaign.last_seq, seq)
                campaign.count_rows += row_count
                campaign.stored_bytes += sizes[campaign_id, seq]
        carves.announce(one for sent in self._sent for one in self._carves(sent))

    def _carves(self, sent: Sent) -> list[carves.Announcement]:
        target, campaign = sent.target, self._campaigns[sent.target.campaign_id]
        if not carves.asks_for_carves(campaign.sql):
            return []
        return carves.announcements(target.host_id, campaign.pk, sent.kept.rows, sent.at)

    def _record(self, sent: Sent) -> tuple[Any, ...]:
        target, campaign = sent.target, self._campaigns[sent.target.campaign_id]
        seq = self._next_seq(campaign)
        _add_columns(campaign, sent.kept.rows)
        return (
            *(campaign.pk, target.host_id, target.hostname, seq, target.state, sent.kept.text, target.row_count),
            *(sent.truncated, target.late, target.error, sent.at),
        )

    def _next_seq(self, campaign: Campaign) -> int:
        """Give the next number of a campaign: its row is locked, so commits become visible in order of seq."""
        self._seqs[campaign.pk] = self._seqs.get(campaign.pk, campaign.last_seq) + 1
        return self._seqs[campaign.pk]

    def _count(self, campaign: Campaign, targets: list[Target]) -> None:
        for target in targets:
            before = self._before[target.pk]
            if before != target.state:
                campaign.move(before, target.state)
        campaign.save_counts("last_seq", "columns", "stored_bytes", "warnings")
        # A late answer among them says nothing of when the last open target became final.
        ended = [target.ended_at for target in targets if target.ended_at and self._before[target.pk] in OPEN_STATES]
        if ended:
            campaign.complete_if_over(max(ended))
        doorbell.ring(campaign.pk)


def state_of(status: int, message: str) -> State:
    """Tell an answer from an error, and an error from a refusal to run this SQL again."""
    if status == 0:
        return State.ANSWERED
    return State.DENYLISTED if messages.DENYLISTED in message else State.FAILED


def _error(status: int, message: str) -> str:
    text = message.replace("\0", "").strip() or f"the host reported status {status} without a message"
    return text[:LONGEST_ERROR]


def _told(entry: Entry) -> housekeeping.Told:
    query, host = _address(entry)
    with _reading():
        status, message = int(entry.fields[b"s"]), entry.fields[b"m"].decode("utf-8", "replace").replace("\0", "")
        return housekeeping.Told(-query, host, status, message, messages.rows_of(entry.fields[b"r"]), entry.at)


@contextmanager
def _reading() -> Iterator[None]:
    """Turn whatever is odd about an entry's fields into a ValueError. Nothing within does I/O."""
    try:
        yield
    except (LookupError, TypeError, ArithmeticError, OSError) as error:
        raise ValueError(f"the entry cannot be read: {error!r}") from error


def _address(entry: Entry) -> tuple[int, int]:
    campaign, host = entry.address()
    if campaign is None or host is None:
        raise ValueError(f"the entry names no campaign and host: {sorted(entry.fields)}")
    return campaign, host


def _targets_of(addresses: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Target]:
    pairs = sorted(set(addresses))
    if not pairs:
        return {}
    campaigns, hosts = zip(*pairs, strict=True)
    found = Target.objects.raw(FIND_TARGETS, [list(campaigns), list(hosts)])
    return {(target.campaign_id, target.host_id): target for target in found}


def _add_columns(campaign: Campaign, rows: list[dict[str, str]]) -> None:
    """List the columns in order of first appearance; let the campaign say so when some are left out."""
    known = dict.fromkeys(campaign.columns)
    for row in rows:
        known.update(dict.fromkeys(row))
    listed = [name for name in known if len(name) <= LONGEST_COLUMN][:MOST_COLUMNS]
    if len(listed) < len(known) and COLUMNS_LEFT_OUT not in campaign.warnings:
        campaign.warnings.append(COLUMNS_LEFT_OUT)
    campaign.columns = listed
