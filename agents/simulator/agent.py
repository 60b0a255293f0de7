"""One pretend agent: enroll, config, and the endless read, run, write, pause (protocol notes 2, 3.1, 5)."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from agents.simulator.carver import Upload
from agents.simulator.machine import PLATFORM_TYPES, Machine
from agents.simulator.response import BrokenError
from agents.simulator.sql import Answer, execute, refuse
from agents.simulator.wire import TimedOutError, Wire

logger = logging.getLogger(__name__)

ATTEMPTS = 3
ENROLL_ATTEMPTS = 12
CONFIG_SECONDS = 300.0
ACCELERATED_PAUSE = 5.0
OF_CAMPAIGNS = "c"  # how the names of their SQL begin; other SQL is of the server's own
CARVE_SECONDS = 3.0  # between the row and the upload; osquery looks once a minute


class RefusedError(Exception):
    """The server said `error`, or something that is not an object: the agent keeps what it has and comes again."""


class UnknownError(Exception):
    """The server said `node_invalid`: the key is gone, the next request enrolls first."""


@dataclass
class Manner:
    """How a host behaves, apart from working as it should."""

    failing: bool = False
    silent: bool = False
    denylisted: bool = False
    hanging: bool = False  # what campaigns ask never ends there, unless it is let go: it reads no more meanwhile
    slow_seconds: float = 0.0
    away_seconds: float = 0.0  # now and then it goes offline for so long


@dataclass
class Agent:
    """A host's agent. `sent` is called with (identifier, query, rows as JSON) for every answer that was taken."""

    machine: Machine
    wire: Wire
    secret: str
    pool: Executor
    counts: Counter[str]
    prefix: str = "/api/osquery"
    manner: Manner | None = None
    interval: float | None = None
    node_key: str = ""
    sent: Callable[[str, str, bytes], None] | None = None
    let_go: asyncio.Event = field(default_factory=asyncio.Event)  # who hangs works as the others from then on

    def __post_init__(self) -> None:
        self._unsent: dict[str, Answer] = {}
        self._accelerated_until = 0.0
        self._config_at = 0.0
        self._manner = self.manner or Manner()
        self._carving: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Live until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                if loop.time() >= self._config_at:
                    await self._configure()
                await self._cycle()
                await asyncio.sleep(self._pause())
        finally:
            if self._carving is not None:
                self._carving.cancel()
            self.wire.close()

    def _pause(self) -> float:
        if asyncio.get_running_loop().time() < self._accelerated_until:
            return ACCELERATED_PAUSE
        return self.interval if self.interval is not None else float(self.machine.flags["distributed_interval"])

    async def enroll(self) -> None:
        """Get a node key; gives up for now after twelve attempts."""
        body = {
            "enroll_secret": self.secret,
            "host_identifier": self.machine.identifier,
            "platform_type": PLATFORM_TYPES[self.machine.platform],
            "host_details": self.machine.details(),
        }
        for attempt in range(1, ENROLL_ATTEMPTS + 1):
            try:
                answer = await self._exchange("enroll", body, keyless=True)
                if isinstance(answer.get("node_key"), str) and answer["node_key"]:
                    self.node_key = answer["node_key"]
                    self.counts["enrolled"] += 1
                    return
            except (RefusedError, UnknownError, TimedOutError, BrokenError) as error:
                logger.debug("not enrolled host=%s reason=%s", self.machine.identifier, error)
            self.counts["failed enrolls"] += 1
            await asyncio.sleep(min(attempt**2, 600))

    async def _configure(self) -> None:
        answer = await self._attempt("config", {})
        self._config_at = asyncio.get_running_loop().time() + CONFIG_SECONDS
        if answer is not None:
            self.machine.configured(answer)

    async def _cycle(self) -> None:
        """Read, run what came, write everything that is not written yet."""
        answer = await self._attempt("distributed/read", {})
        self.counts["reads"] += 1
        if answer is None:
            return
        seconds = answer.get("accelerate")
        if isinstance(seconds, int):
            self._accelerated_until = asyncio.get_running_loop().time() + seconds
        queries = answer.get("queries")
        if isinstance(queries, dict):
            for name in sorted(queries, key=str.encode):
                await self._execute(name, str(queries[name]))
        if self._unsent:
            await self._write()
        if self.machine.carver.waiting and (self._carving is None or self._carving.done()):
            self._carving = asyncio.create_task(self._carve())

    async def _execute(self, name: str, sql: str) -> None:
        if self._manner.silent:
            return
        if self._manner.hanging and name.startswith(OF_CAMPAIGNS):
            await self.let_go.wait()
        if self._manner.slow_seconds:
            await asyncio.sleep(self._manner.slow_seconds)
        if self._manner.denylisted:
            self._unsent[name] = refuse("distributed query is denylisted")
        elif self._manner.failing:
            self._unsent[name] = refuse("disk I/O error")
        else:
            loop = asyncio.get_running_loop()
            self._unsent[name] = await loop.run_in_executor(self.pool, execute, self.machine, sql)
        self.machine.forget()

    async def _write(self) -> None:
        if await self._attempt("distributed/write", None) is None:
            return
        self.counts["writes"] += 1
        for name, answer in self._unsent.items():
            if self.sent is not None:
                self.sent(self.machine.identifier, name, answer.rows_json)
        self._unsent = {}

    async def _carve(self) -> None:
        """Send what is to be carved, one after the other, beside the reads."""
        await asyncio.sleep(CARVE_SECONDS)
        wire = self.wire.another()

        async def post(path: str, body: Mapping[str, Any]) -> bytes:
            signed = {**body, "node_key": self.node_key} if path == "carve/begin" else body
            return await wire.post(f"{self.prefix}/{path}", json.dumps(signed).encode(), self.node_key)

        gives_up = tuple(map(int, self.machine.version.split("."))) >= (5, 22)
        upload = Upload(post, int(self.machine.flags["carver_block_size"]), gives_up)
        try:
            while waiting := self.machine.carver.waiting:
                await upload.send(waiting[0])
                self.counts["carves"] += 1
        finally:
            wire.close()

    async def _attempt(self, path: str, body: dict[str, Any] | None) -> dict[str, Any] | None:
        """Give the answer; None when three attempts failed. `body` None = the answers that are not sent yet."""
        for attempt in range(1, ATTEMPTS + 1):
            if not self.node_key:
                await self.enroll()
            try:
                return await self._exchange(path, body)
            except UnknownError:
                self.node_key = ""
            except (RefusedError, TimedOutError, BrokenError) as error:
                self.counts["errors"] += 1
                logger.debug("request failed host=%s path=%s reason=%s", self.machine.identifier, path, error)
            if attempt < ATTEMPTS:
                await asyncio.sleep(attempt**2)
        return None

    async def _exchange(self, path: str, body: dict[str, Any] | None, *, keyless: bool = False) -> dict[str, Any]:
        if body is None:
            content = self._answers()
        else:
            content = json.dumps(body if keyless else {**body, "node_key": self.node_key}).encode()
        answer = await self.wire.post(f"{self.prefix}/{path}", content, "" if keyless else self.node_key)
        return understood(answer)

    def _answers(self) -> bytes:
        """Build the body of a write; rows go as the raw bytes they are."""
        unsent = self._unsent
        rows = b",".join(json.dumps(name).encode() + b":" + answer.rows_json for name, answer in unsent.items())
        rest = {
            "statuses": {name: answer.status for name, answer in unsent.items()},
            "messages": {name: answer.message for name, answer in unsent.items()},
            "stats": {name: answer.stats for name, answer in unsent.items()},
            "node_key": self.node_key,
        }
        return b'{"queries":{' + rows + b"}," + json.dumps(rest).encode()[1:]


def understood(body: bytes) -> dict[str, Any]:
    """Read an answer as the agent does: the HTTP status says nothing. Raise RefusedError or UnknownError."""
    if not body:
        return {}
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise RefusedError(f"not JSON: {body[:60]!r}") from error
    if not isinstance(answer, dict):
        raise RefusedError(f"not an object: {body[:60]!r}")
    if answer.get("node_invalid") is True:
        raise UnknownError
    if "error" in answer:
        raise RefusedError(str(answer["error"]))
    return answer
