"""The client for programs that wait: carries steps out with httpx and websockets, one after the other."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar, Unpack

import httpx
from websockets.sync.client import ClientConnection, connect

from fleet_live_queries import verbs
from fleet_live_queries.connection import SOCKET_ERRORS, Place, answer_of, arguments, closed
from fleet_live_queries.errors import FleetError
from fleet_live_queries.following import Event, Following, ending
from fleet_live_queries.rows import Row, frame, library_of, rows_of, table_of
from fleet_live_queries.steps import (
    Answer,
    Chunk,
    CloseSocket,
    Give,
    Json,
    OpenSocket,
    Pause,
    Receive,
    Request,
    Run,
    Step,
    Steps,
)

T = TypeVar("T")


class Client:
    """One server, and who asks it. `tell` hears what people may want to know meanwhile."""

    def __init__(self, url: str, token: str, *, ca: str = "", tell: Callable[[str], Any] | None = None) -> None:
        self._place, self._tell = Place.read(url, token, ca), tell
        self._http = httpx.Client(**self._place.for_http)

    def __enter__(self) -> "Client":
        """Give the client; it is closed in the end."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, sql: str | None = None, **order: Unpack[verbs.Order]) -> "Campaign":
        """Launch a campaign, once: this SQL, or the saved `query`."""
        return self.launch(verbs.body_of(sql, order))

    def launch(self, body: Json) -> "Campaign":
        """Launch a campaign by the body that the API takes, once."""
        return Campaign(self, self.run(verbs.launch(body)))

    def campaign(self, number: int) -> "Campaign":
        """Give a campaign that is there."""
        return Campaign(self, self.run(verbs.look_at(number)))

    def get(self, path: str, **query: Any) -> Any:
        """Give what is at an address below /api/v1/."""
        return self.run(verbs.get(path, query))

    def list(self, path: str, *, most: int | None = None, **query: Any) -> Iterator[Json]:
        """Give every item of a list below /api/v1/, page by page."""
        return self.stream(verbs.all_of(path, query, most))

    # --- carrying out -----------------------------------------------------------------------------------------

    def run(self, steps: Steps[T]) -> T:
        """Carry steps out; give what comes of them."""
        run = Run(steps, self._tell)
        with _Shell(self._place, self._http, run) as shell:
            shell.next()
        return run.result

    def stream(self, steps: Steps[None]) -> Iterator[Any]:
        """Carry steps out; give their values as they come."""
        with _Shell(self._place, self._http, Run(steps, self._tell)) as shell:
            while (given := shell.next()) is not None:
                yield given.value


class _Shell:
    """What one run of steps has open."""

    def __init__(self, place: Place, http: httpx.Client, run: Run[Any]) -> None:
        self._place, self._http, self._run = place, http, run
        self._opened = ExitStack()
        self._socket: ClientConnection | None = None
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def __enter__(self) -> "_Shell":
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()
        self._run.close()

    def next(self) -> Give | None:
        """Go on to the next value, or to the end."""
        while (step := self._run.next()) is not None and not isinstance(step, Give):
            try:
                self._run.sent = self._do(step)
            except FleetError as error:
                self._run.failed = error
        return step

    def _do(self, step: Step) -> Any:
        match step:
            case Request():
                return self._send(step)
            case Chunk():
                return self._chunk()
            case Pause():
                time.sleep(step.seconds)
            case OpenSocket():
                self._open(step.path)
            case Receive():
                return self._receive(step.seconds)
            case CloseSocket():
                self._close()
        return None

    def _send(self, request: Request) -> Answer:
        try:
            response = self._http.send(self._http.build_request(**arguments(request)), stream=request.streams)
            if request.streams and response.is_success:
                self._response, self._chunks = response, response.iter_bytes()
                return answer_of(response, b"")
            return answer_of(response, response.read())
        except httpx.TransportError as error:
            raise self._place.unreachable(error) from error

    def _chunk(self) -> bytes:
        try:
            return next(self._chunks, b"")
        except httpx.TransportError as error:
            raise self._place.unreachable(error) from error

    def _open(self, path: str) -> None:
        try:
            self._socket = self._opened.enter_context(connect(**self._place.for_socket(path)))
        except SOCKET_ERRORS as error:
            raise closed(error) from error

    def _receive(self, seconds: float) -> str | bytes:
        assert self._socket is not None  # noqa: S101 - steps open it first
        try:
            return self._socket.recv(seconds)
        except SOCKET_ERRORS as error:
            raise closed(error) from error

    def _close(self) -> None:
        self._opened.close()
        if self._response is not None:
            self._response.close()
        self._socket = self._response = None


class Campaign:
    """One campaign. It lives on the server: leaving it does not stop it."""

    def __init__(self, client: Client, facts: Json) -> None:
        self.client, self.facts, self.id = client, facts, int(facts["id"])

    def events(self, *, after: int = 0, patience: float = 120.0) -> Iterator[Event]:
        """Give what happens, until the end; `patience` is how many seconds the server may be away."""
        for event in self.client.stream(Following(self.id, after, patience).run()):
            if event.kind in ("campaign", "ended"):
                self.facts = event.value
            yield event

    def rows(self, *, after: int = 0, patience: float = 120.0) -> Iterator[Row]:
        """Give rows as they come, until the campaign ended."""
        for event in self.events(after=after, patience=patience):
            if event.kind == "item":
                yield from rows_of(event.value)

    def wait(self, *, patience: float = 120.0) -> Json:
        """Wait until it ended; give it."""
        self.facts = self.client.run(ending(self.id, patience))
        return self.facts

    def refresh(self) -> Json:
        """Give it as it is now."""
        self.facts = self.client.run(verbs.look_at(self.id))
        return self.facts

    def stop(self) -> Json:
        """Stop it."""
        self.facts = self.client.run(verbs.stop(self.id))
        return self.facts

    def pause(self) -> Json:
        """Hand nothing more out until it is resumed."""
        return self._order("pause")

    def resume(self) -> Json:
        """Go on after a pause."""
        return self._order("resume")

    def widen(self, **how: Any) -> Json:
        """Let more hosts have it: one of `percent`, `count`, `all`."""
        self.facts = self.client.run(verbs.widen(self.id, how))
        return self.facts

    def rerun(self, states: Sequence[str] = verbs.SILENT_STATES) -> "Campaign":
        """Ask the hosts in these states again, as a new campaign."""
        return Campaign(self.client, self.client.run(verbs.rerun(self.id, states)))

    def silent(self) -> Iterator[Json]:
        """Give the hosts that said nothing."""
        return self.client.stream(verbs.silent(self.id))

    def groups(self, by: Sequence[str] = ()) -> Iterator[Json]:
        """Give combinations of values, and by how many hosts each is borne."""
        return self.client.stream(verbs.groups(self.id, by))

    def export(self, form: str = "csv") -> Iterator[bytes]:
        """Give a file of every row, piece by piece: csv, ndjson, json, parquet or xlsx."""
        return self.client.stream(verbs.export(self.id, form))

    def sql(self, sql: str) -> Json:
        """Run SQL over the answers."""
        return self.client.run(verbs.analyse(f"campaigns/{self.id}/sql/", sql))

    def to_pandas(self) -> Any:
        """Wait for the end; give every row as a data frame of pandas."""
        return self._frame("pandas")

    def to_polars(self) -> Any:
        """Wait for the end; give every row as a data frame of polars."""
        return self._frame("polars")

    def _frame(self, library: str) -> Any:
        library_of(library)  # a missing library is said before anything is waited for
        rows = [*self.rows()]
        return frame(library, table_of(rows, self.facts["columns"]))

    def _order(self, verb: str) -> Json:
        self.facts = self.client.run(verbs.post(f"campaigns/{self.id}/{verb}/"))
        return self.facts
