"""The JSON of agents: what they send, however odd, is read or dropped, and never raises."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import protocol
from agents.repair import repaired, without_nul

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.just("c1"), inner, max_size=4),
    max_leaves=12,
)
members = ("queries", "statuses", "messages", "stats", "node_key")


def answers(body: bytes) -> list[protocol.Answer]:
    read = protocol.members_of(body)
    return [] if read is None else protocol.answers_of(read)


def test_a_write_of_a_current_agent_is_read_whole() -> None:
    body = (
        b'{"queries":{"c7":[{"pid":"1"}]},"statuses":{"c7":0},"messages":{"c7":""},'
        b'"stats":{"c7":{"wall_time_ms":3}},"node_key":"k"}'
    )

    assert answers(body) == [protocol.Answer(7, 0, "", b'{"wall_time_ms":3}', b'[{"pid":"1"}]')]


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ("{}", 0),
        ('{"c7": "0"}', 0),
        ('{"c7": "1"}', 1),
        ('{"c7": true}', 1),
        ('{"c7": false}', 0),
        ('{"c7": null}', 0),
        ('{"c7": "broken"}', 1),
        ('{"c7": 2}', 2),
        ('"odd"', 0),
    ],
)
def test_statuses_may_be_missing_strings_or_bools(statuses: str, status: int) -> None:
    body = f'{{"queries": {{"c7": []}}, "statuses": {statuses}}}'.encode()

    assert [answer.status for answer in answers(body)] == [status]


@pytest.mark.parametrize("name", ["7", "c", "c0", "c-1", "cx", "c7 ", "C7", "c" + "9" * 30, "detail"])
def test_names_that_are_not_ours_are_left_out(name: str) -> None:
    assert answers(json.dumps({"queries": {name: []}}).encode()) == []


@pytest.mark.parametrize("body", [b"", b"null", b"1", b'"ok"', b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}'])
def test_a_body_that_is_no_object_is_nothing(body: bytes) -> None:
    assert protocol.members_of(body) is None


@pytest.mark.parametrize(
    ("sent", "rows"),
    [
        (b'""', []),
        (b"null", []),
        (b"[]", []),
        (b'{"a": "1"}', [{"a": "1"}]),
        (b'[{"a": 1, "b": null, "c": true, "d": [1]}]', [{"a": "1", "b": "", "c": "true", "d": "[1]"}]),
        (b'["x"]', [{"value": "x"}]),
        (b'[{"a": "x\\u0000y"}]', [{"a": "xy"}]),
        (b'[{"a": "x\\\\u0000y"}]', [{"a": "x\\u0000y"}]),
        (b'[{"a": "\xff"}]', [{"a": "\ufffd"}]),
        (b'[{"a": "\\ud800"}, {"a": "\\ud83d\\ude00"}]', [{"a": "\ufffd"}, {"a": "\U0001f600"}]),
        (b'[{"a": "tab\there"}]', [{"a": "tab\ufffdhere"}]),
    ],
)
def test_odd_rows_are_read_and_one_bad_cell_costs_no_neighbour(sent: bytes, rows: list[dict[str, str]]) -> None:
    assert protocol.rows_of(sent) == rows


def test_rows_that_are_not_json_even_after_repair_are_refused_with_their_beginning() -> None:
    with pytest.raises(ValueError, match="rows are not JSON: b'nonsense'"):
        protocol.rows_of(b"nonsense")


def test_rows_above_the_limit_are_cut_between_rows() -> None:
    rows = json.dumps([{"n": str(n)} for n in range(100)]).encode()

    kept, truncated = protocol.cut(rows, 200)

    assert truncated
    assert len(kept) <= 200
    assert json.loads(kept) == [{"n": str(n)} for n in range(len(json.loads(kept)))]
    assert protocol.cut(rows, len(rows)) == (rows, False)


def test_stats_may_be_strings_missing_or_nonsense() -> None:
    assert protocol.stats_of(b'{"wall_time_ms": "3", "user_time": null, "memory": 99999999999999999999}') == (
        3,
        None,
        None,
        None,
    )
    assert protocol.stats_of(b"[]") == protocol.stats_of(b"{") == (None, None, None, None)


def test_work_and_errors_are_objects_agents_understand() -> None:
    assert json.loads(protocol.work([(7, "SELECT 1")])) == {"queries": {"c7": "SELECT 1"}}
    assert json.loads(protocol.work([(7, "SELECT 1")], 60))["accelerate"] == 60
    assert json.loads(protocol.error("later")) == {"error": "later"}
    assert "error" not in json.loads(protocol.config(b"{}", 2))


@settings(max_examples=3000, deadline=None)
@given(st.dictionaries(st.sampled_from(members), anything))
def test_every_object_is_read_without_an_error(body: dict[str, object]) -> None:
    for answer in answers(json.dumps(body).encode()):
        protocol.stats_of(answer.stats)
        assert all(isinstance(cell, str) for row in protocol.rows_of(answer.rows) for cell in row.values())


@settings(max_examples=3000, deadline=None)
@given(st.binary(max_size=200) | st.builds(lambda text: b'{"queries":{"c1":[{"a":"' + text + b'"}]}}', st.binary()))
def test_no_bytes_raise(body: bytes) -> None:
    for answer in answers(body):
        try:
            rows = protocol.rows_of(answer.rows)
        except ValueError:
            continue
        assert "\0" not in msgspec.json.encode(rows).decode()


@given(st.text())
def test_repair_leaves_sound_json_alone(text: str) -> None:
    body = json.dumps({"a": text}).encode() if "\ud800" <= max(text, default="") <= "\udfff" else None
    sound = json.dumps({"a": text.encode("utf-8", "replace").decode()}).encode()

    assert json.loads(repaired(sound)) == json.loads(sound)
    assert json.loads(without_nul(sound))["a"] == json.loads(sound)["a"].replace("\0", "")
    assert body is None or json.loads(repaired(body))
