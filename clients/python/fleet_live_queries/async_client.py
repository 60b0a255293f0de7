"""The client for programs on an event loop: carries the same steps out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar, Unpack

import httpx
from websockets.asyncio.client import ClientConnection, connect

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


class AsyncClient:
    """One server, and who asks it. `tell` hears what people may want to know meanwhile."""

    def __init__(self, url: str, token: str, *, ca: str = "", tell: Callable[[str], Any] | None = None) -> None:
        self._place, self._tell = Place.read(url, token, ca), tell
        self._http = httpx.AsyncClient(**self._place.for_http)

    async def __aenter__(self) -> "AsyncClient":
        """Give the client; it is closed in the end."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ask(self, sql: str | None = None, **order: Unpack[verbs.Order]) -> "AsyncCampaign":
        """Launch a campaign, once: this SQL, or the saved `query`."""
        return await self.launch(verbs.body_of(sql, order))

    async def launch(self, body: Json) -> "AsyncCampaign":
        """Launch a campaign by the body that the API takes, once."""
        return AsyncCampaign(self, await self.run(verbs.launch(body)))

    async def campaign(self, number: int) -> "AsyncCampaign":
        """Give a campaign that is there."""
        return AsyncCampaign(self, await self.run(verbs.look_at(number)))

    async def get(self, path: str, **query: Any) -> Any:
        """Give what is at an address below /api/v1/."""
        return await self.run(verbs.get(path, query))

    def list(self, path: str, *, most: int | None = None, **query: Any) -> AsyncIterator[Json]:
        """Give every item of a list below /api/v1/, page by page."""
        return self.stream(verbs.all_of(path, query, most))

    # --- carrying out -----------------------------------------------------------------------------------------

    async def run(self, steps: Steps[T]) -> T:
        """Carry steps out; give what comes of them."""
        run = Run(steps, self._tell)
        async with _Shell(self._place, self._http, run) as shell:
            await shell.next()
        return run.result

    async def stream(self, steps: Steps[None]) -> AsyncIterator[Any]:
        """Carry steps out; give their values as they come."""
        async with _Shell(self._place, self._http, Run(steps, self._tell)) as shell:
            while (given := await shell.next()) is not None:
                yield given.value


class _Shell:
    """What one run of steps has open."""

    def __init__(self, place: Place, http: httpx.AsyncClient, run: Run[Any]) -> None:
        self._place, self._http, self._run = place, http, run
        self._opened = AsyncExitStack()
        self._socket: ClientConnection | None = None
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None

    async def __aenter__(self) -> "_Shell":
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._close()
        self._run.close()

    async def next(self) -> Give | None:
        """Go on to the next value, or to the end."""
        while (step := self._run.next()) is not None and not isinstance(step, Give):
            try:
                self._run.sent = await self._do(step)
            except FleetError as error:
                self._run.failed = error
        return step

    async def _do(self, step: Step) -> Any:
        match step:
            case Request():
                return await self._send(step)
            case Chunk():
                return await self._chunk()
            case Pause():
                await asyncio.sleep(step.seconds)
            case OpenSocket():
                await self._open(step.path)
            case Receive():
                return await self._receive(step.seconds)
            case CloseSocket():
                await self._close()
        return None

    async def _send(self, request: Request) -> Answer:
        try:
            response = await self._http.send(self._http.build_request(**arguments(request)), stream=request.streams)
            if request.streams and response.is_success:
                self._response, self._chunks = response, response.aiter_bytes()
                return answer_of(response, b"")
            return answer_of(response, await response.aread())
        except httpx.TransportError as error:
            raise self._place.unreachable(error) from error

    async def _chunk(self) -> bytes:
        try:
            assert self._chunks is not None  # noqa: S101 - steps send first
            return await anext(self._chunks, b"")
        except httpx.TransportError as error:
            raise self._place.unreachable(error) from error

    async def _open(self, path: str) -> None:
        try:
            self._socket = await self._opened.enter_async_context(connect(**self._place.for_socket(path)))
        except SOCKET_ERRORS as error:
            raise closed(error) from error

    async def _receive(self, seconds: float) -> str | bytes:
        assert self._socket is not None  # noqa: S101 - steps open it first
        try:
            async with asyncio.timeout(seconds):
                return await self._socket.recv()
        except SOCKET_ERRORS as error:
            raise closed(error) from error

    async def _close(self) -> None:
        await self._opened.aclose()
        if self._response is not None:
            await self._response.aclose()
        self._socket = self._response = None


class AsyncCampaign:
    """One campaign. It lives on the server: leaving it does not stop it."""

    def __init__(self, client: AsyncClient, facts: Json) -> None:
        self.client, self.facts, self.id = client, facts, int(facts["id"])

    async def events(self, *, after: int = 0, patience: float = 120.0) -> AsyncIterator[Event]:
        """Give what happens, until the end; `patience` is how many seconds the server may be away."""
        async for event in self.client.stream(Following(self.id, after, patience).run()):
            if event.kind in ("campaign", "ended"):
                self.facts = event.value
            yield event

    async def rows(self, *, after: int = 0, patience: float = 120.0) -> AsyncIterator[Row]:
        """Give rows as they come, until the campaign ended."""
        async for event in self.events(after=after, patience=patience):
            if event.kind == "item":
                for row in rows_of(event.value):
                    yield row

    async def wait(self, *, patience: float = 120.0) -> Json:
        """Wait until it ended; give it."""
        self.facts = await self.client.run(ending(self.id, patience))
        return self.facts

    async def refresh(self) -> Json:
        """Give it as it is now."""
        self.facts = await self.client.run(verbs.look_at(self.id))
        return self.facts

    async def stop(self) -> Json:
        """Stop it."""
        self.facts = await self.client.run(verbs.stop(self.id))
        return self.facts

    async def pause(self) -> Json:
        """Hand nothing more out until it is resumed."""
        return await self._order("pause")

    async def resume(self) -> Json:
        """Go on after a pause."""
        return await self._order("resume")

    async def widen(self, **how: Any) -> Json:
        """Let more hosts have it: one of `percent`, `count`, `all`."""
        self.facts = await self.client.run(verbs.widen(self.id, how))
        return self.facts

    async def rerun(self, states: Sequence[str] = verbs.SILENT_STATES) -> "AsyncCampaign":
        """Ask the hosts in these states again, as a new campaign."""
        return AsyncCampaign(self.client, await self.client.run(verbs.rerun(self.id, states)))

    def silent(self) -> AsyncIterator[Json]:
        """Give the hosts that said nothing."""
        return self.client.stream(verbs.silent(self.id))

    def groups(self, by: Sequence[str] = ()) -> AsyncIterator[Json]:
        """Give combinations of values, and by how many hosts each is borne."""
        return self.client.stream(verbs.groups(self.id, by))

    def export(self, form: str = "csv") -> AsyncIterator[bytes]:
        """Give a file of every row, piece by piece: csv, ndjson, json, parquet or xlsx."""
        return self.client.stream(verbs.export(self.id, form))

    async def sql(self, sql: str) -> Json:
        """Run SQL over the answers."""
        return await self.client.run(verbs.analyse(f"campaigns/{self.id}/sql/", sql))

    async def to_pandas(self) -> Any:
        """Wait for the end; give every row as a data frame of pandas."""
        return await self._frame("pandas")

    async def to_polars(self) -> Any:
        """Wait for the end; give every row as a data frame of polars."""
        return await self._frame("polars")

    async def _frame(self, library: str) -> Any:
        library_of(library)  # a missing library is said before anything is waited for
        rows = [row async for row in self.rows()]
        return frame(library, table_of(rows, self.facts["columns"]))

    async def _order(self, verb: str) -> Json:
        self.facts = await self.client.run(verbs.post(f"campaigns/{self.id}/{verb}/"))
        return self.facts
