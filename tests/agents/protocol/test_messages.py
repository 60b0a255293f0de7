"""The JSON of agents: what they send, however odd, is read or dropped, and never raises."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.protocol import messages
from agents.protocol.repair import repaired

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.just("c1"), inner, max_size=4),
    max_leaves=12,
)
members = ("queries", "statuses", "messages", "stats", "node_key")


def answers(body: bytes) -> list[messages.Answer]:
    read = messages.members_of(body)
    return [] if read is None else messages.answers_of(read)


def test_a_write_of_a_current_agent_is_read_whole() -> None:
    body = (
        b'{"queries":{"c7":[{"pid":"1"}]},"statuses":{"c7":0},"messages":{"c7":""},'
        b'"stats":{"c7":{"wall_time_ms":3}},"node_key":"k"}'
    )

    assert answers(body) == [messages.Answer(7, 0, "", b'{"wall_time_ms":3}', b'[{"pid":"1"}]')]


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


@pytest.mark.parametrize("body", [b"", b"null", b"1", b'"ok"', b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": }'])
def test_a_body_that_is_no_object_is_nothing(body: bytes) -> None:
    assert messages.members_of(body) is None


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
        (b'\xef\xbb\xbf[{"a": "1"}]', [{"a": "1"}]),
        (b'[{"a\\u0000": "1"}, {"a": "\xff"}, {"a": "2"}]', [{"a": "1"}, {"a": "\ufffd"}, {"a": "2"}]),
    ],
)
def test_odd_rows_are_read_and_one_bad_cell_costs_no_neighbour(sent: bytes, rows: list[dict[str, str]]) -> None:
    assert messages.rows_of(sent) == rows


def test_rows_that_are_not_json_even_after_repair_are_refused_with_their_beginning() -> None:
    with pytest.raises(ValueError, match="rows are not JSON: b'nonsense'"):
        messages.rows_of(b"nonsense")


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_rows_may_nest_twenty_levels_and_no_more(opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"

    def nested(levels: int) -> bytes:
        return b'[{"a": ' + opening * levels + b"1" + closing * levels + b"}]"

    assert len(messages.rows_of(nested(20))) == 1
    for levels in (21, 900, 1100, 100_000):
        with pytest.raises(ValueError, match="deeper than 20 levels"):
            messages.rows_of(nested(levels))


@pytest.mark.parametrize(
    ("number", "cell"),
    [
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("1" + "0" * 5000, "1" + "0" * 5000),
        ("1e999", "1e999"),
        ("-Infinity", "-Infinity"),
        ("NaN", "NaN"),
    ],
)
def test_numbers_beyond_json_stay_the_text_they_are(number: str, cell: str) -> None:
    sent = f'{{"queries": {{"c7": [{{"a": {number}, "b": "1"}}]}}}}'.encode()

    (answer,) = answers(sent)

    assert messages.rows_of(answer.rows) == [{"a": cell, "b": "1"}]


@pytest.mark.parametrize("message", [b'"no \\ud800 table"', b'"no \xff table"', b'"no \x01 table"'])
def test_a_message_that_has_to_be_repaired_is_not_lost(message: bytes) -> None:
    (answer,) = answers(b'{"queries": {"c7": []}, "statuses": {"c7": 1}, "messages": {"c7": ' + message + b"}}")

    assert (answer.status, answer.message) == (1, "no \ufffd table")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ('{"c1": 1, "c1": 2}', 2),
        ('{"c1": 1e9, "c2": 99999999999999999999}', 1),
        ('{"c1": [0]}', 1),
        ('{"c1": -1}', -1),
    ],
)
def test_odd_statuses_are_numbers_that_can_be_stored(sent: str, kept: int) -> None:
    statuses = {answer.status for answer in answers(f'{{"statuses": {sent}}}'.encode())}

    assert kept in statuses
    assert all(abs(status) < 2**31 for status in statuses)


def test_of_members_with_one_name_the_last_counts() -> None:
    assert answers(b'{"queries": {"c1": []}, "queries": {"c2": [1], "c2": [2]}}') == [
        messages.Answer(2, 0, "", b"{}", b"[2]")
    ]


def test_a_write_of_very_many_answers_is_read_as_far_as_anybody_could_have_been_asked() -> None:
    body = json.dumps({"queries": {f"c{number}": [] for number in range(1, 20_000)}}).encode()

    assert len(answers(body)) == messages.MOST_ANSWERS


def test_stats_may_be_strings_missing_or_nonsense() -> None:
    assert messages.stats_of(b'{"wall_time_ms": "3", "user_time": null, "memory": 99999999999999999999}') == (
        3,
        None,
        None,
        None,
    )
    assert messages.stats_of(b"[]") == messages.stats_of(b"{") == (None, None, None, None)


@pytest.mark.parametrize(("status", "message"), [(0, messages.DENYLISTED), (1, "no such table: x"), (0, "")])
def test_neither_a_success_nor_another_error_is_a_refusal_to_run_it_again(status: int, message: str) -> None:
    assert not messages.Answer(1, status, message, b"{}", b"[]").is_denylisted
    assert messages.Answer(1, 1, f"Error: {messages.DENYLISTED}", b"{}", b"[]").is_denylisted


def test_what_is_larger_than_a_megabyte_is_not_repaired() -> None:
    small, large = (b'{"a":"\\ud800%s"}' % (b"x" * size) for size in (1, messages.MOST_REPAIRED))

    assert messages.members_of(small) is not None
    assert messages.members_of(large) is None


def test_the_node_key_is_found_in_a_body_that_only_begins_as_an_object() -> None:
    found = messages.node_key_in(b'{"queries":{"c1":[}},"node_key" : "here.7.1.key"')

    assert messages.node_key_of(found, b"") == "here.7.1.key"
    assert messages.node_key_in(b'[{"node_key":"here.7.1.key"}') == {}


@pytest.mark.parametrize(
    ("sent", "batch"),
    [
        (b'{"log_type":"result","data":[{"a": 1},2]}', ("result", [b'{"a": 1}', b"2"])),
        (b'{"log_type":"status","data":[]}', ("status", [])),
        (b'{"log_type":"string","data":[{}]}', None),
        (b'{"log_type":"result","data":{}}', None),
        (b'{"log_type":"result"}', None),
    ],
)
def test_a_log_batch_is_of_results_or_of_status_lines(sent: bytes, batch: object) -> None:
    members = messages.members_of(sent)
    assert members is not None

    assert messages.log_lines_of(members) == batch


def test_work_and_errors_are_objects_agents_understand() -> None:
    assert json.loads(messages.work([(7, "SELECT 1")])) == {"queries": {"c7": "SELECT 1"}}
    assert json.loads(messages.work([(7, "SELECT 1")], 60))["accelerate"] == 60
    assert json.loads(messages.error("later")) == {"error": "later"}
    assert "error" not in json.loads(messages.config(b"{}", 2))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(members), anything))
def test_every_object_is_read_without_an_error(body: dict[str, object]) -> None:
    for answer in answers(json.dumps(body).encode()):
        messages.stats_of(answer.stats)
        assert all(isinstance(cell, str) for row in messages.rows_of(answer.rows) for cell in row.values())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.builds(lambda text: b'{"queries":{"c1":[{"a":"' + text + b'"}]}}', st.binary()))
def test_no_bytes_raise(body: bytes) -> None:
    for answer in answers(body):
        try:
            rows = messages.rows_of(answer.rows)
        except ValueError:
            continue
        assert "\0" not in msgspec.json.encode(rows).decode()


@given(st.text(alphabet=st.characters()))
def test_repair_leaves_sound_json_alone(text: str) -> None:
    sound = json.dumps({"a": text.encode("utf-8", "replace").decode()}).encode()

    assert repaired(sound) == sound


def is_half(letter: str) -> bool:
    return "\ud800" <= letter <= "\udfff"


# High halves alone: a low one after them would make a pair, and so a letter.
@given(st.text(alphabet=st.characters(categories=["Lu"]) | st.characters(min_codepoint=0xD800, max_codepoint=0xDBFF)))
def test_half_characters_are_repaired(text: str) -> None:
    whole = json.loads(repaired(json.dumps({"a": text}).encode()))["a"]

    assert whole.encode("utf-8", "strict") is not None, "it can be written"
    assert [letter for letter in whole if letter != "\ufffd"] == [letter for letter in text if not is_half(letter)]
