"""One campaign from a seq to its end: over the socket, over pages while there is none; nothing lost, nothing twice."""

import json
import time
from dataclasses import dataclass
from typing import Any, Literal

from fleet_live_queries.errors import SocketClosedError, UnreachableError
from fleet_live_queries.steps import CloseSocket, Give, Json, OpenSocket, Patience, Pause, Receive, Steps, Tell
from fleet_live_queries.verbs import PAGE, get, look_at

QUIET_SECONDS = 45.0  # the server pings every 20
LOOK_SECONDS = 0.5
SOCKET_AGAIN_SECONDS = 10.0  # after it was refused: something between may let no sockets through
REFUSALS = range(4000, 5000)  # codes; whether one may look is what the API says, in its own words


@dataclass(frozen=True)
class Event:
    """What happened: a campaign as it is now, counts that changed, a host's answer, or the end (a campaign)."""

    kind: Literal["campaign", "counts", "item", "ended"]
    value: Json


class Following:
    """Where one viewer is; `seq` is of the last answer that was given."""

    def __init__(self, number: int, after: int = 0, patience: float = 120.0) -> None:
        self._number, self.seq, self._patience = number, after, patience
        self._socket_at = 0.0  # when the socket is tried next
        self._was_cut = False
        self._heard = False  # more than the campaign as it was, since the socket was opened
        self._soon = 0  # how many sockets in a row were cut soon after they were opened

    def run(self) -> Steps[None]:
        """Give events until the campaign ended and everything was given."""
        while True:
            if time.monotonic() >= self._socket_at:
                yield from self._listen()
            campaign = yield from look_at(self._number, self._patient())
            if self._was_cut:
                self._was_cut = False
                yield Tell("the server answers again")
            yield Give(Event("campaign", campaign))
            yield from self._page()
            if campaign["ended_at"] is not None and self.seq >= campaign["last_seq"]:
                yield Give(Event("ended", campaign))
                return
            if time.monotonic() < self._socket_at:
                yield Pause(LOOK_SECONDS)

    def _patient(self) -> Patience:
        return Patience(self._patience, at_first=True)

    def _listen(self) -> Steps[None]:
        """Take what comes over the socket, until it is closed, however that is."""
        self._heard, opened_at = False, time.monotonic()
        try:
            yield OpenSocket(f"/ws/campaigns/{self._number}/?after={self.seq}")
            while (yield from self._frame(json.loads((yield Receive(QUIET_SECONDS))))):
                pass
        except SocketClosedError as closed:
            if not self._heard or closed.code in REFUSALS:
                self._socket_at = time.monotonic() + SOCKET_AGAIN_SECONDS
            else:
                self._socket_at = self._after_cut(opened_at)
                self._was_cut = closed.code != 1000
            if self._was_cut:
                yield Tell(f"the connection was cut ({closed}); asking again")
        yield CloseSocket()

    def _after_cut(self, opened_at: float) -> float:
        """Say when the socket is tried next: at once, and later and later where each is cut soon."""
        now = time.monotonic()
        self._soon = self._soon + 1 if now - opened_at < SOCKET_AGAIN_SECONDS else 0
        return now + (min(SOCKET_AGAIN_SECONDS, LOOK_SECONDS * 2**self._soon) if self._soon > 1 else 0.0)

    def _frame(self, frame: Json) -> Steps[bool]:
        """Take one frame; say whether more are to be read."""
        kind = frame["type"]
        self._heard = self._heard or kind != "snapshot"
        if kind == "results":
            yield from self._take(frame["items"])
        elif kind == "snapshot":
            yield Give(Event("campaign", frame["campaign"]))
        elif kind == "progress":
            yield Give(Event("counts", frame["counts"]))
        elif kind == "ping":  # what no frame tells of, as warnings: a look now and then
            yield Give(Event("campaign", (yield from look_at(self._number, self._patient()))))
        return kind not in ("ended", "behind")

    def _take(self, items: list[Json]) -> Steps[None]:
        for item in items:
            if item["seq"] <= self.seq:
                continue
            whole = (yield from self._fetch(item)) if item.get("rows_omitted") else item
            self.seq = item["seq"]
            yield Give(Event("item", whole))

    def _fetch(self, item: Json) -> Steps[Json]:
        """Give an answer that was too large for a frame."""
        found: list[Json] = (yield from self._results(item["seq"] - 1, 1))["results"]
        if not found or found[0]["seq"] != item["seq"]:
            raise UnreachableError(f"the answer {item['seq']} is not there any more")
        return found[0]

    def _page(self) -> Steps[None]:
        while items := (yield from self._results(self.seq, PAGE))["results"]:
            yield from self._take(items)

    def _results(self, after: int, limit: int) -> Steps[Any]:
        query = {"after": after, "limit": limit}
        return (yield from get(f"campaigns/{self._number}/results/", query, self._patient()))


def ending(number: int, patience: float) -> Steps[Json]:
    """Wait until a campaign ended; give it."""
    while True:
        campaign = yield from look_at(number, Patience(patience, at_first=True))
        if campaign["ended_at"] is not None:
            return campaign
        yield Pause(LOOK_SECONDS)
