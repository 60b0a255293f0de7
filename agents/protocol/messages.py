"""The JSON of osquery's TLS protocol: pure functions from bytes to plain values and back, no I/O.

Agents are many and old and odd. What cannot be read is dropped, never refused: a refused write comes back for ever
and blocks every later answer of its host. Shapes are section 5.4 of the protocol notes.
"""

import json
import re
from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from agents.protocol.repair import repaired

MOST_REPAIRED = 2**20  # bytes; stock agents send nothing that needs it but in rows, which the collector repairs
MOST_ANSWERS = 10_000  # in one write; an agent is handed a few queries at a time
DEEPEST = 20  # levels of a value in a row
LONGEST_MESSAGE = 100_000  # characters
_QUERY_NAME = re.compile(r"([ch])([1-9][0-9]{0,17})\Z")
_NODE_KEY = re.compile(rb'"node_key"\s*:\s*("[^"\\]{0,200}")')

NOTHING = b"{}"
NODE_INVALID = b'{"node_invalid": true}'
DENYLISTED = "distributed query is denylisted"

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Members = dict[str, msgspec.Raw]
Buffer = bytes | bytearray | msgspec.Raw
_members = msgspec.json.Decoder(Members)
_rows = msgspec.json.Decoder(list[msgspec.Raw])
_plain_rows = msgspec.json.Decoder(list[dict[str, str]])
_any = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """What a host sent for one campaign. `rows` are its bytes, `stats` a JSON object, status 0 means success.

    `truncated`: there were more rows than are kept.
    """

    campaign: int
    status: int
    message: str
    stats: bytes
    rows: bytes
    truncated: bool = False

    @property
    def is_denylisted(self) -> bool:
        """Say whether the host refuses this SQL because it died running it before."""
        return self.status != 0 and DENYLISTED in self.message


def sound_members_of(body: Buffer) -> Members | None:
    """Split a JSON object into its members, undecoded; None for anything that is none, or would need repair."""
    try:
        return _members.decode(body)
    except (RecursionError, *UNREADABLE):
        return None


def members_of(body: Buffer) -> Members | None:
    """Split a JSON object into its members, undecoded; None for anything that is not an object, even when repaired."""
    members: Members | None = _read(_members, body)
    return members


def value_of(raw: Buffer | None) -> Any:
    """Decode one member; None when it is missing or cannot be read."""
    return None if raw is None else _read(_any, raw)


def _read(decoder: msgspec.json.Decoder[Any], text: Buffer) -> Any:
    """Decode as it is, else repaired once; None when that does not help either, or would hold up everybody."""
    try:
        return decoder.decode(text)
    except RecursionError:
        return None
    except UNREADABLE:
        if len(memoryview(text)) > MOST_REPAIRED:
            return None
    try:
        return decoder.decode(repaired(bytes(text)))
    except UNREADABLE:
        return None


def node_key_of(members: Members, authorization: bytes) -> object:
    """Give the node key of the body, else that of the header `Authorization: NodeKey …` (5.23 and later)."""
    if "node_key" in members:
        return value_of(members["node_key"])
    scheme, _, key = authorization.partition(b" ")
    return key.strip().decode("latin-1") if scheme.lower() == b"nodekey" else None


def node_key_in(body: Buffer) -> Members:
    """Find the node key in a body that is no sound JSON, so that it is known whose body is worth a repair."""
    found = _NODE_KEY.search(body) if body[:1] == b"{" else None
    return {"node_key": msgspec.Raw(found[1])} if found else {}


def query_name(campaign: int) -> str:
    """Give the name under which SQL is handed to agents: c… for a campaign, h… for housekeeping, which is negative."""
    return f"c{campaign}" if campaign > 0 else f"h{-campaign}"


def campaign_of(name: object) -> int | None:
    """Give the campaign a query's name stands for, negative for housekeeping; None for names that are not ours."""
    ours = _QUERY_NAME.match(name) if isinstance(name, str) else None
    if ours is None:
        return None
    return int(ours[2]) if ours[1] == "c" else -int(ours[2])


def answers_of(members: Members) -> list[Answer]:
    """Read a distributed write: one answer for each name that is ours. Names that are not are left out."""
    queries, statuses, messages, stats = (
        _object(members.get(name)) for name in ("queries", "statuses", "messages", "stats")
    )
    truncated = _names(members.get("truncated"))
    ours = ((campaign_of(name), name) for name in {**queries, **statuses})
    return [
        Answer(
            campaign=campaign,
            status=_status(value_of(statuses.get(name))),
            message=_text(value_of(messages.get(name)))[:LONGEST_MESSAGE],
            stats=bytes(stats.get(name, b"{}")),
            rows=bytes(queries.get(name, b"[]")),
            truncated=name in truncated,
        )
        for campaign, name in islice(((campaign, name) for campaign, name in ours if campaign), MOST_ANSWERS)
    ]


def rows_of(rows: bytes) -> list[dict[str, str]]:
    """Read an answer's rows as text cells. Raise ValueError when even the repaired bytes are not JSON, or too deep.

    Old agents send "" or null for no rows; others send numbers, nested values or one bare object.
    """
    if b"\\u0000" not in rows:
        try:
            return _plain_rows.decode(rows)  # as stock agents send them: ten times as fast
        except UNREADABLE:
            pass
    value = _cells(rows)
    elements = [value] if isinstance(value, dict) else value if isinstance(value, list) else []
    return [_row(element) for element in elements]


def _cells(rows: bytes) -> Any:
    try:
        return _any.decode(rows)
    except UNREADABLE:
        pass
    try:  # more patient: numbers of any size stay the text they are
        return json.loads(repaired(rows), parse_int=str, parse_float=str)
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise ValueError(f"rows are not JSON: {rows[:80]!r}") from None


def _row(element: Any) -> dict[str, str]:
    if not isinstance(element, dict):
        return {"value": _cell(element)}
    return {_text(name): _cell(value) for name, value in element.items()}


def _cell(value: Any) -> str:
    if isinstance(value, dict | list) and _is_deeper(value, DEEPEST):
        raise _too_deep()
    return _text(value)


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return not levels or any(_is_deeper(each, levels - 1) for each in inner)


def _too_deep() -> ValueError:
    return ValueError(f"rows nest deeper than {DEEPEST} levels")


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
    return (members_of(raw) or {}) if raw is not None else {}


def _names(raw: msgspec.Raw | None) -> set[str]:
    """Read the list of queries whose rows `agents.gateway.cutting` cut; agents themselves send none."""
    names = value_of(raw)
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def _status(value: Any) -> int:
    """Read a status that may be a string or a bool; a missing one means success, one that is no number failure."""
    if value is None or value == "":
        return 0
    try:
        status = int(value)
    except (TypeError, ValueError, OverflowError):
        return 1
    return status if abs(status) < 2**31 else 1


def _text(value: Any) -> str:
    """Give a value as text without NULs, which PostgreSQL refuses."""
    if value is None:
        return ""
    return value.replace("\0", "") if isinstance(value, str) else _encode(value).decode()


def refusal(sentence: str) -> bytes:
    """Write a sentence for an agent that carves, so that it is surely no JSON."""
    return f"carve refused: {sentence}\n".encode()
