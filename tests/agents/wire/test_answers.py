"""What hosts say, however odd: kept as far as it is owed, never an error, never half a body (protocol 8, 18 to 32)."""

import json
from typing import Any

import pytest

from agents.board import operator_verbs, rebuilding
from agents.protocol import messages
from agents.protocol.node_key import NodeKeys
from tests.agents.wire.conftest import HOST, Wire, entries


def stored(wire: Wire, members: bytes) -> list[dict[str, str]]:
    """Write these members for campaign 1, which is owed; give the rows the collector reads."""
    wire.arm(1)
    assert wire.write(members) == {}
    (entry,) = entries()
    return messages.rows_of(entry[b"r"])


def status_of(wire: Wire, members: bytes) -> tuple[int, str]:
    """Write these members for campaign 1; give the status and message that lie in the stream."""
    wire.arm(1)
    assert wire.write(b'"queries":{"c1":[]}%s' % members) == {}
    (entry,) = entries()
    return int(entry[b"s"]), entry[b"m"].decode()


@pytest.mark.parametrize(
    ("sent", "rows"),
    [
        (b'""', []),
        (b"null", []),
        (b"[]", []),
        (b"{}", [{}]),
        (b'{"a":"1"}', [{"a": "1"}]),
        (b"5", []),
        (b'"text"', []),
        (b"[[],{},null,5]", [{"value": "[]"}, {}, {"value": ""}, {"value": "5"}]),
        (b'[{"a":1,"b":1.5,"c":true,"d":null,"e":[1],"f":{"g":"h"}}]', None),
        (b'[{"a":"1"},{"b":"2"}]', [{"a": "1"}, {"b": "2"}]),
        (b'[{"a":99999999999999999999999}]', [{"a": "99999999999999999999999"}]),
        (b'[{"a":1e999},{"a":NaN}]', [{"a": "1e999"}, {"a": "NaN"}]),
        (b'[{"a":"\xff\xfe"},{"a":"\xc3\xa9"}]', [{"a": "\ufffd\ufffd"}, {"a": "é"}]),
        (b'[{"a":"\\ud800"},{"a":"\\ud83d\\ude00"}]', [{"a": "\ufffd"}, {"a": "\U0001f600"}]),
        (b'[{"a":"\xed\xa0\x80"},{"a":"1"}]', [{"a": "\ufffd\ufffd\ufffd"}, {"a": "1"}]),
        (b'[{"a":"x\\u0000y"},{"a":"x\\\\u0000y"}]', [{"a": "xy"}, {"a": "x\\u0000y"}]),
        (b'[{"a":"x\x00y\x1f"},{"a":"1"}]', [{"a": "x\ufffdy\ufffd"}, {"a": "1"}]),
        (b'[{"a":"1","a":"2"}]', [{"a": "2"}]),
        (b'[{"\xff":"1"}]', [{"\ufffd": "1"}]),
        (b'[{"a":"%s"}]' % (b"x" * 500_000), [{"a": "x" * 500_000}]),
    ],
)
def test_odd_rows_are_kept(wire: Wire, sent: bytes, rows: list[dict[str, str]] | None) -> None:
    expected = [{"a": "1", "b": "1.5", "c": "true", "d": "", "e": "[1]", "f": '{"g":"h"}'}] if rows is None else rows

    assert stored(wire, b'"queries":{"c1":%s},"statuses":{"c1":0}' % sent) == expected


@pytest.mark.parametrize(
    ("members", "status"),
    [
        (b"", 0),
        (b',"statuses":{}', 0),
        (b',"statuses":{"c1":"0"}', 0),
        (b',"statuses":{"c1":"1"}', 1),
        (b',"statuses":{"c1":true}', 1),
        (b',"statuses":{"c1":false}', 0),
        (b',"statuses":{"c1":null}', 0),
        (b',"statuses":{"c1":""}', 0),
        (b',"statuses":{"c1":19}', 19),
        (b',"statuses":{"c1":"broken"}', 1),
        (b',"statuses":{"c1":[0]}', 1),
        (b',"statuses":{"c1":1e400}', 0),
        (b',"statuses":{"c1":99999999999999999999999}', 1),
        (b',"statuses":[1]', 0),
        (b',"statuses":"x","messages":5,"stats":null', 0),
    ],
)
def test_statuses_may_be_anything(wire: Wire, members: bytes, status: int) -> None:
    assert status_of(wire, members)[0] == status


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b'"no such table: x"', "no such table: x"),
        (b'"\xff\\ud800\\u0000"', "\ufffd\ufffd"),
        (b"null", ""),
        (b"5", "5"),
        (b'["a"]', '["a"]'),
    ],
)
def test_messages_may_be_anything(wire: Wire, sent: bytes, message: str) -> None:
    assert status_of(wire, b',"statuses":{"c1":1},"messages":{"c1":%s}' % sent) == (1, message)


@pytest.mark.parametrize("sent", [b"{}", b"[]", b"null", b'{"wall_time_ms":"3","new":1}', b'{"memory":-1}', b"5"])
def test_stats_may_be_anything(wire: Wire, sent: bytes) -> None:
    stored(wire, b'"queries":{"c1":[]},"stats":{"c1":%s}' % sent)

    assert all(value is None or value >= 0 for value in messages.stats_of(entries()[0][b"t"]))


def test_a_status_without_rows_is_an_answer(wire: Wire) -> None:
    assert stored(wire, b'"statuses":{"c1":1},"messages":{"c1":"distributed query is denylisted"}') == []


def test_rows_beside_a_failure_are_kept(wire: Wire) -> None:
    assert stored(wire, b'"queries":{"c1":[{"a":"1"}]},"statuses":{"c1":1}') == [{"a": "1"}]


def test_an_answer_as_another_copy_of_it_came_first_stays_the_first(wire: Wire) -> None:
    assert stored(wire, b'"queries":{"c1":[{"a":"first"}]}') == [{"a": "first"}]

    assert wire.write(b'"queries":{"c1":[{"a":"second"}]}') == {}

    assert len(entries()) == 1


def test_several_answers_in_one_write_are_taken_as_far_as_each_is_owed(wire: Wire) -> None:
    wire.arm(1, 2, 3)
    operator_verbs.arm(4, 0, [HOST + 1], "SELECT 4", 60)
    operator_verbs.arm(5, 0, [HOST], "SELECT 5", 60)
    operator_verbs.forget(5)
    wire.write(b'"queries":{"c3":[]}')

    names = b'"c1":[],"c2":[{"a":"1"}],"c3":[],"c4":[],"c5":[],"c999":[],"detail":[],"c1/x":[],"":[],"c01":[],"\xe6":[]'
    assert wire.write(b'"queries":{%s}' % names) == {}

    assert [entry[b"c"] for entry in entries()] == [b"3", b"1", b"2"]
    assert wire.gateway.counts["not owed"] == 2, "answered before, and another host's"
    assert wire.gateway.counts["unknown"] == 2


@pytest.mark.parametrize("members", [b'"queries":{}', b'"x":1', b'"queries":[]', b'"queries":null,"statuses":null'])
def test_a_write_that_says_nothing_is_taken(wire: Wire, members: bytes) -> None:
    assert wire.write(members) == {}
    assert wire.gateway.counts["writes without answers"] == 1


@pytest.mark.parametrize(
    "members",
    [
        b'"queries":{"c1":[{"a":"old"}]},"queries":{"c1":[{"a":"new"}]}',
        b'"queries":{"c1":[{"a":"old"}],"c1":[{"a":"new"}]}',
        b'"queries":"x","queries":{"c1":[{"a":"new"}]},"statuses":{"c1":1,"c1":0}',
    ],
)
def test_of_members_with_one_name_the_last_counts(wire: Wire, members: bytes) -> None:
    assert stored(wire, members) == [{"a": "new"}]


@pytest.mark.parametrize("levels", [21, 500, 2_000, 100_000])
def test_what_nests_too_deep_is_refused_without_a_crash(wire: Wire, levels: int) -> None:
    """The rows go to the collector, which says why they were not stored, or the body is dropped."""
    wire.arm(1)

    assert wire.write(b'"queries":{"c1":[{"a":%s%s}]}' % (b"[" * levels, b"]" * levels)) == {}

    assert wire.gateway.counts["failed"] == 0
    for entry in entries():
        with pytest.raises(ValueError, match="deeper than 20 levels"):
            messages.rows_of(entry[b"r"])


SCALARS = [
    b"1",
    b'"ok"',
    b"true",
    b"null",
    b"[]",
    b'[{"node_key":"x"}]',
    b"-0.5",
    b" ",
    b"",
    b"{",
    b"\xef\xbb\xbf",
    b"\x00",
]


@pytest.mark.parametrize("body", SCALARS)
@pytest.mark.parametrize("verb", ["distributed/read", "distributed/write", "log", "config"])
def test_a_body_that_is_no_object_is_answered_with_one(wire: Wire, verb: str, body: bytes) -> None:
    answer = wire.post(verb, body)

    assert answer == {} or (verb == "config" and set(answer) == {"error"})


def test_without_a_board_nothing_is_acknowledged(wire: Wire) -> None:
    wire.arm(1)
    rebuilding.begin()

    assert set(wire.write(b'"queries":{"c1":[]}')) == {"error"}
    assert set(wire.read()) == {"error"}


# --- who says it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        b'""',
        b"null",
        b"5",
        b"true",
        b'["x"]',
        b'{"a":1}',
        b'"x"',
        b'"12.1."',
        b'"12.1.\xff"',
        b'"%s"' % (b"x" * 10_000),
    ],
)
@pytest.mark.parametrize("verb", ["distributed/read", "distributed/write", "log", "config"])
def test_who_has_no_key_is_told_to_enroll(wire: Wire, verb: str, key: bytes) -> None:
    assert wire.post(verb, b'{"node_key":%s,"queries":{"c1":[]}}' % key) == {"node_invalid": True}


def test_a_key_of_the_head_stands_in_for_one_that_the_body_lacks(wire: Wire) -> None:
    wire.arm(1)

    head = b"Authorization: NodeKey " + wire.key().encode()

    assert wire.post("distributed/write", b'{"queries":{"c1":[]}}', head) == {}
    assert len(entries()) == 1


@pytest.mark.parametrize(
    "head",
    [b"authorization: nodekey   %s  ", b"AUTHORIZATION: NODEKEY %s", b"Authorization: x\r\nAuthorization: NodeKey %s"],
)
def test_the_head_may_be_spelled_oddly(wire: Wire, head: bytes) -> None:
    assert wire.post("distributed/read", b"{}", head % wire.key().encode()) == {}


@pytest.mark.parametrize(
    "head", [b"Authorization:", b"Authorization: NodeKey", b"Authorization: NodeKey \xff", b"Authorization: Bearer x"]
)
def test_a_head_without_a_key_is_none(wire: Wire, head: bytes) -> None:
    assert wire.post("distributed/read", b"{}", head) == {"node_invalid": True}
    assert wire.post("distributed/read", {"node_key": wire.key()}, head) == {}, "the body's counts"


def test_the_key_of_the_body_goes_before_the_heads(wire: Wire) -> None:
    wire.arm(1, hosts=(HOST, HOST + 1))
    head = b"Authorization: NodeKey " + wire.key(HOST + 1).encode()

    assert wire.post("distributed/write", b'{"queries":{"c1":[]},"node_key":"%s"}' % wire.key().encode(), head) == {}

    assert [entry[b"h"] for entry in entries()] == [str(HOST).encode()]


def test_what_was_refused_under_an_old_key_is_taken_under_the_new(wire: Wire, settings: Any) -> None:
    wire.arm(1)
    operator_verbs.set_floor(HOST, 2)
    wire.refresh()
    assert wire.write(b'"queries":{"c1":[]}') == {"node_invalid": True}

    body = json.dumps({"queries": {"c1": []}, "node_key": NodeKeys(settings.NODE_KEY_SECRETS).issue(HOST, 2)})

    assert wire.post("distributed/write", body.encode()) == {}
    assert len(entries()) == 1


# --- config and log ---------------------------------------------------------------------------------------------


def test_the_config_is_an_object_without_an_error(wire: Wire) -> None:
    config = wire.post("config", {"node_key": wire.key()})

    assert "error" not in config
    assert config["options"]["distributed_interval"] == 10
    assert isinstance(config["schedule"], dict)


@pytest.mark.parametrize(
    "members",
    [
        b'"log_type":"result","data":[]',
        b'"log_type":"status","data":[{"severity":"0"}]',
        b'"log_type":"unknown","data":[{}]',
        b'"log_type":5,"data":"x"',
        b'"data":null',
        b'"x":1',
        b'"log_type":"result","data":[{"columns":{"a":"\xff\\ud800\x00"}}]',
        b'"log_type":"result","data":%s1%s' % (b"[" * 900, b"]" * 900),
    ],
)
def test_log_lines_are_acknowledged_whatever_they_are(wire: Wire, members: bytes) -> None:
    assert wire.post("log", b'{"node_key":"%s",%s}' % (wire.key().encode(), members)) == {}
