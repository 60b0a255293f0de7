"""The process that talks to agents: a raw ASGI app that keeps the board in memory.

Imports no Django, Celery or Channels: an idle check-in is a signature and one bit. Only enrollment and carves, rare
and in need of Postgres, go through Django (`agents.gateway.django_bridge`).
"""

import asyncio
import logging
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from types import FrameType

from redis.exceptions import RedisError

from agents.board.copy import Board
from agents.board.gateway_verbs import Store
from agents.board.keyspace import NoBoardError
from agents.gateway.asgi_types import App, Receive, Scope, Send
from agents.gateway.body import (
    SMALL_BODY_BYTES,
    Arrivals,
    Body,
    BodyRefusedError,
    Budget,
    ClientGoneError,
    Keeper,
    Whole,
)
from agents.gateway.cutting import Cutter
from agents.gateway.django_bridge import ENROLL_BYTES, ENVELOPE_BYTES, Cold
from agents.gateway.figures import UNKNOWN_ADDRESS, Figures
from agents.gateway.follower import Follower
from agents.gateway.held_reads import Hold
from agents.gateway.identity import Identities
from agents.gateway.log_sink import LogSink, Rotation
from agents.gateway.mistakes import Mistakes
from agents.gateway.reads import Handout, Reads, RevokedError
from agents.gateway.strangers import Strangers
from agents.protocol import messages
from agents.protocol.endpoints import PREFIXES, QUICK_INTERVAL, SLOW_INTERVAL, VERBS, verb_of
from agents.protocol.messages import refusal
from agents.protocol.node_key import Identity, NodeKeys
from fleet.cancelling import end
from fleet.metrics import note_error
from fleet.peers import Peers

logger = logging.getLogger(__name__)

NODE_INVALID_PER_SECOND = 100


@dataclass(frozen=True)
class GatewaySettings:
    """What the gateway needs to know; units as in `fleet.settings`."""

    redis_url: str
    node_key_secrets: list[str]
    trusted_proxies: list[str]
    log_sink: str
    log_file_max_bytes: int
    log_files_kept: int
    hold_seconds: float
    max_held_reads: int
    wake_per_second: int
    live_queries_per_read: int
    max_body_bytes: int
    large_bodies_bytes: int
    log_max_bytes: int
    max_result_bytes: int
    stream_max_bytes: int
    carve_max_block_bytes: int


Handler = Callable[[Identity, messages.Members, Receive], Awaitable[bytes | Handout | None]]


class Gateway:
    """Serves `config`, `log`, `distributed/read` and `distributed/write`; hands `enroll` and carves to `cold`."""

    def __init__(self, settings: GatewaySettings, cold: App) -> None:
        self._settings = settings
        self._keys = NodeKeys(settings.node_key_secrets)
        self._peers = Peers(settings.trusted_proxies)
        self._budget = Budget(settings.large_bodies_bytes)
        self._arrivals = Arrivals()
        self._cold = self._cold_endpoints(cold)
        self._small_body = min(SMALL_BODY_BYTES, settings.max_result_bytes)  # such a body has no rows to cut
        self.board = Board()
        self.hold = Hold(settings.max_held_reads, settings.wake_per_second)
        self.counts: Counter[str] = Counter()
        self._identities = Identities()
        self._mistakes = Mistakes()
        self._invalid_said = (0, 0)
        self._tasks: list[asyncio.Task[None]] = []
        self.store: Store
        self._follower: Follower
        self._strangers: Strangers
        self._reads: Reads
        self._figures = Figures(self.counts, self.hold, self.board, lambda: self.store, settings.max_held_reads)
        self._config: tuple[tuple[bytes, int] | None, bytes] = None, b""
        self._sink: LogSink | None = None
        self._handlers: dict[str, Handler] = {
            "config": self._serve_config,
            "log": self._take_log,
            "distributed/read": self._read,
            "distributed/write": self._write,
        }
        self._keepers = _keepers(settings)

    def _cold_endpoints(self, app: App) -> dict[str, Cold]:
        block = self._settings.carve_max_block_bytes * 2 + ENVELOPE_BYTES  # base64 makes four bytes of three
        limits = {"enroll": (ENROLL_BYTES, messages.error)}
        limits |= dict.fromkeys(("carve/begin", "carve/block"), (block, refusal))
        return {
            verb: Cold(app, PREFIXES[0] + verb, limit, trouble, self._budget)
            for verb, (limit, trouble) in limits.items()
        }

    # --- its life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store and begin to follow the board. Needs the running loop; Redis may still be away."""
        settings = self._settings
        self.store = Store(settings.redis_url, self.board, secrets.token_hex(4))
        self._reads = Reads(
            self.store,
            self.board,
            self.hold,
            self.counts,
            settings.hold_seconds,
            settings.live_queries_per_read,
            settings.stream_max_bytes,
        )
        if settings.log_sink:
            rotation = Rotation(settings.log_file_max_bytes, settings.log_files_kept)
            self._sink = LogSink(settings.log_sink, settings.redis_url, rotation)
        self._follower = Follower(self.store, self.board, self.hold, self._identities, settings.max_held_reads)
        self._strangers = Strangers(self.board, self._follower, self._identities)
        await self._follower.start()
        self._figures.show()
        self._release_on_sigterm()

    async def stop(self) -> None:
        """Let go of everything."""
        self._figures.hide()
        await self.hold.close()
        await end(self._tasks)
        await self._follower.stop()
        await self.store.close()
        if self._sink is not None:
            await self._sink.close()

    def _release_on_sigterm(self) -> None:
        """Answer held reads as soon as the server is told to stop: it waits for them before it tells the app.

        Only beside a server's own handler: without one SIGTERM ends the process, and that must stay so.
        """
        loop = asyncio.get_running_loop()
        before = signal.getsignal(signal.SIGTERM)
        if not callable(before) or threading.current_thread() is not threading.main_thread():
            return

        def release(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(lambda: self._tasks.append(asyncio.ensure_future(self.hold.close())))
            before(number, frame)

        signal.signal(signal.SIGTERM, release)

    @property
    def distributed_interval(self) -> int:
        """Give the pause between two reads that agents are told, in seconds: short while there is room to hold them."""
        return QUICK_INTERVAL if self._settings.hold_seconds and not self._follower.is_crowded else SLOW_INTERVAL

    # --- one request ------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of an agent, always with a JSON object."""
        verb = verb_of(scope["path"])
        self.counts[verb if verb in VERBS else UNKNOWN_ADDRESS] += 1
        answer: bytes | Handout | None
        try:
            if verb in self._cold:
                answer = await self._cold[verb].answer(scope, receive)
            else:
                answer = await self._answer(verb, scope, receive)
        except ClientGoneError as gone:  # some only send no more, and still listen
            answer = messages.error(str(gone))
        except BodyRefusedError as refusal:
            answer = self._trouble("refused body", str(refusal))
        except NoBoardError:
            answer = self._trouble("no board", "the board is being rebuilt, come again")
        except (RedisError, OSError) as error:
            note_error(error)
            answer = self._trouble("no redis", "the server cannot reach its board, come again", error)
        except Exception:
            logger.exception("request failed path=%s", scope["path"])
            answer = self._trouble("failed", "the server failed on this request, come again")
        if isinstance(answer, Handout):
            await self._hand_out(send, answer)
        elif answer is not None:
            await respond(send, answer)

    async def _hand_out(self, send: Send, handout: Handout) -> None:
        try:
            await respond(send, handout.body)
        except OSError:
            await self._reads.give_back(handout)

    def _trouble(self, kind: str, sentence: str, error: Exception | None = None) -> bytes:
        self.counts[kind] += 1
        if self.counts[kind] & (self.counts[kind] - 1) == 0:  # the 1st, 2nd, 4th, 8th … time
            reason = error or sentence
            logger.warning("agents told to come again kind=%s times=%s reason=%s", kind, self.counts[kind], reason)
        return messages.error(sentence)

    async def _answer(self, verb: str | None, scope: Scope, receive: Receive) -> bytes | Handout | None:
        handler = self._handlers.get(verb or "")
        if verb is None or handler is None or scope["method"] != "POST":
            return messages.error(f"no such endpoint: {scope['method']} {scope['path']}")
        with Body(self._budget, self._arrivals, self._small_body, self._settings.max_body_bytes) as body:
            content = await body.read(receive, self._keepers[verb])
            members, identity = self._sent_by(content, scope)
            if members is None:
                host = identity.host if identity else None
                self._mistakes.note("no JSON object came", host, verb, content, self._address_of(scope))
                is_lost = not body.arrived and _header(scope, b"content-length") not in (b"", b"0")
                return self._unreadable(verb, is_lost=is_lost)
            if identity is None:
                return self._node_invalid()
            if not self.board.generation:
                raise NoBoardError  # nor is it known yet who was revoked
            if self.board.has_revoked(identity.host, identity.epoch):
                return self._node_invalid()
            if self.board.is_stranger(identity) and await self._strangers.is_one(identity):
                return self._node_invalid()
            address = self._address_of(scope)
            self._follower.note_use(identity, verb, address)
            self._identities.enter(identity, address, verb)
            try:
                return await handler(identity, members, receive)
            finally:
                self._identities.leave(identity, address, verb)

    def _address_of(self, scope: Scope) -> str:
        peer: str = (scope.get("client") or ("",))[0]
        if not self._peers.is_proxy(peer):
            return peer
        return self._peers.address_of(peer, _header(scope, b"x-forwarded-for"))

    def _sent_by(self, body: messages.Buffer, scope: Scope) -> tuple[messages.Members | None, Identity | None]:
        """Give what a body holds, None when that cannot be read, and who sent it. Only hosts' bodies are repaired."""
        members = messages.sound_members_of(body)
        named = members or messages.node_key_in(body)
        key = messages.node_key_of(named, b"" if "node_key" in named else _header(scope, b"authorization"))
        identity = self._keys.verify(key)
        if members is None and identity is not None:
            members = messages.members_of(body)
        elif members is None and key is not None:
            members = {}
        return members, identity

    def _unreadable(self, verb: str, *, is_lost: bool) -> bytes:
        """Drop what is no JSON object: it would come again for ever. But an empty config would wipe the schedule,
        and a body the server did not read (it was asked to switch protocols) may have been an answer."""
        self.counts["not json"] += 1
        if is_lost or verb == "config":
            return messages.error("the request has no JSON object")
        return messages.NOTHING

    def _node_invalid(self) -> bytes:
        self.counts["node invalid"] += 1
        second, times = self._invalid_said
        now = int(time.monotonic())
        times = times + 1 if second == now else 1
        self._invalid_said = (now, times)
        if times > NODE_INVALID_PER_SECOND:
            return messages.error("too many hosts are told to enroll again, come again")
        return messages.NODE_INVALID

    # --- the verbs --------------------------------------------------------------------------------------------

    async def _serve_config(self, identity: Identity, members: object, receive: Receive) -> bytes:
        """Serve the last known document; before any is known the agent keeps the config it has."""
        document = self.board.config
        if document is None:
            return self._trouble("no config", "the server does not know its config yet, come again")
        known = document, self.distributed_interval
        if self._config[0] != known:
            self._config = known, messages.config(*known)
        return self._config[1]

    async def _take_log(self, identity: Identity, members: messages.Members, receive: Receive) -> bytes:
        """Say `{}` when the sink has the lines; without a sink, or for what is no log, they are counted and dropped."""
        self.counts["log batches"] += 1
        batch = messages.log_lines_of(members)
        if batch is None:
            self._mistakes.note("log batch dropped", identity.host, "log", members.get("log_type", b""))
        elif self._sink is not None:
            self.counts["log lines"] += await self._sink.append(identity.host, *batch)
        return messages.NOTHING

    async def _read(self, identity: Identity, members: object, receive: Receive) -> bytes | Handout | None:
        try:
            answer = await self._reads.serve(identity, receive)
        except RevokedError:
            return self._node_invalid()
        if isinstance(answer, Handout) or (answer is not None and self.board.has_work(identity.host)):
            self._follower.note_use(identity, "distributed/read")  # until now it listened for what else there is
        return answer

    async def _write(self, identity: Identity, members: messages.Members, receive: Receive) -> bytes:
        """Take the answers that are owed; say `{}` only when they are in the stream."""
        if self.store.backlog > 2 * self._settings.stream_max_bytes:
            return self._trouble("backlog", "the server is behind with storing answers, come again")
        answers = messages.answers_of(members)
        if not answers:
            self.counts["writes without answers"] += 1
            return messages.NOTHING
        generation = self.board.generation
        verdicts = await self.store.accept(identity.host, answers)
        self.counts.update(verdict.decode() for verdict in verdicts)
        taken = [answer.campaign for answer, verdict in zip(answers, verdicts, strict=True) if verdict == b"stored"]
        self.board.clear(identity.host, taken, generation)
        return messages.NOTHING


def _keepers(settings: GatewaySettings) -> dict[str, Callable[[], Keeper]]:
    """Give what keeps a large body, by verb: writes are cut to whole rows, all else is taken whole or not at all."""
    most = settings.max_body_bytes
    return {
        "config": partial(Whole, SMALL_BODY_BYTES),
        "log": partial(Whole, min(most, settings.log_max_bytes)),
        "distributed/read": partial(Whole, SMALL_BODY_BYTES),
        "distributed/write": partial(Cutter, settings.max_result_bytes, most),
    }


def _header(scope: Scope, name: bytes) -> bytes:
    """Give the last header of a name, which is written in lower case; empty when there is none."""
    for each, value in reversed(scope["headers"]):
        if each == name:
            content: bytes = value
            return content
    return b""


_JSON, _TEXT, _CLOSE = (
    (b"content-type", b"application/json"),
    (b"content-type", b"text/plain"),
    (b"connection", b"close"),
)


async def respond(send: Send, body: bytes) -> None:
    """Send a JSON object (carves: or a sentence); `close`, exactly so spelled, frees the agent's socket at once."""
    headers = [_JSON if body.startswith(b"{") else _TEXT, (b"content-length", b"%d" % len(body)), _CLOSE]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
