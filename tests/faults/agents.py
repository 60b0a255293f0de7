"""Three hundred light agents that behave as osqueryd does, and a ledger of everything they were told.

Each runs: read, think, write, pause; a request has 16 s in all and is sent once more, at once, when its connection
breaks; a write is tried three times and then kept for the next cycle. Rows hold a number that no other answer has.
"""

import asyncio
import itertools
import json
import random
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

REQUEST_SECONDS = 16.0
ATTEMPTS = 3
INTERVAL = 2.0
LOG_EVERY = 3  # cycles
ENROLL_AT_ONCE = 16

_numbers = itertools.count(1)


class Manner(Enum):
    """What a host does with SQL."""

    ANSWERS = "answered"
    FAILS = "failed"
    REFUSES = "denylisted"
    SILENT = "no_answer"  # takes the SQL and never says anything
    AWAY = "missed"  # enrolled and never came again


class ServerSaidError(Exception):
    """The server said `error`, or nothing that an agent understands: it keeps what it has and comes again."""


class InvalidKeyError(Exception):
    """The server said `node_invalid`: the agent would enroll anew."""


class BrokenError(Exception):
    """Two connections broke, or the time was up."""


@dataclass(frozen=True)
class Sent:
    """One answer as it was sent: the number in its rows, and when it was sent first and acknowledged (Unix time)."""

    number: str
    sent: float
    acknowledged: float | None = None


@dataclass
class Ledger:
    """What hosts were handed and told, by (campaign, host)."""

    handed: dict[tuple[int, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    sent: dict[tuple[int, int], dict[str, Sent]] = field(default_factory=lambda: defaultdict(dict))
    reads: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))  # ends of reads, by host
    lines: set[str] = field(default_factory=set)  # log lines that were acknowledged
    errors: Counter[str] = field(default_factory=Counter)  # as the agent sees them
    resent: int = 0  # requests whose first connection broke

    def taken(self) -> int:
        """Count the acknowledged answers."""
        return sum(each.acknowledged is not None for sent in list(self.sent.values()) for each in list(sent.values()))

    def acknowledged(self, campaign: int, host: int) -> list[Sent]:
        """Give the answers of a host that the server said it has, in order."""
        return [each for each in self.sent.get((campaign, host), {}).values() if each.acknowledged is not None]


class Agent:
    """One host."""

    def __init__(self, name: str, manner: Manner, ledger: Ledger, crowd: "Crowd") -> None:
        self.name, self.manner, self._ledger, self._crowd = name, manner, ledger, crowd
        self.key = ""
        self.host = 0
        self._unsent: dict[str, dict[str, Any]] = {}
        self._cycles = random.randrange(LOG_EVERY)

    async def enroll(self) -> None:
        """Get a key; again until there is one."""
        details = {"os_version": {"platform": "ubuntu", "name": "Ubuntu"}, "system_info": {"hostname": self.name}}
        body = {"enroll_secret": self._crowd.secret, "host_identifier": self.name, "platform_type": "9"}
        while not self.key:
            try:
                self.key = str((await self._exchange("enroll", body | {"host_details": details}))["node_key"])
            except (ServerSaidError, BrokenError, KeyError):
                await asyncio.sleep(1)
        self.host = int(self.key.split(".")[1])

    async def live(self) -> None:
        """Ask and answer until cancelled."""
        while True:
            await self._cycle()
            await asyncio.sleep(INTERVAL * random.uniform(0.8, 1.2))

    async def _cycle(self) -> None:
        answer = await self._attempt("distributed/read", {})
        self._ledger.reads[self.host].append(time.time())
        for name in sorted(name for name in (answer or {}).get("queries", {}) if name.startswith("c")):
            self._ledger.handed[int(name[1:]), self.host].append(time.time())
            if self.manner is not Manner.SILENT:
                await asyncio.sleep(random.uniform(0, self._crowd.think))
                self._unsent[name] = {"n": f"n{next(_numbers)}", "host": str(self.host), "q": name}
        if self._unsent:
            await self._write()
        self._cycles += 1
        if self.host % 10 == 0 and self._cycles % LOG_EVERY == 0:
            await self._log()

    async def _write(self) -> None:
        answers = dict(self._unsent)
        for name, row in answers.items():
            self._note(name, row["n"], acknowledged=False)
        status = {Manner.FAILS: 1, Manner.REFUSES: 1}.get(self.manner, 0)
        said = {Manner.FAILS: "disk I/O error", Manner.REFUSES: "distributed query is denylisted"}.get(self.manner, "")
        body = {
            "queries": {name: [] if status else [row] for name, row in answers.items()},
            "statuses": dict.fromkeys(answers, status),
            "messages": dict.fromkeys(answers, said),
        }
        if await self._attempt("distributed/write", body) is None:
            return
        for name, row in answers.items():
            self._note(name, row["n"], acknowledged=True)
        self._unsent.clear()

    def _note(self, name: str, number: str, *, acknowledged: bool) -> None:
        known = self._ledger.sent[int(name[1:]), self.host]
        first = known[number].sent if number in known else time.time()
        known[number] = Sent(number, first, time.time() if acknowledged else None)

    async def _log(self) -> None:
        line = f"line-{next(_numbers)}"
        body = {"log_type": "result", "data": [{"name": line, "action": "added"}]}
        if await self._attempt("log", body) is not None:
            self._ledger.lines.add(line)

    async def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send one request under its key. Raise ServerSaidError, InvalidKeyError or BrokenError."""
        return await self._exchange(path, body | {"node_key": self.key})

    async def _attempt(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Give the answer; None when three attempts failed, as an agent pauses between them."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self.ask(path, body)
            except InvalidKeyError:
                self._ledger.errors["node_invalid"] += 1
            except (ServerSaidError, BrokenError) as error:
                self._ledger.errors[f"{path}: {error}"] += 1
            if attempt < ATTEMPTS:
                await asyncio.sleep(attempt**2)
        return None

    async def _exchange(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        content = json.dumps(body).encode()
        head = f"POST /api/osquery/{path} HTTP/1.1\r\nHost: fleet\r\nContent-Length: {len(content)}\r\n\r\n"
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                try:
                    return understood(await self._crowd.exchange(head.encode() + content))
                except OSError:
                    self._ledger.resent += 1
                    return understood(await self._crowd.exchange(head.encode() + content))
        except TimeoutError:
            raise BrokenError("no answer within 16 s") from None
        except OSError as error:
            raise BrokenError(f"connection broke: {error}") from error


def understood(answer: bytes) -> dict[str, Any]:
    """Read an answer as an agent does. Raise ServerSaidError or InvalidKeyError."""
    found = json.loads(answer) if answer else {}
    if not isinstance(found, dict):
        raise ServerSaidError(f"not an object: {answer[:60]!r}")
    if found.get("node_invalid") is True:
        raise InvalidKeyError
    if "error" in found:
        raise ServerSaidError(str(found["error"]))
    return found


class Crowd:
    """Agents of one loop behind one port, and their ledger."""

    def __init__(self, port: int, secret: str, think: float = 1.0) -> None:
        self.port, self.secret, self.think = port, secret, think
        self.ledger = Ledger()
        self.agents: list[Agent] = []
        self._living: list[asyncio.Task[None]] = []

    async def join(self, manners: list[Manner], prefix: str) -> None:
        """Enroll one host for each, and let them live."""
        fresh = [Agent(f"{prefix}-{place}", manner, self.ledger, self) for place, manner in enumerate(manners)]
        gate = asyncio.Semaphore(ENROLL_AT_ONCE)

        async def enroll(agent: Agent) -> None:
            async with gate:
                await agent.enroll()

        await asyncio.gather(*map(enroll, fresh))
        self.agents += fresh
        self._living += [asyncio.create_task(agent.live()) for agent in fresh if agent.manner is not Manner.AWAY]

    async def leave(self) -> None:
        """End all of them."""
        for task in self._living:
            task.cancel()
        await asyncio.gather(*self._living, return_exceptions=True)

    def trouble(self) -> list[BaseException]:
        """Give what ended agents before their time: mistakes of this file."""
        return [error for task in self._living if task.done() and not task.cancelled() and (error := task.exception())]

    async def exchange(self, request: bytes) -> bytes:
        """Send one request on a connection of its own; give the body of the answer. Raise OSError when it breaks."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
            return await reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError(f"closed after {len(error.partial)} bytes") from error
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
