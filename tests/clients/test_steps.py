"""When a request is said again, and when never: the steps by themselves, which open and wait for nothing."""

import json
from typing import Any

import pytest
from fleet_live_queries import BadInputError, ServerError, TooManyError, UnreachableError, verbs
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
TOO_MANY = answer(429, **{"retry-after": "7"})


def test_a_launch_is_repeated_with_its_key_and_waits_as_long_as_it_is_told() -> None:
    result, requests, pauses = carry_out(
        verbs.launch({"sql": "SELECT 1"}), LOST, TOO_MANY, answer(503), answer(201, {"id": 7})
    )

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


@pytest.mark.parametrize("order", [{}, {"labels": []}, {"labels": "web"}, {"online": True}])
def test_nobody_is_meant_by_accident(order: Any) -> None:
    with pytest.raises(BadInputError):
        verbs.body_of("SELECT 1", order)
