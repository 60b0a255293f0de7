"""Made-up bodies: no parser of what agents send ever raises, and cutting changes only the size."""

import json
import os
import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.gateway.cutting import Cutter
from agents.protocol import messages

BODIES_A_SEED = 12_500 if os.environ.get("FAULTS") == "all" else 2_500
SEEDS = range(8)

cells = st.text() | st.none() | st.integers() | st.lists(st.text(max_size=3), max_size=3) | st.booleans()
rows = st.lists(st.dictionaries(st.text(max_size=5), cells, max_size=4), max_size=6) | st.just("") | st.none() | cells
names = st.sampled_from(["c1", "c22", "h3", "other", "", "c0"])
writes = st.fixed_dictionaries(
    {"queries": st.dictionaries(names, rows, max_size=4), "node_key": st.text(max_size=20)},
    optional={
        "statuses": st.dictionaries(names, cells, max_size=4) | cells,
        "messages": st.dictionaries(names, cells, max_size=4) | cells,
        "stats": st.dictionaries(names, cells, max_size=4) | cells,
    },
)


@settings(max_examples=200, deadline=None)
@given(writes, st.integers(0, 200), st.integers(1, 60), st.booleans())
def test_cutting_keeps_the_first_whole_rows_and_everything_small(
    body: dict[str, Any], limit: int, step: int, is_spaced: bool
) -> None:
    sent = json.dumps(body, indent=1 if is_spaced else None).encode()

    assert_cut(sent, limit, step)


@pytest.mark.parametrize("seed", SEEDS)
def test_mutated_bodies_are_read_or_dropped(seed: int) -> None:
    chance = random.Random(seed)
    readable = 0
    for body in generated(chance):
        members = messages.members_of(body)
        for answer in messages.answers_of(members) if members is not None else ():
            read_as_the_collector_does(answer)
        readable += assert_cut(body, chance.choice([0, 2, 30, 10**6]), chance.choice([1, 5, 64, 10**6]))

    assert BODIES_A_SEED / 3 < readable < BODIES_A_SEED, "some are JSON and some are not"


def read_as_the_collector_does(answer: messages.Answer) -> None:
    messages.stats_of(answer.stats)
    assert "\0" not in answer.message
    try:
        rows = messages.rows_of(answer.rows)
    except ValueError:
        return
    assert (
        "\0" not in json.loads(msgspec.json.encode([cell for row in rows for cell in (*row, *row.values())])).__str__()
    )


def assert_cut(body: bytes, limit: int, step: int) -> bool:
    """Compare what is left of a body with what its plain parse, cut, would be; False when it has none."""
    cutter = Cutter(limit, 2**30)
    for start in range(0, len(body), step):
        cutter.feed(body[start : start + step])
    try:
        plain = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except messages.UNREADABLE:
        return False
    kept = messages.members_of(cutter.content())
    assert kept is not None
    assert messages.node_key_of(kept, b"") == messages.node_key_of(plain, b"")
    expected = [cut(answer, limit) for answer in messages.answers_of(plain)]
    assert [cut(answer, 2**30) for answer in messages.answers_of(kept)] == expected
    return True


def cut(answer: messages.Answer, limit: int) -> messages.Answer:
    """Cut an answer the simple way, the white space between its rows left out."""
    try:
        elements = [bytes(row) for row in msgspec.json.decode(answer.rows, type=list[msgspec.Raw])]
    except messages.UNREADABLE:
        return answer if len(answer.rows) <= limit else answer._replace(rows=b"[]", truncated=True)
    many = len(elements)
    while elements and len(b"[" + b",".join(elements) + b"]") > limit:
        elements.pop()
    return answer._replace(rows=b"[" + b",".join(elements) + b"]", truncated=answer.truncated or len(elements) < many)


ODD = [bytes([byte]) for byte in b'"\\{}[],:/ \n\x00\x1f\xc3\xff'] + [
    *(b"\\u0000", b"\\ud800", b"\\udc00", b"\xef\xbb\xbf", b"null", b"true", b"NaN", b"-1", b"1e999", b"9" * 30, b'""'),
    *(b"[]", b"{}", b"[[[[", b'{"a":{"a":', b'"c1":', b'"queries":', b'"statuses":{"c1":1}'),
]
VALUES: list[Any] = [
    "",
    "x",
    "0",
    0,
    1,
    -3,
    2.5,
    None,
    True,
    [],
    {},
    ["a", 1],
    {"a": {"b": []}},
    "é\u0000\ud83d",
    "日" * 9,
]


def generated(chance: random.Random) -> Iterator[bytes]:
    """Make up bodies of writes, with odd values, and every other one mutated."""
    for _ in range(BODIES_A_SEED):
        body = json.dumps(made_up(chance), ensure_ascii=chance.random() < 0.7, indent=chance.choice([None, None, 1]))
        sent = body.encode("utf-8", "surrogatepass")
        yield mutated(sent, chance) if chance.random() < 0.5 else sent


def made_up(chance: random.Random) -> dict[str, Any]:
    campaigns = [f"{chance.choice('cch')}{chance.choice([1, 2, 40])}" for _ in range(chance.randrange(3))] + [
        "x"
    ] * chance.randrange(2)
    body: dict[str, Any] = {
        "node_key": chance.choice(["1.1.key", *VALUES]),
        "queries": {name: some_rows(chance) for name in campaigns},
    }
    for member in ("statuses", "messages", "stats"):
        if chance.random() < 0.7:
            body[member] = {name: chance.choice(VALUES) for name in campaigns}
    if chance.random() < 0.2:
        body[chance.choice(["queries", "statuses", "messages", "stats", "more"])] = chance.choice(VALUES)
    members = list(body.items())
    chance.shuffle(members)
    return dict(members)


def some_rows(chance: random.Random) -> Any:
    if chance.random() < 0.2:
        return chance.choice(VALUES)
    return [
        {str(name): chance.choice(VALUES) for name in "abc"[: chance.randrange(4)]} for _ in range(chance.randrange(4))
    ]


def mutated(body: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.randrange(1, 4)):
        start = chance.randrange(len(body) + 1)
        end = min(len(body), start + chance.choice([0, 0, 1, 1, 2, 10]))
        piece = chance.choice([chance.choice(ODD), bytes([chance.randrange(256)]), body[start:end] * 2, b""])
        body = body[:start] + piece + body[end:]
    return body
