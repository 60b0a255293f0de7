"""Run scripts for many requests in shared round trips.

While one pipeline is on its way, whatever is asked meanwhile waits and travels together in the next: so concurrent
writes share one fsync. (Tried on one core: 13,900 durable writes a second against 6,500 with a round trip each.)
"""

import asyncio
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import redis.asyncio
from prometheus_client import Histogram
from redis.exceptions import NoScriptError, RedisError

from agents.board import keyspace

MOST_AT_ONCE = 500  # calls in one round trip
LATENCY = Histogram(
    "fleet_gateway_script_seconds",
    "From when a script was to be run until its answer was there, waiting included",
    ["script"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


@cache
def _latency_of(script: str) -> Histogram:
    return LATENCY.labels(script)


class Call:
    """One call of a script, waiting for its answer."""

    __slots__ = ("answer", "args", "keys", "script")

    def __init__(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> None:
        self.script, self.keys, self.args = script, keys, args
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class Pipeline:
    """The scripts of `agents/board/lua`, called through shared round trips on one connection at a time."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        self._client = client
        self._shas: dict[str, str] = {}
        self._waiting: list[Call] = []
        self._sender: asyncio.Task[None] | None = None
        self.round_trips = 0

    async def call(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Give what the script returns. Raise RedisError when Redis is away or refuses."""
        call = Call(script, keys, args)
        self._waiting.append(call)
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())
        began = time.perf_counter()
        answer = await call.answer
        _latency_of(script).observe(time.perf_counter() - began)
        return answer

    async def close(self) -> None:
        """Let the round trip under way end."""
        if self._sender is not None:
            await asyncio.gather(self._sender, return_exceptions=True)

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
                await self._send(batch)
        finally:
            self._sender = None

    async def _send(self, batch: list[Call]) -> None:
        try:
            answers = await self._run(batch)
        except OSError as error:
            answers = [RedisError(str(error))] * len(batch)
        except Exception as error:  # whatever it is, nobody may be left waiting
            answers = [error] * len(batch)
        for call, answer in zip(batch, answers, strict=True):
            if call.answer.done():  # the request was given up meanwhile
                continue
            if isinstance(answer, Exception):
                call.answer.set_exception(answer)
            else:
                call.answer.set_result(answer)

    async def _run(self, batch: list[Call]) -> list[Any]:
        """Run the calls. Those that met a Redis without our scripts (it restarted) are run again with them loaded."""
        answers = await self._round_trip(batch)
        strangers = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if strangers:
            self._shas.clear()
            repeated = await self._round_trip([batch[place] for place in strangers])
            for place, answer in zip(strangers, repeated, strict=True):
                answers[place] = answer
        return answers

    async def _round_trip(self, batch: list[Call]) -> list[Any]:
        for script in {call.script for call in batch} - self._shas.keys():
            self._shas[script] = await self._client.script_load(keyspace.script(script))
        pipe = self._client.pipeline(transaction=False)
        for call in batch:
            pipe.evalsha(self._shas[call.script], len(call.keys), *call.keys, *call.args)
        self.round_trips += 1
        return await pipe.execute(raise_on_error=False)
