"""A gateway on a real port, and hosts that speak to it in bytes: no HTTP client smooths anything over."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop
from django.conf import settings

from agents.board import keyspace, operator_verbs, redis_client
from agents.enrolling.desk import Desk
from agents.gateway.app import Gateway
from agents.gateway.asgi_types import App
from agents.protocol.node_key import NodeKeys
from fleet.asgi import Application
from fleet.handler import Handler
from fleet.serve import make_server, serve
from tests.conftest import gateway_settings, no_cold_app
from tests.ports import free_port

HOST = 12
PATIENCE = 90  # seconds; nothing here should take one, but the machine may do other things as well
START_PATIENCE = 120  # of a whole process
STOP_PATIENCE = 30  # of a process that waits for nobody


class Reply(NamedTuple):
    """One HTTP response, taken apart by hand."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def answer(self) -> dict[str, Any]:
        """Give the JSON object every agent must get, on a connection that is closed."""
        assert self.status == 200
        assert self.headers[b"connection"] == b"close", "exactly so spelled, or the agent keeps its socket"
        assert self.headers[b"content-type"] == b"application/json"
        assert int(self.headers[b"content-length"]) == len(self.body) > 0
        answer = json.loads(self.body)
        assert isinstance(answer, dict), "agents crash on a bare scalar"
        return answer


class Server:
    """A port that somebody listens on."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self) -> socket.socket:
        """Open a connection, as osqueryd does for each request."""
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def listens(self) -> bool:
        """Say whether connections are taken."""
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def send(self, request: bytes) -> Reply:
        """Send these bytes on a new connection, read until the server closes it."""
        with self.connect() as connection:
            connection.sendall(request)
            return reply(received(connection))


class Wire(Server):
    """A gateway that listens, and what a host does with sockets."""

    def __init__(self, gateway: Gateway, port: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(port)
        self.gateway, self._loop = gateway, loop

    def key(self, host: int = HOST) -> str:
        """Give a host's node key."""
        return key_of(host)

    def post(self, verb: str, body: bytes | dict[str, Any], *headers: bytes) -> dict[str, Any]:
        """Send one request as osqueryd would, give the answer."""
        return self.send(request(verb, body, *headers)).answer

    def read(self, host: int = HOST) -> dict[str, Any]:
        """Ask for work."""
        return self.post("distributed/read", {"node_key": self.key(host)})

    def write(self, members: bytes, host: int = HOST) -> dict[str, Any]:
        """Answer with these members, as bytes, beside the key."""
        return self.post("distributed/write", b'{%s,"node_key":"%s"}' % (members, self.key(host).encode()))

    def arm(self, *campaigns: int, hosts: tuple[int, ...] = (HOST,)) -> None:
        """Open campaigns over hosts, and let the gateway see them."""
        for campaign in campaigns:
            operator_verbs.arm(campaign, 0, hosts, f"SELECT {campaign}", 60)
        self.refresh()

    def refresh(self) -> None:
        """Let the gateway look at the board now."""

        async def look() -> None:
            self.gateway.hold.wake(await self.gateway.store.refresh())

        asyncio.run_coroutine_threadsafe(look(), self._loop).result(PATIENCE)


class GatewayProcess(Server):
    """A gateway as it is deployed, in a process of its own."""

    def __init__(self, log: Path, environment: dict[str, str], app: str = "gateway", *options: str) -> None:
        super().__init__(free_port())
        command = [sys.executable, "-m", "fleet.serve", app, "--port", str(self.port), *options]
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, env=environment, stderr=output, stdout=output)
        self.pid = self.process.pid
        eventually(lambda: self.listens() or self.process.poll() is not None, START_PATIENCE)
        assert self.process.poll() is None, log.read_text()

    def stop(self) -> None:
        """End it, as a service manager does."""
        self.process.terminate()
        assert self.process.wait(STOP_PATIENCE) in (0, -signal.SIGTERM)
        assert b"Traceback" not in self.log.read_bytes()


StartProcess = Callable[..., GatewayProcess]


def key_of(host: int) -> str:
    """Give a host's node key."""
    return NodeKeys(settings.NODE_KEY_SECRETS).issue(host, 1)


def request(verb: str, body: bytes | dict[str, Any], *headers: bytes) -> bytes:
    """Write a request in the order and case osqueryd uses."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [
        b"POST /api/osquery/%s HTTP/1.1" % verb.encode(),
        b"Content-Type: application/json",
        b"Accept: application/json",
        b"User-Agent: osquery/5.23.0",
        *headers,
        b"Host: fleet.example:8412",
        b"Content-Length: %d" % len(content),
    ]
    return b"\r\n".join(head) + b"\r\n\r\n" + content


def received(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    content = b""
    while piece := connection.recv(2**16):
        content += piece
    return content


def reply(content: bytes) -> Reply:
    """Take one response apart; nothing may come before or after it."""
    head, _, body = content.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    version, status, _ = line.split(b" ", 2)
    assert version == b"HTTP/1.1"
    assert b"HTTP/1.1" not in body
    headers = dict(field.split(b": ", 1) for field in fields)
    return Reply(int(status), {name.lower(): value for name, value in headers.items()}, body)


def entries(kind: bytes = b"a") -> list[dict[bytes, bytes]]:
    """Give the stream's entries of a kind."""
    return [fields for _, fields in redis_client.client().xrange(keyspace.STREAM) if fields[b"k"] == kind]


def eventually(is_so: Callable[[], bool], within: float = PATIENCE) -> None:
    """Return when something is so. Fail when it never is."""
    deadline = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Served:
    """Gateways, each served as it is deployed, but in a thread of its own and without TLS."""

    def __init__(self) -> None:
        self._opened: list[tuple[asyncio.AbstractEventLoop, asyncio.Event, threading.Thread]] = []

    def start(self, cold: App = no_cold_app, **changes: Any) -> Wire:
        """Serve a gateway with changed settings, and an app behind it."""
        gateway = Gateway(gateway_settings(**changes), cold=cold)
        app = Application(gateway, people=False)
        port = free_port()
        told: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

        async def run() -> None:
            stop = asyncio.Event()
            told.append((asyncio.get_running_loop(), stop))
            await serve(app, [make_server(app, "127.0.0.1", port)], stop)

        thread = threading.Thread(target=uvloop.run, args=(run(),))
        thread.start()
        eventually(lambda: bool(told))
        self._opened.append((*told[0], thread))
        wire = Wire(gateway, port, told[0][0])
        eventually(wire.listens)
        return wire

    def stop(self) -> None:
        """Stop all."""
        for loop, stop, _ in self._opened:
            loop.call_soon_threadsafe(stop.set)
        for *_, thread in self._opened:
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.fixture
def listen(board: None) -> Iterator[Callable[..., Wire]]:
    """Serve gateways with changed settings."""
    served = Served()

    def start(**changes: Any) -> Wire:
        wire = served.start(**changes)
        wire.refresh()
        return wire

    yield start
    served.stop()


@pytest.fixture
def own_process(board: None, tmp_path: Path) -> Iterator[StartProcess]:
    """Start gateways in processes of their own, with changed settings."""
    opened: list[GatewayProcess] = []

    def start(**changes: float) -> GatewayProcess:
        changed = {name.upper(): str(value) for name, value in changes.items()}
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "fleet.settings", **changed}
        opened.append(GatewayProcess(tmp_path / f"gateway-{len(opened)}.log", environment))
        return opened[-1]

    yield start
    for process in opened:
        process.stop()


@pytest.fixture(scope="module")
def plain() -> Iterator[Wire]:
    """Serve one gateway that answers idle reads at once for all tests of a file."""
    served = Served()
    yield served.start()
    served.stop()


@pytest.fixture
def wire(plain: Wire, board: None) -> Wire:
    """Give a gateway that answers idle reads at once and has seen nothing yet."""
    plain.gateway.counts.clear()
    plain.refresh()
    return plain


@pytest.fixture(scope="module")
def plain_whole() -> Iterator[Wire]:
    """Serve one gateway with Django behind it, on this process' database, for all tests of a file."""
    served = Served()
    yield served.start(cold=Desk(Handler()))
    served.stop()


@pytest.fixture
def whole(plain_whole: Wire, transactional_db: None, board: None) -> Wire:
    """Give a gateway that takes enrollments and carves as well, and has seen nothing yet."""
    plain_whole.gateway.counts.clear()
    plain_whole.refresh()
    return plain_whole


def at_once(wires: Sequence[Server], content: bytes) -> list[Reply]:
    """Send the same bytes on as many connections, each whole before the first answer is read."""
    with ExitStack() as stack:
        connections = [stack.enter_context(wire.connect()) for wire in wires]
        for connection in connections:
            connection.sendall(content)
        return [reply(received(connection)) for connection in connections]
