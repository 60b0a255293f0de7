"""When a request is said again, and when never: the steps by themselves, which open and wait for nothing."""

import json
from typing import Any

import pytest
from fleet_live_queries import BadInputError, ConflictError, ServerError, TooManyError, UnreachableError, verbs
from fleet_live_queries.connection import REQUEST_SECONDS, Place, arguments
from fleet_live_queries.steps import Answer, Pause, Request, Steps, Tell


def carry_out(steps: Steps[Any], *came: Answer | Exception) -> tuple[Any, list[Request], list[float]]:
    """Carry steps out with what comes of each request; give the result, the requests and the pauses."""
    left, requests, pauses = list(came), [], []
    sent: Any = None
    failed: Exception | None = None
    while True:
        try:
            step = steps.throw(failed) if failed else steps.send(sent)
        except StopIteration as end:
            return end.value, requests, pauses
        sent, failed = None, None
        if isinstance(step, Request):
            requests.append(step)
            first = left.pop(0)
            sent, failed = (None, first) if isinstance(first, Exception) else (first, None)
        elif isinstance(step, Pause):
            pauses.append(step.seconds)
        else:
            assert isinstance(step, Tell)


def answer(status: int, body: Any = None, **headers: str) -> Answer:
    return Answer(status, headers, json.dumps(body if body is not None else {"error": "a sentence"}).encode())


LOST = UnreachableError("no answer")
UNSENT = UnreachableError("no answer", unsent=True)
SLOW = UnreachableError("no answer", slow=True)
TOO_MANY = answer(429, **{"retry-after": "7"})


@pytest.mark.parametrize("steps", [verbs.launch({"sql": "SELECT 1"}), verbs.rerun(3, ["missed"])], ids=["new", "again"])
def test_a_launch_is_repeated_with_its_key_and_waits_as_long_as_it_is_told(steps: Any) -> None:
    result, requests, pauses = carry_out(steps, LOST, TOO_MANY, answer(503), answer(201, {"id": 7}))

    assert result == {"id": 7}
    assert len({request.headers["Idempotency-Key"] for request in requests}) == 1
    assert len(requests) == 4
    assert pauses[1] == 7.0


@pytest.mark.parametrize(
    ("steps", "came", "error"),
    [
        (verbs.launch({}), [UNSENT], UnreachableError),
        (verbs.launch({}), [answer(500)], ServerError),
        (verbs.launch({}), [answer(429)], TooManyError),
        (verbs.launch({}), [answer(429, **{"retry-after": "3600"})], TooManyError),
        (verbs.launch({}), [answer(400)], BadInputError),
        (verbs.post("campaigns/1/pause/"), [LOST], UnreachableError),
        (verbs.post("campaigns/1/pause/"), [answer(502)], ServerError),
        (verbs.get("campaigns/"), [Answer(200, {}, b"<html>")], ServerError),
        (verbs.analyse("campaigns/1/sql/", "SELECT 1"), [SLOW], UnreachableError),
        (verbs.analyse("campaigns/1/sql/", "SELECT 1"), [answer(504)], ServerError),
        (verbs.get("campaigns/1/diff/", seconds=verbs.ANALYSIS_SECONDS), [SLOW], UnreachableError),
        (verbs.export(1, "csv"), [SLOW], UnreachableError),
        (verbs.stop(1), [answer(409), answer(200, {"status": "expired"})], ConflictError),
        (verbs.stop(1), [LOST, answer(409), answer(200, {"status": "completed"})], ConflictError),
    ],
)
def test_what_may_have_been_done_or_will_not_pass_is_said_at_once(
    steps: Steps[Any], came: list[Answer | Exception], error: type[Exception]
) -> None:
    with pytest.raises(error):
        carry_out(steps, *came)


def test_readers_ask_again_and_a_throttled_order_as_well() -> None:
    read = carry_out(verbs.get("campaigns/"), LOST, answer(500), answer(504), answer(200, {"count": 1}))
    paused = carry_out(verbs.post("campaigns/1/pause/"), TOO_MANY, answer(200, {"id": 1}))

    assert (read[0], len(read[1])) == ({"count": 1}, 4)
    assert (paused[0], paused[2]) == ({"id": 1}, [7.0])


def test_an_analysis_is_waited_for_and_asked_again_where_the_server_is_busy() -> None:
    _, requests, pauses = carry_out(
        verbs.analyse("campaigns/1/sql/", "SELECT 1"), TOO_MANY, answer(503), answer(200, {"rows": []})
    )
    timeout = arguments(requests[0])["timeout"]

    assert len(requests) == 3
    assert pauses[0] == 7.0
    assert (timeout.read, timeout.connect) == (verbs.ANALYSIS_SECONDS, REQUEST_SECONDS)
    assert "timeout" not in arguments(Request("GET", "/"))


@pytest.mark.parametrize("before", [[LOST], []])
def test_a_stop_that_is_said_again_or_whose_answer_was_lost_has_stopped(before: list[Exception]) -> None:
    stopped, requests, _ = carry_out(verbs.stop(1), *before, answer(409), answer(200, {"status": "stopped"}))

    assert stopped == {"status": "stopped"}
    assert [request.method for request in requests] == [*["POST" for _ in before], "POST", "GET"]


def test_a_place_tells_no_token_and_takes_a_scheme_in_capitals() -> None:
    place = Place.read(" HTTPS://Fleet.example:8443/ ", "secret", "")

    assert "secret" not in repr(place)
    assert place.for_socket("/ws/")["uri"] == "wss://Fleet.example:8443/ws/"
    assert place.for_socket("/ws/")["ssl"] is place.trust


@pytest.mark.parametrize("order", [{}, {"labels": []}, {"labels": "web"}, {"online": True}])
def test_nobody_is_meant_by_accident(order: Any) -> None:
    with pytest.raises(BadInputError):
        verbs.body_of("SELECT 1", order)


@pytest.mark.parametrize("name", ["labels", "platforms", "hosts", "exclude_labels"])
def test_an_empty_list_is_sent_as_one_since_left_out_it_would_mean_everybody(name: str) -> None:
    order: Any = {"labels": ["web"], "platforms": ["linux"], name: []}

    assert verbs.body_of("SELECT 1", order)["target"][name] == []


def test_a_list_is_followed_by_the_places_that_its_pages_name() -> None:
    pages = [
        {"results": [{"name": "a"}], "next": "https://elsewhere/x/?limit=1&cursor=abc&search=odd"},
        {"results": [{"name": "b"}], "next": "https://elsewhere/x/?offset=2&up_to=9"},
        {"results": [{"name": "c"}], "next": None},
    ]

    found, requests, _ = carry_out(verbs.query_named("c"), *(answer(200, page) for page in pages))

    places = [{name: value for name, value in one.query.items() if name in verbs.PLACES} for one in requests]
    assert found == {"name": "c"}
    assert places == [{}, {"cursor": "abc"}, {"offset": "2", "up_to": "9"}]
    assert {one.query["search"] for one in requests} == {"c"}


@pytest.mark.parametrize("steps", [verbs.rerun(3, "missed"), verbs.groups(3, "name")], ids=["states", "columns"])
def test_one_text_is_no_list_of_letters(steps: Any) -> None:
    with pytest.raises(BadInputError, match="is one text, a list of"):
        carry_out(steps)
