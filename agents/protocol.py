"""The JSON of osquery's TLS protocol: pure functions from bytes to plain values and back, no I/O.

Agents are many and old and odd. What cannot be read is dropped, never refused: a refused write comes back for ever
and blocks every later answer of its host. Shapes are section 5.4 of the protocol notes.
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from agents.repair import repaired, without_nul

_QUERY_NAME = re.compile(r"([ch])([1-9][0-9]{0,17})\Z")

NOTHING = b"{}"
NODE_INVALID = b'{"node_invalid": true}'
DENYLISTED = "distributed query is denylisted"

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Members = dict[str, msgspec.Raw]
_members = msgspec.json.Decoder(Members)
_rows = msgspec.json.Decoder(list[msgspec.Raw])
_any = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """What a host sent for one campaign. `rows` are its bytes, `stats` a JSON object, status 0 means success."""

    campaign: int
    status: int
    message: str
    stats: bytes
    rows: bytes

    @property
    def is_denylisted(self) -> bool:
        """Say whether the host refuses this SQL because it died running it before."""
        return self.status != 0 and DENYLISTED in self.message


def members_of(body: bytes) -> Members | None:
    """Split a JSON object into its members, undecoded; None for anything that is not an object."""
    for text in (bytes, repaired):
        try:
            return _members.decode(text(body))
        except UNREADABLE:
            continue
    return None


def value_of(raw: msgspec.Raw | None) -> Any:
    """Decode one member; None when it is missing or cannot be read."""
    if raw is None:
        return None
    try:
        return _any.decode(raw)
    except UNREADABLE:
        return None


def node_key_of(members: Members, authorization: bytes) -> object:
    """Give the node key of the body, else that of the header `Authorization: NodeKey …` (5.23 and later)."""
    if "node_key" in members:
        return value_of(members["node_key"])
    scheme, _, key = authorization.partition(b" ")
    return key.strip().decode("latin-1") if scheme.lower() == b"nodekey" else None


def query_name(campaign: int) -> str:
    """Give the name under which SQL is handed to agents: c… for a campaign, h… for housekeeping, which is negative."""
    return f"c{campaign}" if campaign > 0 else f"h{-campaign}"


def answers_of(members: Members) -> list[Answer]:
    """Read a distributed write: one answer for each name that is ours. Names that are not are left out."""
    queries, statuses, messages, stats = (
        _object(members.get(name)) for name in ("queries", "statuses", "messages", "stats")
    )
    answers = []
    for name in {**queries, **statuses}:
        ours = _QUERY_NAME.match(name)
        if ours:
            answers.append(
                Answer(
                    campaign=int(ours[2]) if ours[1] == "c" else -int(ours[2]),
                    status=_status(value_of(statuses.get(name))),
                    message=_text(value_of(messages.get(name))),
                    stats=bytes(stats.get(name, b"{}")),
                    rows=bytes(queries.get(name, b"[]")),
                )
            )
    return answers


def cut(rows: bytes, limit: int) -> tuple[bytes, bool]:
    """Give as many whole rows as fit into `limit` bytes, and whether some did not."""
    if len(rows) <= limit:
        return rows, False
    try:
        elements = _rows.decode(rows)
    except UNREADABLE:
        return b"[]", True
    kept, size = [], 2
    for element in elements:
        size += len(bytes(element)) + 1
        if size > limit:
            break
        kept.append(bytes(element))
    return b"[" + b",".join(kept) + b"]", True


def rows_of(rows: bytes) -> list[dict[str, str]]:
    """Read an answer's rows as text cells. Raise ValueError when even the repaired bytes are not JSON.

    Old agents send "" or null for no rows; others send numbers, nested values or one bare object.
    """
    for text in (without_nul, repaired):
        try:
            value = _any.decode(without_nul(text(rows)))
        except UNREADABLE:
            continue
        elements = [value] if isinstance(value, dict) else value if isinstance(value, list) else []
        return [_row(element) for element in elements]
    raise ValueError(f"rows are not JSON: {rows[:80]!r}")


def _row(element: Any) -> dict[str, str]:
    if not isinstance(element, dict):
        return {"value": _text(element)}
    return {name: _text(value) for name, value in element.items()}


class Stats(NamedTuple):
    """What the query cost on the host: milliseconds and bytes, None where it did not say."""

    wall_ms: int | None
    user_ms: int | None
    system_ms: int | None
    memory_bytes: int | None


def stats_of(stats: bytes) -> Stats:
    """Read an answer's stats, `{}` from agents before 5.8 and for denylisted queries."""
    try:
        value = _any.decode(stats)
    except UNREADABLE:
        value = {}
    members = value if isinstance(value, dict) else {}
    return Stats(*(_amount(members.get(name)) for name in ("wall_time_ms", "user_time", "system_time", "memory")))


def _amount(value: Any) -> int | None:
    try:
        amount = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return amount if 0 <= amount < 2**63 else None


def work(queries: Iterable[tuple[int, str]], accelerate: int = 0) -> bytes:
    """Build the answer that hands out SQL; `accelerate` is in seconds, 0 leaves the agent at its own pace."""
    answer: dict[str, Any] = {"queries": {query_name(campaign): sql for campaign, sql in queries}}
    if accelerate:
        answer["accelerate"] = accelerate
    return _encode(answer)


def config(document: bytes, distributed_interval: int) -> bytes:
    """Build the config that agents are served: what people wrote, which wins, and what live queries need."""
    written = _any.decode(document)
    options = {"disable_distributed": False, "distributed_interval": distributed_interval, **written.get("options", {})}
    return _encode({"schedule": {}, **written, "options": options})


def log_lines_of(members: Members) -> tuple[str, list[bytes]] | None:
    """Read a log batch: its type, `result` or `status`, and its lines, undecoded; None when it is none of these."""
    kind = value_of(members.get("log_type"))
    try:
        lines = _rows.decode(members["data"])
    except (KeyError, *UNREADABLE):
        return None
    return (kind, [bytes(line) for line in lines]) if kind in ("result", "status") else None


def error(sentence: str) -> bytes:
    """Build the answer that makes an agent keep what it has and come again."""
    return _encode({"error": sentence})


def _object(raw: msgspec.Raw | None) -> Members:
    return (members_of(bytes(raw)) or {}) if raw is not None else {}


def _status(value: Any) -> int:
    """Read a status that may be a string or a bool; a missing one means success, one that is no number failure."""
    if value is None or value == "":
        return 0
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 1


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _encode(value).decode()
