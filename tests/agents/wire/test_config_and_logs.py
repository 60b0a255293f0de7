"""What agents are configured with, and what they log, as bytes on connections (protocol 8, 33 and 35 to 37)."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.board import redis_client
from agents.enrolling import config_document
from tests.agents.wire.conftest import HOST, Wire, at_once, request

Listen = Callable[..., Wire]


# --- config ------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(wire: Wire, transactional_db: None) -> Callable[[Any], Any]:
    """Keep a document, give what agents are served then: the bytes and the object."""

    def keep(document: Any) -> tuple[bytes, dict[str, Any]]:
        config_document.keep(document, by="alex")
        wire.refresh()
        reply = wire.send(request("config", {"node_key": wire.key()}))
        return reply.body, reply.answer

    return keep


def document_of(size: int) -> dict[str, Any]:
    """Give a document that is served with so many bytes."""
    served = len(b'{"schedule":{},"views":{"v":""},"options":{"disable_distributed":false,"distributed_interval":10}}')
    return {"views": {"v": "x" * (size - served)}}


@pytest.mark.django_db(transaction=True)
def test_the_largest_config_that_is_kept_is_one_that_every_agent_takes(served: Callable[[Any], Any]) -> None:
    body, answer = served(document_of(config_document.MOST_BYTES - 1))

    assert len(body) == config_document.MOST_BYTES - 1
    assert answer["options"]["disable_distributed"] is False


PACKS = {
    "a_b": {"queries": {"c_d": {"query": "SELECT 1", "interval": "60"}, "my_epoch": {"query": "SELECT 2"}}},
    "a": {"queries": {"b_c": {"query": "SELECT 3", "interval": 60, "snapshot": "true"}}, "discovery": ["SELECT 1"]},
}
DOCUMENTS: list[dict[str, Any]] = [
    {"packs": PACKS},
    {"options": {"custom_team": "blue", "not_an_option_of_this_version": True, "logger_tls_period": "10"}},
    {"decorators": {"load": ["SELECT 'é 日本 \U0001f600 \\ / \x7f' AS x"]}},
    {"unknown": [None, 1.5, {"a": []}], "file_paths": {"etc": ["/etc/%%"]}},
    {"views": {"v": 'SELECT "a""b" FROM t -- \\n\n\t'}},
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_is_served_as_it_was_written(served: Callable[[Any], Any], document: dict[str, Any]) -> None:
    _, answer = served(document)

    options = {"disable_distributed": False, "distributed_interval": 10, **document.get("options", {})}
    assert answer == {"schedule": {}, **document, "options": options}


@pytest.mark.django_db(transaction=True)
def test_an_option_that_was_taken_out_is_served_no_more(served: Callable[[Any], Any]) -> None:
    served({"options": {"logger_tls_period": 99, "disable_distributed": True}})

    _, answer = served({"options": {}})

    assert answer["options"] == {"disable_distributed": False, "distributed_interval": 10}


def test_before_any_config_is_known_an_agent_keeps_the_one_it_has(wire: Wire) -> None:
    wire.gateway.board.config = None

    assert set(wire.post("config", {"node_key": wire.key()})) == {"error"}


def test_a_config_that_cannot_be_read_wipes_no_schedule(wire: Wire) -> None:
    """It was put on the board by something else than the form."""
    for text in (b"", b"{", b"[]", b'{"options": 5}', b"1"):
        redis_client.client().set("board:config", text)
        redis_client.client().incr("board:version")
        wire.refresh()

        answer = wire.post("config", {"node_key": wire.key()})

        assert set(answer) == {"error"} or answer["options"]["disable_distributed"] is False


# --- log ---------------------------------------------------------------------------------------------------------

TIMES = {"hostIdentifier": "web-1", "calendarTime": "Wed Sep  9 12:34:56 2026 UTC", "unixTime": 1788957296}
LINES: list[dict[str, Any]] = [
    {"name": "up", **TIMES, "epoch": 0, "counter": 3, "numerics": False, "columns": {"a": "1"}, "action": "added"},
    {"name": "up", **TIMES, "counter": 1, "columns": {"a": "1"}, "action": "removed", "decorations": {"d": "x"}},
    {"name": "up", **TIMES, "diffResults": {"removed": [], "added": []}, "team": "top level"},
    {"name": "pack_a_b_c_epoch", **TIMES, "snapshot": [{"a": "1"}, {}], "action": "snapshot"},
    {"name": "pack/a/counter", **TIMES, "columns": {"a": 1.50, "b": 2}, "numerics": True, "action": "snapshot"},
    {**TIMES, "unixTime": -1, "calendarTime": "Thu Jan  1 00:00:00 1970 UTC", "name": "past"},
    {**TIMES, "unixTime": 99_999_999_999, "name": "future"},
    {**TIMES, "unixTime": "1788957296", "severity": "2", "line": "12", "message": "old", "version": "2.1.2"},
    {**TIMES, "severity": 0, "filename": "x.cpp", "line": 12, "message": "a\nb", "version": "5.23.0"},
    {},
]


class Logger:
    """What a host logs, through gateways that share a file."""

    def __init__(self, listen: Listen, folder: Path) -> None:
        self.path = folder / "osquery.ndjson"
        self._listen = listen
        self.wire = self.another()

    def another(self) -> Wire:
        """Serve one gateway more."""
        return self._listen(log_sink=f"file://{self.path}")

    def batch(self, *lines: Any, kind: str = "result") -> bytes:
        """Give the bytes of a body."""
        return json.dumps({"node_key": self.wire.key(), "log_type": kind, "data": lines}).encode()

    def kept(self) -> list[Any]:
        """Give the lines that are in the file."""
        entries = [json.loads(line) for line in self.path.read_bytes().splitlines()] if self.path.exists() else []
        assert all(entry["host_id"] == HOST for entry in entries)
        return [entry["line"] for entry in entries]


@pytest.fixture
def logger(listen: Listen, tmp_path: Path) -> Logger:
    """Give a host that logs to a file."""
    return Logger(listen, tmp_path)


@pytest.mark.parametrize("kind", ["result", "status"])
def test_lines_of_every_form_in_one_batch_are_kept_as_they_came(logger: Logger, kind: str) -> None:
    assert logger.wire.post("log", logger.batch(*LINES, kind=kind)) == {}

    assert logger.kept() == LINES


def test_lines_come_repeated_out_of_order_and_in_other_batches(logger: Logger) -> None:
    for batch in (LINES[4:], [], LINES[:6], [*reversed(LINES)], LINES[:1] * 3):
        assert logger.wire.post("log", logger.batch(*batch)) == {}

    assert logger.kept() == [*LINES[4:], *LINES[:4]]


def test_a_packed_batch_and_the_same_unpacked_are_one(logger: Logger) -> None:
    packed = gzip.compress(logger.batch(*LINES))

    assert logger.wire.post("log", packed, b"Content-Encoding: gzip") == {}
    assert logger.wire.post("log", logger.batch(*LINES)) == {}

    assert logger.kept() == LINES


def test_a_batch_on_several_connections_of_two_gateways_at_once_is_kept_once(logger: Logger) -> None:
    lines = [{"name": "up", "columns": {"a": str(number)}} for number in range(1000)]
    content = request("log", logger.batch(*lines))

    replies = at_once([logger.wire, logger.another()] * 4, content)

    assert all(reply.answer == {} or set(reply.answer) == {"error"} for reply in replies)
    assert any(reply.answer == {} for reply in replies)
    assert logger.wire.send(content).answer == {}, "who was told to come again does"
    assert logger.kept() == lines


@pytest.mark.parametrize("kind", ['"other"', "5", "null", '["result"]'])
def test_lines_of_an_unknown_kind_are_taken_and_dropped(logger: Logger, kind: str) -> None:
    body = b'{"node_key":"%s","log_type":%s,"data":[{"a":1}]}' % (logger.wire.key().encode(), kind.encode())

    assert logger.wire.post("log", body) == {}

    assert logger.kept() == []


def test_odd_lines_do_not_cost_their_neighbours(logger: Logger) -> None:
    """Text of no encoding, halves of surrogate pairs, NUL, scalars and depth: a line is kept as the JSON it is."""
    odd = b'{"a":"1"},{"b":"\xff"},{"c":"\\ud800"},{"d":"\\u0000"},5,null,"x",[[[]]],{"e":\n1},{"z":"2"}'
    body = b'{"node_key":"%s","log_type":"result","data":[%s]}' % (logger.wire.key().encode(), odd)

    assert logger.wire.post("log", body) == {}

    kept = logger.kept()
    assert kept[0] == {"a": "1"}
    assert kept[-2:] == [{"e": 1}, {"z": "2"}]
    assert len(kept) == 10


def test_lines_that_cannot_be_kept_come_again(logger: Logger) -> None:
    logger.path.mkdir()
    assert set(logger.wire.post("log", logger.batch(*LINES))) == {"error"}

    logger.path.rmdir()

    assert logger.wire.post("log", logger.batch(*LINES)) == {}
    assert logger.kept() == LINES
