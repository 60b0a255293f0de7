"""A distributed write is cut to whole rows while it arrives: never more in memory, never half a row."""

import json
import time

import pytest

from agents.gateway.cutting import Cutter
from agents.protocol import messages
from agents.protocol.repair import repaired

ROW = b'{"pid":"1","cmdline":"a \\"b\\" {c} [d] \\\\"}'


def cut(body: bytes, limit: int = 2**30, max_body: int = 2**30, step: int = 7) -> bytes:
    """Pour a body through a cutter in steps of some bytes."""
    cutter = Cutter(limit, max_body)
    for start in range(0, len(body), step):
        cutter.feed(body[start : start + step])
    return bytes(cutter.content())


def answers(body: bytes) -> list[messages.Answer]:
    members = messages.members_of(body)
    return [] if members is None else messages.answers_of(members)


def write(*rows: bytes, after: bytes = b'"statuses":{"c1":0}') -> bytes:
    return b'{"queries":{"c1":[' + b",".join(rows) + b"]}," + after + b',"node_key":"k"}'


@pytest.mark.parametrize("step", [1, 2, 3, 5, 1000])
def test_what_fits_comes_out_as_it_went_in(step: int) -> None:
    body = (
        b' {"node_key" : "k", "queries": {"c1": [ {"a": "x\\\\\\"]}"} , 5, null, [1, {"z": []}], "s" ] , "c2":"",'
        b' "c3": null, "c4": [ ], "c5": {"a": "b"}, "c6": 1.5}, "statuses": {"c1": 0}, "stats": {}, "messages": {}} '
    )

    assert read(answers(cut(body, step=step))) == read(answers(body))
    assert messages.node_key_of(messages.members_of(cut(body, step=step)) or {}, b"") == "k"


def read(answers: list[messages.Answer]) -> list[object]:
    return [(*answer._replace(rows=b""), json.loads(answer.rows)) for answer in answers]


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_rows_are_kept_whole_up_to_the_limit(step: int) -> None:
    limit = 3 * len(ROW) + len(b"[,,]")

    assert answers(cut(write(*[ROW] * 3), limit, step=step))[0] == messages.Answer(1, 0, "", b"{}", array(ROW, 3))
    assert answers(cut(write(*[ROW] * 3), limit - 1, step=step))[0] == messages.Answer(
        1, 0, "", b"{}", array(ROW, 2), truncated=True
    )
    assert answers(cut(write(*[ROW] * 500), limit, step=step))[0].rows == array(ROW, 3)


def array(row: bytes, times: int) -> bytes:
    return b"[" + b",".join([row] * times) + b"]"


def test_after_a_row_that_does_not_fit_no_smaller_one_is_taken() -> None:
    (answer,) = answers(cut(write(b"1", b'"' + b"x" * 100 + b'"', b"2"), 20))

    assert (answer.rows, answer.truncated) == (b"[1]", True)


@pytest.mark.parametrize("value", [b'"%s"', b'{"a":"%s"}', b'[{"a":"%s"}]', b'[["%s"]]'])
def test_a_single_value_above_the_limit_is_never_held(value: bytes) -> None:
    body = b'{"queries":{"c1":' + value % (b"x" * 100_000) + b',"c2":[1]},"node_key":"k"}'
    cutter, most = Cutter(1000, 2**30), 0
    for start in range(0, len(body), 100):
        cutter.feed(body[start : start + 100])
        most = max(most, cutter.held)

    assert most < 1200
    assert answers(bytes(cutter.content())) == [
        messages.Answer(1, 0, "", b"{}", b"[]", truncated=True),
        messages.Answer(2, 0, "", b"{}", b"[1]"),
    ]


def test_the_limit_is_each_querys_own() -> None:
    body = b'{"queries":{"c1":%s,"c2":%s}}' % (array(ROW, 50), array(ROW, 2))

    assert [(answer.campaign, answer.truncated) for answer in answers(cut(body, 200))] == [(1, True), (2, False)]


def test_above_the_bodys_own_limit_rows_are_left_out_and_the_small_members_read_to_the_end() -> None:
    body = b'{"queries":{"c1":%s,"c2":%s},"statuses":{"c2":1},"node_key":"k"}' % (array(ROW, 50), array(ROW, 2))

    kept = cut(body, max_body=500)

    first, second = answers(kept)
    assert (first.truncated, second.truncated) == (True, True)
    assert len(first.rows) < 600
    assert (second.rows, second.status) == (b"[]", 1)
    assert messages.node_key_of(messages.members_of(kept) or {}, b"") == "k"


def test_what_is_nobodys_answer_is_not_held() -> None:
    other = b'"%s"' % (b"x" * 10_000)
    body = b'{"other":%s,"queries":{"x":[%s],"c1":[1],%s:2},"messages":{"c1":"m"}}' % (other, other, other)

    kept = cut(body)

    assert len(kept) < 100
    assert answers(kept) == [messages.Answer(1, 0, "m", b"{}", b"[1]")]


def test_a_small_member_that_is_not_small_is_left_out() -> None:
    body = write(ROW, after=b'"messages":{"c1":"%s"}' % (b"x" * 2**20))

    assert answers(cut(body, step=60_000)) == [messages.Answer(1, 0, "", b"{}", array(ROW, 1))]


def test_very_many_answers_are_not_all_held() -> None:
    body = b'{"queries":{' + b",".join(b'"c%d":[]' % number for number in range(1, 20_000)) + b"}}"

    assert len(answers(cut(body, step=1000))) == messages.MOST_ANSWERS


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"1",
        b'"x"',
        b"{",
        b'{"queries"',
        b'{"queries":{"c1":[1,]}}',
        b'{"queries":{"c1":[,1]}}',
        b'{"queries":{"c1":[1 2]}}',
        b'{"queries" {}}',
        b"{queries:{}}",
        b'{"queries":{"c1":[]}} x',
        b'{"queries":{"c1":[]}',
        b'{"queries":{"c1":["',
        b"\x00\xff",
    ],
)
def test_what_is_no_object_leaves_nothing(body: bytes) -> None:
    assert messages.members_of(cut(body)) is None
    assert messages.members_of(cut(body, step=1)) is None


@pytest.mark.parametrize(
    "evil",
    [b'{"a', b"[", b"{", b'"\\', b'{"', b"\\", b'{"a":', b'{"a":[{"b"', b'"\\",', b'{"a":"1"},', b"[],", b"\xff", b"-"],
)
def test_no_megabyte_costs_more_than_moments(evil: bytes) -> None:
    body = b'{"queries":{"c1":[' + evil * (2**20 // len(evil))

    began = time.process_time()
    cut(body, step=65_536)
    messages.members_of(body)
    repaired(body)

    assert time.process_time() - began < 5, "quadratic would be hours"


def test_a_cutter_that_dropped_everything_takes_no_more() -> None:
    cutter = Cutter(2**20, 2**20)
    cutter.feed(b'{"queries":{"c1":[1')
    cutter.drop()
    cutter.feed(b"]}}")

    assert (cutter.held, cutter.content()) == (0, b"")
