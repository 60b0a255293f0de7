"""A small TCP proxy of ours between processes and a server: it delays, cuts, falls silent, and finds another server."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

CHUNK = 2**16
CONNECT_SECONDS = 5.0

Place = Path | int  # of a server: a unix socket, or a port of loopback
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Link:
    """Carries every connection to the first of `places` that takes it, each time beginning with another one.

    What is set here from another thread holds from the next bytes on.
    """

    def __init__(self, places: Callable[[], Sequence[Place]]) -> None:
        self.port = 0
        self.delay = 0.0  # seconds that pass before bytes are carried on
        self.is_silent = False  # nothing is carried, and nobody hears of that
        self.is_cut = False  # whoever comes is sent away
        self._places = places
        self._turns = itertools.count()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more, and break every connection."""
        self._server.close()
        self._break()

    def break_all(self) -> None:
        """Break every connection that is open now; callable from any thread."""
        self._loop.call_soon_threadsafe(self._break)

    def _break(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = None if self.is_cut else await self._connect()
        if server is None:
            writer.transport.abort()
            return
        both = {writer, server[1]}
        self._open |= both
        try:
            ways = [self._pump(reader, server[1]), self._pump(server[0], writer)]
            tasks = [asyncio.ensure_future(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._open -= both
            for each in both:
                each.close()

    async def _connect(self) -> Stream | None:
        places = list(self._places())
        first = next(self._turns) % len(places) if places else 0
        for place in places[first:] + places[:first]:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    if isinstance(place, Path):
                        return await asyncio.open_unix_connection(str(place))
                    return await asyncio.open_connection("127.0.0.1", place)
        return None

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                while self.is_silent:
                    await asyncio.sleep(0.05)
                writer.write(data)
                await writer.drain()
