"""The agents' side of Redis: claim, accept, tell who asked, keep the copy of the board fresh.

Each verb is one script (`agents/board/lua`), called through the shared pipeline.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from redis.exceptions import RedisError

from agents.board import keyspace
from agents.board.copy import Board, Place
from agents.board.keyspace import NoBoardError
from agents.board.pipeline import Pipeline
from agents.protocol.messages import Answer
from fleet.metrics import note_error

logger = logging.getLogger(__name__)

OFFER_AGAIN_MS = 5_000  # after the first further read of a host that was handed the SQL
DELIVERIES = 3
SWEEP_SILENT_MS = 15_000  # nothing with brakes is handed out when nobody watched them for so long
HELD_FORGOTTEN_MS = 5_000  # of a gateway that told nothing for so long no held reads are counted
OLDER_KEY_MS = 60_000  # so long after the first use of a newer key, an older one means a second machine
STREAK_MS = 60_000  # a host that pauses longer begins a new streak of reads
ANSWERS_A_CALL = 100
STRANGERS_SECONDS = 60  # so long after the last one /readyz speaks of them
HOSTS_A_CALL = 5_000
COALESCE_SECONDS = 0.02
LOOK_SECONDS = 1.0


class Claim(NamedTuple):
    """What the board says to a read: SQL by campaign; else whether to answer at once, and when to ask again."""

    work: list[tuple[int, str]]
    accelerate: int  # seconds for which the host shall come quickly; 0 = as it does
    at_once: bool
    again_in: float | None  # seconds; None = when woken
    never: list[int]
    traces: tuple[tuple[int, bytes], ...] = ()  # of what was handed out and can be given back


class Held(NamedTuple):
    """How many reads are held, and how many could be."""

    reads: int
    limit: int


class Used(NamedTuple):
    """A key that a request came with, and what for: "r" = a distributed read, "w" = a distributed write, "" = else."""

    host: int
    epoch: int
    kind: str
    address: str


class Store:
    """The board in Redis, as one gateway process sees it."""

    def __init__(self, url: str, board: Board, name: str) -> None:
        self._url, self._board, self._name = url, board, name
        self._client = keyspace.connect_async(url)
        self._pipeline = Pipeline(self._client)
        self.backlog = 0  # bytes in the stream, looked at every second

    @property
    def round_trips(self) -> int:
        """Count the shared round trips of claims and accepts so far."""
        return self._pipeline.round_trips

    async def claim(self, host: int, campaigns: Sequence[int], age: float, limit: int) -> Claim:
        """Ask for what `host` may be handed now by a read that began `age` seconds ago.

        Raise NoBoardError, or RedisError when Redis is away.
        """
        seat = keyspace.seat_of(host)
        keys = [keyspace.EPOCH, keyspace.STREAM, keyspace.SLOW_POLLERS, keyspace.SWEPT, keyspace.OFF]
        for campaign in campaigns:
            keys += (
                keyspace.campaign_key(campaign),
                keyspace.offer_key(campaign, seat.number),
                keyspace.flight_key(campaign),
            )
        age_ms = int(age * 1000)  # rounded down: a read that came after another one must not seem to be its twin
        args: list[object] = [self._board.epoch or b"", host, seat.bit, age_ms, limit, OFFER_AGAIN_MS, DELIVERIES]
        args += [SWEEP_SILENT_MS, *campaigns]
        return _claim(await self._call("claim", keys, args))

    async def give_back(self, host: int, traces: Sequence[tuple[int, bytes]]) -> int:
        """Undo deliveries to `host` that never left this gateway; give how many still stood.

        Raise NoBoardError, or RedisError when Redis is away.
        """
        keys = [keyspace.EPOCH, keyspace.STREAM]
        args: list[object] = [self._board.epoch or b"", host]
        for campaign, trace in traces:
            keys.append(keyspace.flight_key(campaign))
            args += (campaign, trace)
        return (await self._call("give_back", keys, args)).count(b"given back")

    async def accept(self, host: int, answers: Sequence[Answer]) -> list[bytes]:
        """Put what `host` answers into the stream, as far as it is owed.

        Gives for each b"stored", b"not owed" or b"unknown". Raise NoBoardError, or RedisError when Redis is away.
        """
        verdicts: list[bytes] = []
        for start in range(0, len(answers), ANSWERS_A_CALL):
            verdicts += await self._accept(host, answers[start : start + ANSWERS_A_CALL])
        return verdicts

    async def _accept(self, host: int, answers: Sequence[Answer]) -> list[bytes]:
        seat = keyspace.seat_of(host)
        keys = [keyspace.EPOCH, keyspace.STREAM]
        args: list[object] = [self._board.epoch or b"", host, seat.bit]
        for answer in answers:
            keys += (
                keyspace.campaign_key(answer.campaign),
                keyspace.owed_key(answer.campaign, seat.number),
                keyspace.offer_key(answer.campaign, seat.number),
                keyspace.flight_key(answer.campaign),
            )
            marks = (b"t" if answer.truncated else b"") + (b"d" if answer.is_denylisted else b"")
            args += [answer.campaign, answer.status, answer.message, answer.stats, answer.rows, marks]
        return await self._call("accept", keys, args)

    async def _call(self, script: str, keys: Sequence[str], args: Sequence[object]) -> list[bytes]:
        answer: list[bytes] = await self._pipeline.call(script, keys, args)
        if answer == [keyspace.NO_BOARD]:
            raise NoBoardError
        return answer

    async def tell_reads(self, asked: dict[Used, float]) -> None:
        """Tell which keys were used how many seconds ago, and that this gateway is alive."""
        keys = [keyspace.READS, keyspace.GATEWAYS, keyspace.KEYS_IN_USE, keyspace.DOUBTS, keyspace.WRITES]
        keys.append(keyspace.ADDRESSES)
        hosts = list(asked.items())
        for start in range(0, max(1, len(hosts)), HOSTS_A_CALL):
            args: list[object] = [self._name, STREAK_MS, OLDER_KEY_MS, int(start + HOSTS_A_CALL >= len(hosts))]
            for used, seconds in hosts[start : start + HOSTS_A_CALL]:
                args += (used.host, used.epoch, round(seconds * 1000), used.kind, used.address)
            await self._pipeline.call("mark_reads", keys, args)

    async def tell_held(self, held: int, limit: int) -> Held:
        """Tell how many of `limit` reads this gateway holds; give the same of all gateways. After `tell_reads`."""
        args = [self._name, held, limit, HELD_FORGOTTEN_MS]
        return Held(*await self._pipeline.call("mark_held", [keyspace.HELD, keyspace.GATEWAYS], args))

    async def leave(self) -> None:
        """Tell that this gateway ends: nobody waits for what it has to tell."""
        await self._client.pipeline().hdel(keyspace.GATEWAYS, self._name).hdel(keyspace.HELD, self._name).execute()

    async def tell_doubts(self, doubts: dict[int, str], old_secrets: Mapping[int, int], strangers: int) -> None:
        """Tell whose identity is in doubt and why, how often keys of which old secret were used, and how often keys
        that speak for no host of this database."""
        if not doubts and not old_secrets and not strangers:
            return
        pipe = self._client.pipeline(transaction=False)
        if doubts:
            pipe.hset(keyspace.DOUBTS, mapping=doubts)
        for place, times in old_secrets.items():
            pipe.hincrby(keyspace.OLD_SECRETS, str(place), times)
        if strangers:
            pipe.incrby(keyspace.STRANGERS, strangers).expire(keyspace.STRANGERS, STRANGERS_SECONDS)
        await pipe.execute()

    async def refresh(self) -> dict[int, bytes]:
        """Bring the copy up to date; give the bitmaps of hosts with new work. Versions are read first, pieces after."""
        epoch, version, self.backlog = await self._look()
        if epoch is None:
            self._board.epoch = self._board.version = None
            return {}
        if (epoch, version) == (self._board.epoch, self._board.version):
            return {}
        pipe = self._client.pipeline(transaction=False)
        pipe.hgetall(keyspace.PIECES).hgetall(keyspace.FLOORS).get(keyspace.CONFIG)
        pipe.hgetall(keyspace.INSTALLATION).hgetall(keyspace.HOSTS)
        fields, floors, self._board.config, installation, ranges = await pipe.execute()
        versions = {_place(field): held for field, held in fields.items()}
        if epoch != self._board.epoch:
            self._board.versions = dict.fromkeys(self._board.versions, b"")
            self._board.host_versions = {}
        await self._refresh_hosts(installation, {int(number): held for number, held in ranges.items()})
        changed = self._board.changed(versions)
        offers = await self._client.mget([keyspace.offer_key(*place) for place in changed]) if changed else []
        pieces = {place: offer for place, offer in zip(changed, offers, strict=True) if offer is not None}
        gone = set(changed) - pieces.keys()
        fresh = self._board.replace({place: versions[place] for place in versions.keys() - gone}, pieces)
        self._board.floors = {int(host): int(floor) for host, floor in floors.items()}
        self._board.epoch, self._board.version = epoch, version
        return fresh

    async def _refresh_hosts(self, installation: Mapping[bytes, bytes], versions: dict[int, bytes]) -> None:
        """Take over which hosts there are; no version is older than the tags that were read after it."""
        board = self._board
        changed = [number for number, held in versions.items() if board.host_versions.get(number) != held]
        tags = await self._client.mget([keyspace.hosts_key(number) for number in changed]) if changed else []
        kept = {number: held for number, held in board.hosts.items() if number in versions}
        board.hosts = kept | {number: held or b"" for number, held in zip(changed, tags, strict=True)}
        board.host_versions = versions
        board.installation = installation[b"name"].decode() if installation else None
        board.old_keys_up_to = int(installation.get(b"old_keys_up_to", 0))

    async def _look(self) -> tuple[bytes | None, bytes | None, int]:
        pipe = self._client.pipeline(transaction=False)
        pipe.get(keyspace.EPOCH).get(keyspace.VERSION)
        pipe.execute_command("MEMORY", "USAGE", keyspace.STREAM, "SAMPLES", 100)
        epoch, version, size = await pipe.execute()
        return epoch, version, size or 0

    async def listen(self, rung: asyncio.Event) -> None:
        """Set `rung` whenever the version was raised. Ends when cancelled; a lost connection is opened again."""
        while True:
            try:
                async with self._client.pubsub() as bells:
                    await bells.subscribe(keyspace.bell_channel(self._url))
                    while True:
                        if await bells.get_message(ignore_subscribe_messages=True, timeout=30) is not None:
                            rung.set()
            except (RedisError, OSError) as error:
                note_error(error)
                logger.warning("bell lost reason=%s: the version is still looked at every second", error)
                await asyncio.sleep(LOOK_SECONDS)

    async def close(self) -> None:
        """Close the connections, after the round trip under way."""
        await self._pipeline.close()
        with suppress(RedisError, OSError):
            await self._client.aclose()


def _claim(answer: list[bytes]) -> Claim:
    work, never, waits, traces, at_once, accelerate = [], [], [], [], False, 0
    for i in range(0, len(answer), 5):
        campaign, verdict, detail, sql, trace = int(answer[i]), *answer[i + 1 : i + 5]
        if verdict == b"work":
            work.append((campaign, sql.decode()))
            accelerate = int(detail or 0)
            if campaign < 0:  # housekeeping is offered once
                never.append(campaign)
            else:
                traces.append((campaign, trace))
        elif verdict == b"never":
            never.append(campaign)
        elif verdict == b"nothing":
            at_once = True
        elif detail:
            waits.append(int(detail) / 1000)
    return Claim(work, accelerate, at_once, min(waits, default=None), never, tuple(traces))


def _place(field: bytes) -> Place:
    campaign, _, number = field.partition(b":")
    return int(campaign), int(number)
