"""How one campaign is followed over sockets that are cut, closed or refused: the steps by themselves."""

import itertools
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fleet_live_queries import following
from fleet_live_queries.errors import ForbiddenError, SocketClosedError
from fleet_live_queries.following import Following
from fleet_live_queries.steps import Answer, CloseSocket, Give, OpenSocket, Pause, Receive, Request, Tell

Frames = list[dict[str, Any] | SocketClosedError]
SNAPSHOT = {"type": "snapshot", "campaign": {"id": 7}}
CUT = SocketClosedError(0, "no close frame received")


class Server:
    """Answers 1 to `last`, some of which have come; sockets that say what they are told to; no waiting."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, last: int, *sockets: Frames) -> None:
        self.last, self.come, self.refuses = last, 0, False
        self.now = 1000.0
        self.opened: list[tuple[str, float]] = []
        self.told: list[str] = []
        self.requests: list[str] = []
        self._sockets, self._frames = list(sockets), iter(())
        monkeypatch.setattr(following, "time", SimpleNamespace(monotonic=lambda: self.now))

    def follow(self) -> list[int]:
        """Follow to the end; give the seq of each answer that was given."""
        steps, sent, failed, given = Following(7).run(), None, None, []
        while True:
            try:
                step = steps.send(sent) if failed is None else steps.throw(failed)
            except StopIteration:
                return given
            sent, failed = None, None
            match step:
                case Give(event):
                    given += [event.value["seq"]] if event.kind == "item" else []
                case Tell(sentence):
                    self.told.append(sentence)
                case Pause(seconds):
                    self.now += seconds
                    self.come = min(self.last, self.come + 1)
                case Request():
                    sent = self._answer(step)
                case OpenSocket(path):
                    self.opened.append((path, self.now))
                    self._frames = iter(self._sockets.pop(0) if self._sockets else [SocketClosedError(4429)])
                case Receive():
                    sent, failed = self._receive()
                case _:
                    assert isinstance(step, CloseSocket)

    def _receive(self) -> tuple[str | None, SocketClosedError | None]:
        frame: Any = next(self._frames, CUT)
        if isinstance(frame, SocketClosedError):
            return None, frame
        self.come = max([self.come, *(item["seq"] for item in frame.get("items", ()))])
        return json.dumps(frame), None

    def _answer(self, request: Request) -> Answer:
        self.requests.append(request.path)
        if self.refuses:
            return Answer(403, {}, b'{"error": "looking at campaigns needs campaigns.view_campaign"}')
        body: dict[str, Any] = {"id": 7, "last_seq": self.come, "ended_at": "now" if self.come == self.last else None}
        if request.path.endswith("/results/"):
            first, limit = request.query["after"] + 1, request.query["limit"]
            body = {"results": [item(seq) for seq in range(first, min(first + limit, self.come + 1))]}
        return Answer(200, {}, json.dumps(body).encode())


def item(seq: int, **more: Any) -> dict[str, Any]:
    return {"seq": seq, "rows": [{"a": str(seq)}], **more}


def results(*items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "results", "items": list(items)}


def test_what_a_socket_left_out_is_fetched_and_what_it_says_twice_is_given_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames: Frames = [
        SNAPSHOT,
        results(item(1), item(2, rows_omitted=True)),
        results(item(2), item(3)),
        {"type": "ended"},
    ]
    server = Server(monkeypatch, 3, frames)

    assert server.follow() == [1, 2, 3]
    assert server.requests[0].endswith("/results/")
    assert server.told == []


def test_who_is_behind_reads_pages_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(
        monkeypatch, 4, [results(item(1)), {"type": "behind", "after": 1}], [results(item(4)), {"type": "ended"}]
    )
    server.come = 3

    assert server.follow() == [1, 2, 3, 4]
    assert [path[-8:] for path, _ in server.opened] == ["?after=0", "?after=3"]
    assert len({when for _, when in server.opened}) == 1, "it is not waited for"


@pytest.mark.parametrize("code", [1012, 0])
def test_a_socket_that_is_cut_is_opened_again_at_once(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    server = Server(
        monkeypatch, 2, [SNAPSHOT, results(item(1)), SocketClosedError(code)], [results(item(2)), {"type": "ended"}]
    )

    assert server.follow() == [1, 2]
    assert [path[-8:] for path, _ in server.opened] == ["?after=0", "?after=1"]
    assert len({when for _, when in server.opened}) == 1
    assert ["was cut" in server.told[0], server.told[1:]] == [True, ["the server answers again"]]


@pytest.mark.parametrize("code", [1012, 0, 1000])
def test_sockets_that_are_cut_soon_each_time_are_opened_later_and_later(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    progress = {"type": "progress", "counts": {"answered": 0}}
    server = Server(monkeypatch, 79, *[[SNAPSHOT, progress, SocketClosedError(code)] for _ in range(9)])

    assert server.follow() == [*range(1, 80)]
    times = [when for _, when in server.opened]
    assert [then - when for when, then in itertools.pairwise(times)] == [0.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def closes(*codes: int) -> Iterator[Any]:
    for code in codes:
        yield pytest.param([SNAPSHOT, SocketClosedError(code)], id=f"at once with {code}")
        yield pytest.param([SocketClosedError(code)], id=f"before a word with {code}")
    for code in range(4400, 4405):
        yield pytest.param(
            [SNAPSHOT, results(item(1)), SocketClosedError(code, "which hosts")], id=f"after some with {code}"
        )


@pytest.mark.parametrize("frames", [*closes(0, 1000, 1012, 4403, 4429)])
def test_pages_go_on_for_a_while_where_a_socket_is_none(monkeypatch: pytest.MonkeyPatch, frames: Frames) -> None:
    server = Server(monkeypatch, 39, *[list(frames) for _ in range(2)])

    assert server.follow() == [*range(1, 40)]
    assert server.told == []
    times = [when for _, when in server.opened]
    assert times == [1000.0, 1010.0], "not asked for at every look"


def test_who_may_not_look_any_more_is_told_so_by_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, 2, [results(item(1)), SocketClosedError(4403)])
    server.refuses = True

    with pytest.raises(ForbiddenError, match="looking at campaigns needs"):
        server.follow()
