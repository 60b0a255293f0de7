"""What is sent to a real server before anybody knows who sends it: every body is capped and on time, on every tier."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from fleet.front import bounded_frames
from tests.agents.wire.conftest import PATIENCE, GatewayProcess

pytestmark = pytest.mark.processes
TIERS = ("application", "gateway", "console")
BODY_SECONDS = 2
MiB = 2**20
LIMITS = {"/login/": 64 * 1024, "/api/v1/campaigns/": MiB, "/": 5 * 2**19, "/admin/auth/user/add/": 5 * 2**19}


@pytest.fixture(scope="module")
def tiers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], GatewayProcess]]:
    """Give each tier in a process of its own, started when it is first asked for."""
    folder, running = tmp_path_factory.mktemp("tiers"), {}

    def tier(name: str) -> GatewayProcess:
        if name not in running:
            (folder / name).mkdir()
            changed = {
                "BODY_SECONDS": str(BODY_SECONDS),
                "FORM_BODIES_BYTES": str(4 * MiB),
                "TMPDIR": str(folder / name),
            }
            environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "fleet.settings", **changed}
            running[name] = GatewayProcess(folder / f"{name}.log", environment, name)
        return running[name]

    yield tier
    for process in running.values():
        process.stop()


def sent(
    to: GatewayProcess, head: str, body: bytes = b"", *, then: Callable[[socket.socket], None] | None = None
) -> str:
    """Send these bytes as they are, and what `then` sends; give everything until the server closes."""
    with to.connect() as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        try:
            if then is not None:
                then(connection)
        except OSError:
            pass  # the server had heard enough; what it said is still there to be read
        return everything(connection)


def everything(connection: socket.socket) -> str:
    content = b""
    connection.settimeout(PATIENCE)
    try:
        while piece := connection.recv(2**16):
            content += piece
    except ConnectionResetError:
        pass
    return content.decode()


def head(path: str, *lines: str, method: str = "POST") -> str:
    return "\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines])


def endless(connection: socket.socket) -> None:
    """Send chunks until nobody takes them."""
    piece = b"10000\r\n" + b"x" * 2**16 + b"\r\n"
    for _ in range(1600):  # 100 MiB
        connection.sendall(piece)


def files_of(process: GatewayProcess) -> list[str]:
    """Give the files of its temporary folder that a process has open, deleted ones among them."""
    folder = Path(f"/proc/{process.pid}/fd")
    links = [os.readlink(entry) for entry in folder.iterdir() if entry.is_symlink()]
    return [link for link in links if process.log.with_suffix("").as_posix() in link and process.log.name not in link]


# --- where nothing is read -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
def test_probes_are_looked_at_and_no_more(tiers: Callable[[str], GatewayProcess], tier: str) -> None:
    for path in ("/readyz", "/livez"):
        answers = [sent(tiers(tier), head(path, method=method)) for method in ("PUT", "DELETE", "PATCH", "OPTIONS")]
        answers.append(sent(tiers(tier), head(path, "Content-Length: 10000000000"), b"x" * 1000))
        for answer in answers:
            assert answer.startswith("HTTP/1.1 405")
            assert "allow: GET, HEAD" in answer


@pytest.mark.parametrize("tier", TIERS)
def test_a_body_where_none_is_taken_is_refused_also_with_get(tiers: Callable[[str], GatewayProcess], tier: str) -> None:
    chunked = head("/livez", "Transfer-Encoding: chunked", method="GET")

    assert sent(tiers(tier), head("/livez", "Content-Length: 5", method="GET"), b"12345").startswith("HTTP/1.1 413")
    assert sent(tiers(tier), chunked, then=endless).startswith("HTTP/1.1 413")
    assert sent(tiers(tier), head("/livez", method="GET")).startswith("HTTP/1.1 200")
    assert sent(tiers(tier), head("/livez", method="HEAD")).startswith("HTTP/1.1 200")


@pytest.mark.parametrize("path", ["/", "/login/", "/api/v1/campaigns/", "/admin/", "/static/x", "/version", "/ws/"])
def test_a_gateway_takes_nothing_but_what_agents_send(tiers: Callable[[str], GatewayProcess], path: str) -> None:
    gateway = tiers("gateway")

    for method in ("GET", "POST"):
        answer = sent(gateway, head(path, "Transfer-Encoding: chunked", method=method), then=endless)
        assert answer.startswith("HTTP/1.1 404")
        assert "This address is served by another tier." in answer
        assert "cache-control: no-store" in answer
    assert files_of(gateway) == []


# --- caps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", LIMITS)
def test_a_body_above_the_cap_is_refused_whatever_it_says_of_itself(
    tiers: Callable[[str], GatewayProcess], path: str
) -> None:
    console, limit = tiers("application"), LIMITS[path]
    kind = "Content-Type: application/json"

    announced = sent(console, head(path, kind, f"Content-Length: {limit + 1}"))
    chunked = sent(console, head(path, kind, "Transfer-Encoding: chunked"), then=endless)
    huge = sent(console, head(path, kind, f"Content-Length: {10**30}"))
    fits = sent(console, head(path, kind, f"Content-Length: {limit}"), b" " * limit)

    assert announced.startswith("HTTP/1.1 413")
    assert f"at most {limit} bytes" in announced
    assert chunked.startswith("HTTP/1.1 413")
    assert huge.split(" ")[1] in ("400", "413")
    assert fits.split(" ")[1] in ("302", "401", "403")
    assert files_of(console) == []


def test_a_refusal_is_json_below_api_and_a_sentence_elsewhere(tiers: Callable[[str], GatewayProcess]) -> None:
    refused = [sent(tiers("application"), head(path, "Content-Length: 99999999")) for path in LIMITS]

    for path, answer in zip(LIMITS, refused, strict=True):
        assert ('{"error": "the body is too large' in answer) == path.startswith("/api/")
        assert "content-security-policy: default-src 'none'" in answer
        assert "connection: close" in answer


# --- deadlines -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", ["application", "console"])
@pytest.mark.parametrize("path", LIMITS)
def test_a_body_that_is_half_sent_ends_with_its_deadline(
    tiers: Callable[[str], GatewayProcess], tier: str, path: str
) -> None:
    started = time.monotonic()

    answer = sent(tiers(tier), head(path, "Content-Length: 1000"), b"half")

    assert answer.startswith("HTTP/1.1 408")
    assert "did not arrive within 2 seconds" in answer
    assert time.monotonic() - started < BODY_SECONDS + PATIENCE


def test_a_byte_now_and_then_does_not_put_the_deadline_off(tiers: Callable[[str], GatewayProcess]) -> None:
    def drip(connection: socket.socket) -> None:
        for _ in range(BODY_SECONDS * 100):
            connection.sendall(b"x")
            connection.settimeout(0.1)
            try:
                if connection.recv(1, socket.MSG_PEEK):
                    return
            except TimeoutError:
                continue

    assert sent(tiers("application"), head("/login/", "Content-Length: 60000"), then=drip).startswith("HTTP/1.1 408")


def test_who_leaves_in_the_middle_is_forgotten(tiers: Callable[[str], GatewayProcess]) -> None:
    console = tiers("application")

    for _ in range(20):
        with console.connect() as connection:
            connection.sendall(head("/login/", "Content-Length: 1000").replace("\n", "\r\n").encode() + b"\r\n\r\nhalf")

    assert sent(console, head("/livez", method="GET")).startswith("HTTP/1.1 200")


# --- many at once ----------------------------------------------------------------------------------------------


def test_many_large_bodies_at_once_take_bounded_memory_and_small_ones_pass(
    tiers: Callable[[str], GatewayProcess],
) -> None:
    console = tiers("application")
    process = psutil.Process(console.pid)
    before = process.memory_info().rss
    start = head("/", f"Content-Length: {5 * 2**19}").replace("\n", "\r\n").encode() + b"\r\n\r\n"

    with ExitStack() as stack:
        connections = [stack.enter_context(console.connect()) for _ in range(40)]
        for connection in connections:
            connection.settimeout(0.2)
            try:
                connection.sendall(start + b"x" * (2 * MiB))
            except OSError:
                continue  # refused already, or not read on
        grown = process.memory_info().rss - before
        answer = sent(console, head("/login/", "Content-Length: 9"), b"username=")
        answers = [everything(connection) for connection in connections]

    assert answer.split(" ")[1] == "403"  # Django's, for the want of a CSRF token
    assert {each.split(" ")[1] for each in answers} <= {"408", "503"}
    assert any("503" in each for each in answers)
    assert grown < 40 * MiB
    assert files_of(console) == []


# --- sockets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [{"text": "x" * 65_537}, {"bytes": b"x" * 65_537}])
async def test_a_frame_of_a_socket_is_bounded_whatever_the_server_lets_through(frame: dict[str, object]) -> None:
    sent_back = []

    async def receive() -> dict[str, object]:
        return {"type": "websocket.receive", **frame}

    async def send(message: object) -> None:
        sent_back.append(message)

    heard = await bounded_frames(receive, send)()

    assert (heard["type"], heard["code"]) == ("websocket.disconnect", 1009)
    assert sent_back[0]["code"] == 1009
