"""A target while a batch is applied to it: all rules of what an entry of the stream does to one.

No model objects: at tens of thousands a second, making and saving those would cost more than everything else.
"""

from collections.abc import Iterable
from datetime import datetime
from operator import attrgetter

import msgspec
from django.db import connection

from agents.board import clock
from agents.protocol import messages
from campaigns.collecting.entry import Entry
from campaigns.models import Campaign
from campaigns.states import ANSWER_STATES, OPEN_STATES, State
from fleet.counting import counted

LONGEST_ERROR = 10_000  # characters
SETTLED = frozenset((*ANSWER_STATES, State.UNSUPPORTED))  # no answer changes these

FIND = """
SELECT target.id, campaign_id, host_id, hostname, state, state, late, deliveries, delivered_at, answered_at, ended_at,
    error, row_count, wall_ms, user_ms, system_ms, memory_bytes
FROM campaigns_target AS target
JOIN unnest(%s::bigint[], %s::bigint[]) AS entry (campaign_id, host_id) USING (campaign_id, host_id)
"""
# The names are those of TargetRow, which becomes JSON as it is.
WRITE = """
UPDATE campaigns_target AS target SET state = new.state, late = new.late, deliveries = new.deliveries,
    delivered_at = new.delivered_at, answered_at = new.answered_at, ended_at = new.ended_at, error = new.error,
    row_count = new.row_count, wall_ms = new.wall_ms, user_ms = new.user_ms, system_ms = new.system_ms,
    memory_bytes = new.memory_bytes
FROM json_to_recordset(%s) AS new (id bigint, state text, late bool, deliveries int, delivered_at timestamptz,
    answered_at timestamptz, ended_at timestamptz, error text, row_count int, wall_ms bigint, user_ms bigint,
    system_ms bigint, memory_bytes bigint)
WHERE target.id = new.id
"""
_encode = msgspec.json.Encoder().encode


class TargetRow(msgspec.Struct, gc=False):
    """One row of `campaigns_target`, in the order of FIND; `before` is the state it had when the batch began."""

    id: int
    campaign_id: int
    host_id: int
    hostname: str
    before: str
    state: str
    late: bool
    deliveries: int
    delivered_at: datetime | None
    answered_at: datetime | None
    ended_at: datetime | None
    error: str
    row_count: int
    wall_ms: int | None
    user_ms: int | None
    system_ms: int | None
    memory_bytes: int | None

    def deliver(self, entry: Entry) -> None:
        """Note a delivery; one that is processed after the answer only fills in its times."""
        deliveries = int(entry.fields[b"n"])
        if self.state == State.WAITING:
            self.state = State.DELIVERED
        self.deliveries = max(self.deliveries, deliveries)
        self.delivered_at = entry.at

    def take_back(self, entry: Entry) -> None:
        """Undo the last delivery, which never left the gateway: alone this leads a target back to `waiting`."""
        deliveries, before = int(entry.fields[b"n"]), entry.fields[b"p"]
        if self.deliveries == deliveries + 1:
            self.deliveries = deliveries
            self.delivered_at = clock.moment(before) if before else None
            if not deliveries and self.state == State.DELIVERED:
                self.state = State.WAITING

    def give_up(self, entry: Entry) -> None:
        """Note that it was handed out as often as allowed and nothing came back."""
        if self.state in OPEN_STATES:
            self.state, self.ended_at = State.NO_ANSWER, entry.at
            self.error = f"handed out {counted(self.deliveries, 'time')}, nothing came back"

    def is_owed(self) -> bool:
        """Say whether an answer counts: the first one stands, and what cannot run the SQL was never asked."""
        return self.state not in SETTLED

    def answer(self, entry: Entry, campaign: Campaign, row_count: int) -> None:
        """Note the answer that counts."""
        status, message = entry.status()
        at = entry.at
        self.late = campaign.is_past(at) or (self.ended_at is not None and at > self.ended_at)
        self.state = state_of(status, message)
        self.error = "" if self.state == State.ANSWERED else _error(status, message)
        self.answered_at = self.ended_at = at
        self.row_count = row_count
        self.wall_ms, self.user_ms, self.system_ms, self.memory_bytes = messages.stats_of(entry.fields[b"t"])


RULES = {b"d": TargetRow.deliver, b"g": TargetRow.take_back, b"n": TargetRow.give_up}


def state_of(status: int, message: str) -> State:
    """Tell an answer from an error, and an error from a refusal to run this SQL again."""
    if status == 0:
        return State.ANSWERED
    return State.DENYLISTED if messages.DENYLISTED in message else State.FAILED


def _error(status: int, message: str) -> str:
    text = message.replace("\0", "").strip() or f"the host reported status {status} without a message"
    return text[:LONGEST_ERROR]


def find(addresses: Iterable[tuple[int, int]]) -> dict[tuple[int, int], TargetRow]:
    """Give the targets of these campaigns and hosts, as far as there are any. The caller holds the campaigns' locks."""
    pairs = sorted(set(addresses))
    if not pairs:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(FIND, [_array(column) for column in zip(*pairs, strict=True)])
        return {(row[1], row[2]): TargetRow(*row) for row in cursor.fetchall()}


def _array(ids: Iterable[int]) -> str:
    """Write ids as PostgreSQL reads an array: one word to its parser, where a list would be one for each."""
    return f"{{{','.join(map(str, ids))}}}"


def write(targets: Iterable[TargetRow]) -> None:
    """Write what became of targets, in order of id."""
    rows = sorted(targets, key=attrgetter("id"))
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(WRITE, [_encode(rows).decode()])
