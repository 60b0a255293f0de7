"""What is sent to a real server before anybody knows who sends it: every body is capped and on time, on every tier.

The tiers are served as the demo and docker/ serve them: `fleet.serve`, over TLS.
"""

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fleet.demo.certificates import Certificates
from fleet.front import BoundedSocket
from tests.fleet.tiers import (
    PATIENCE,
    MiB,
    Tier,
    everything,
    frame,
    head,
    memory_of,
    on_the_wire,
    sent,
    sent_as_is,
    upgraded,
)

pytestmark = pytest.mark.processes
TIERS = ("application", "gateway", "console")
SECONDS = 2  # for which what is slow is waited for
CHANGES = {"BODY_SECONDS": str(SECONDS), "HEAD_SECONDS": str(SECONDS), "FORM_BODIES_BYTES": str(4 * MiB)}
LIMITS = {"/login/": 64 * 1024, "/api/v1/campaigns/": MiB, "/": 5 * 2**19, "/admin/auth/user/add/": 5 * 2**19}
Tiers = dict[str, Tier]


@pytest.fixture(scope="module")
def tiers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiers]:
    """Start all tiers at once."""
    folder = tmp_path_factory.mktemp("tiers")
    certificates = Certificates(folder / "certificates")
    certificates.make("127.0.0.1")
    with ThreadPoolExecutor(len(TIERS)) as pool:
        started = dict(
            zip(TIERS, pool.map(lambda name: Tier(name, folder, certificates, **CHANGES), TIERS), strict=True)
        )
    with ExitStack() as stack:
        for process in started.values():
            stack.callback(process.stop)  # each, though another one did not stop as it should
        yield started


def together(calls: Iterable[Callable[[], str]]) -> list[str]:
    """Call at once, from a thread each."""
    waiting = list(calls)
    with ThreadPoolExecutor(len(waiting)) as pool:
        return list(pool.map(lambda call: call(), waiting))


def endless(connection: socket.socket) -> bytes:
    """Send chunks until nobody takes them."""
    piece = b"10000\r\n" + b"x" * 2**16 + b"\r\n"
    for _ in range(1600):  # 100 MiB
        connection.sendall(piece)
    return b""


def drip(connection: socket.socket) -> bytes:
    """Send a byte now and then, until the server says something or closes."""
    connection.settimeout(0.1)
    for _ in range(PATIENCE * 10):
        connection.sendall(b"x")
        try:
            return connection.recv(1)
        except TimeoutError:
            continue
    raise AssertionError("the server took drops for ever")


def files_of(process: Tier) -> list[str]:
    """Give the files of its temporary folder that a process has open, deleted ones among them."""
    folder = Path(f"/proc/{process.pid}/fd")
    links = [os.readlink(entry) for entry in folder.iterdir() if entry.is_symlink()]
    return [link for link in links if link.startswith(f"{process.temporary}/")]


# --- how it is said --------------------------------------------------------------------------------------------


def test_a_browser_is_refused_in_a_page_of_its_colours(tiers: Tiers) -> None:
    size = f"Content-Length: {10 * MiB}"
    asked = (size, "Accept: text/html,*/*;q=0.8", "Cookie: fleet_theme=dark")

    page = sent(tiers["console"], head("/settings/config/", *asked))
    program = sent(tiers["console"], head("/settings/config/", size))
    of_api = sent(tiers["console"], head("/api/v1/campaigns/", *asked))
    of_gateway = sent(tiers["gateway"], head("/settings/config/", *asked))

    assert page.startswith("HTTP/1.1 413")
    assert 'data-theme="dark"' in page
    assert "The body is too large: a body of at most 2621440 bytes is taken at /settings/config/" in page
    assert "What you typed is kept in this tab: go back, and send less of it." in page
    assert "<" not in program.partition("\r\n\r\n")[2]
    assert '"error"' in of_api
    assert "<html" not in of_gateway


# --- where nothing is read -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
def test_probes_are_looked_at_and_no_more(tiers: Tiers, tier: str) -> None:
    for path in ("/readyz", "/livez"):
        answers = [sent(tiers[tier], head(path, method=method)) for method in ("PUT", "DELETE", "PATCH", "OPTIONS")]
        answers.append(sent(tiers[tier], head(path, "Content-Length: 10000000000"), b"x" * 1000))
        for answer in answers:
            assert answer.startswith("HTTP/1.1 405")
            assert "allow: GET, HEAD" in answer


@pytest.mark.parametrize("tier", TIERS)
def test_a_body_where_none_is_taken_is_refused_also_with_get(tiers: Tiers, tier: str) -> None:
    chunked = head("/livez", "Transfer-Encoding: chunked", method="GET")

    assert sent(tiers[tier], head("/livez", "Content-Length: 5", method="GET"), b"12345").startswith("HTTP/1.1 413")
    assert sent(tiers[tier], chunked, then=endless).startswith("HTTP/1.1 413")
    assert sent(tiers[tier], head("/livez", method="GET")).startswith("HTTP/1.1 200")
    assert sent(tiers[tier], head("/livez", method="HEAD")).startswith("HTTP/1.1 200")


@pytest.mark.parametrize("path", ["/", "/login/", "/api/v1/campaigns/", "/admin/", "/static/x", "/version", "/ws/"])
def test_a_gateway_takes_nothing_but_what_agents_send(tiers: Tiers, path: str) -> None:
    gateway = tiers["gateway"]

    for method in ("GET", "POST"):
        answer = sent(gateway, head(path, "Transfer-Encoding: chunked", method=method), then=endless)
        assert answer.startswith("HTTP/1.1 404")
        assert "This address is served by another tier." in answer
        assert "cache-control: no-store" in answer
    assert files_of(gateway) == []


@pytest.mark.parametrize("tier", TIERS)
def test_what_edges_guard_is_served_as_it_is_written_alone(tiers: Tiers, tier: str) -> None:
    for path in (
        "/api/%6fsquery/config",
        "/api/osquery%2Fenroll",
        "/api/v1%2fosquery/distributed/read",
        "/%6Detrics",
        "http://localhost/api/%6Fsquery/carve/begin",
    ):
        answer = sent(tiers[tier], head(path, "Content-Length: 2", method="POST"), b"{}")
        assert answer.startswith("HTTP/1.1 404"), path
        assert "without percent signs" in answer, path
    assert "without percent signs" not in sent(tiers[tier], head("/livez?next=%6f", method="GET"))
    for path in ("/api/osquery/config?a=%6f", "/api/osquery/%63onfig"):  # which edges guard as they are
        assert "without percent signs" not in sent(tiers[tier], head(path, "Content-Length: 0"))


# --- caps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", LIMITS)
def test_a_body_above_the_cap_is_refused_whatever_it_says_of_itself(tiers: Tiers, path: str) -> None:
    console, limit = tiers["application"], LIMITS[path]
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


def test_a_refusal_is_json_below_api_and_a_sentence_elsewhere_and_the_last_on_its_connection(tiers: Tiers) -> None:
    def kept(path: str) -> str:
        return head(path, "Content-Length: 99999999").replace("Connection: close\n", "")

    refused = [sent(tiers["application"], kept(path)) for path in LIMITS]

    for path, answer in zip(LIMITS, refused, strict=True):
        assert ('{"error": "the body is too large' in answer) == path.startswith("/api/")
        assert "content-security-policy: default-src 'none'" in answer
        assert "connection: close" in answer
        assert answer.count("HTTP/1.1") == 1


@pytest.mark.parametrize("tier", ["application", "console"])
def test_lengths_and_chunks_that_are_no_such_thing_are_the_senders_fault(tiers: Tiers, tier: str) -> None:
    lies = {
        "two lengths": (["Content-Length: 5", "Content-Length: 6"], b"helloX"),
        "negative": (["Content-Length: -5"], b"hello"),
        "no number": (["Content-Length: five"], b"hello"),
        "no chunk": (["Transfer-Encoding: chunked"], b"ZZZ\r\nhello\r\n"),
        "a huge chunk": (["Transfer-Encoding: chunked"], b"FFFFFFFFFFFFFFFFFF\r\nhello\r\n"),
    }

    answers = {name: sent(tiers[tier], head("/login/", *lines), body) for name, (lines, body) in lies.items()}

    assert {name: answer.split(" ")[1] for name, answer in answers.items()} == dict.fromkeys(lies, "400")


@pytest.mark.parametrize("lines", [["Content-Length: 5"], ["Content-Length: 5", "Transfer-Encoding: chunked"]])
def test_what_follows_a_body_is_no_second_request(tiers: Tiers, lines: list[str]) -> None:
    first = b"5\r\nhello\r\n0\r\n\r\n" if len(lines) > 1 else b"hello"

    answer = sent(tiers["application"], head("/login/", *lines), first + on_the_wire(head("/livez", method="GET")))

    assert answer.startswith("HTTP/1.1 403")  # Django's, for the want of a CSRF token
    assert answer.count("HTTP/1.1") == 1


# --- deadlines -------------------------------------------------------------------------------------------------


def test_a_body_that_is_half_sent_ends_with_its_deadline_also_when_bytes_drip(tiers: Tiers) -> None:
    asked = [
        (tiers[tier], path, then) for tier in ("application", "console") for path in LIMITS for then in (drip, None)
    ]
    started = time.monotonic()

    answers = together(
        lambda tier=tier, path=path, then=then: sent(tier, head(path, "Content-Length: 9000"), b"half", then=then)
        for tier, path, then in asked
    )

    assert time.monotonic() - started < SECONDS + PATIENCE
    for answer in answers:
        assert answer.startswith("HTTP/1.1 408")
        assert f"did not arrive within {SECONDS} seconds" in answer


@pytest.mark.parametrize("tier", TIERS)
def test_lines_above_a_body_that_are_half_sent_end_with_theirs(tiers: Tiers, tier: str) -> None:
    begun = [b"", b"G", b"POST /api/osquery/enroll HTTP/1.1\r\nHo"]

    heard = together(
        lambda content=content, then=then: sent_as_is(tiers[tier], content, then)
        for content in begun
        for then in (None, drip)
    )

    assert set(heard) == {""}  # closed: there is no request to answer
    assert sent(tiers[tier], head("/livez", method="GET")).startswith("HTTP/1.1 200")


@pytest.mark.parametrize("tier", TIERS)
def test_lines_without_end_are_refused(tiers: Tiers, tier: str) -> None:
    answer = sent(tiers[tier], head("/livez", f"X: {'x' * MiB}", method="GET"))

    assert answer == "" or answer.startswith("HTTP/1.1 431")  # or closed before the client had said everything


def test_who_leaves_in_the_middle_is_forgotten(tiers: Tiers) -> None:
    console = tiers["application"]

    for _ in range(20):
        with console.connect() as connection:
            connection.sendall(on_the_wire(head("/login/", "Content-Length: 1000")) + b"half")

    assert sent(console, head("/livez", method="GET")).startswith("HTTP/1.1 200")
    assert b"Traceback" not in console.log.read_bytes()


# --- many at once ----------------------------------------------------------------------------------------------


def test_many_large_bodies_at_once_take_bounded_memory_and_small_ones_pass(tiers: Tiers) -> None:
    console = tiers["application"]
    before = memory_of(console)
    start = on_the_wire(head("/", f"Content-Length: {5 * 2**19}"))

    with ExitStack() as stack:
        connections = [stack.enter_context(console.connect()) for _ in range(40)]
        for connection in connections:
            connection.settimeout(0.2)
            try:
                connection.sendall(start + b"x" * (2 * MiB))
            except OSError:
                continue  # refused already, or not read on
        grown = memory_of(console) - before
        answer = sent(console, head("/login/", "Content-Length: 9"), b"username=")
        answers = [everything(connection) for connection in connections]

    assert answer.split(" ")[1] == "403"  # Django's, for the want of a CSRF token
    assert {each.split(" ")[1] for each in answers if each} <= {"408", "503"}
    assert any("503" in each for each in answers)
    assert grown < 60 * MiB, "80 were sent"
    assert files_of(console) == []


# --- sockets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ws/campaigns/1/", "/ws/nothing/"])
def test_what_a_stranger_sends_on_a_socket_is_not_gathered(tiers: Tiers, path: str) -> None:
    application = tiers["application"]
    before = memory_of(application)

    for _ in range(3):
        connection, answer = upgraded(application, path)
        assert " 101 " in answer
        with connection:
            try:
                for number in range(60):
                    connection.sendall(frame(0 if number else 2, bytes(MiB), final=False))
            except OSError:
                pass  # as it should be
            assert memory_of(application) - before < 16 * MiB
            everything(connection)


def test_a_gateway_has_no_sockets(tiers: Tiers) -> None:
    connection, answer = upgraded(tiers["gateway"], "/ws/campaigns/1/")

    with connection:
        assert " 403 " in answer


@pytest.mark.parametrize("message", [{"text": "x" * 65_537}, {"text": "é" * 32_769}, {"bytes": b"x" * 65_537}])
async def test_a_message_of_a_socket_is_bounded_whatever_the_server_lets_through(message: dict[str, Any]) -> None:
    said, heard = [], [{"type": "websocket.receive", **message}]

    async def receive() -> dict[str, Any]:
        return heard.pop()

    async def send(message: Any) -> None:
        said.append(message)

    bounded = BoundedSocket(receive, send)
    ends = [await bounded.receive(), await bounded.receive()]

    assert [(end["type"], end["code"]) for end in ends] == [("websocket.disconnect", 1009)] * 2
    assert [each["code"] for each in said] == [1009]


def test_no_stop_waits_for_the_deaf_or_calls_their_end_a_failure(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "certificates")
    certificates.make("127.0.0.1")
    tier = Tier("application", tmp_path, certificates)
    unfinished = [
        head("/login/", "Content-Length: 1000")[:-2],
        head("/login/", "Content-Length: 1000"),
        head("/api/v1/campaigns/", "Content-Length: 1000"),
        head("/", "Content-Length: 99999999"),  # refused, and listened to for a while
        head("/distributed/read", "Content-Length: 1000"),
    ]
    with ExitStack() as stack:
        deaf = [upgraded(tier, "/ws/campaigns/1/", "Origin: https://localhost") for _ in range(12)]
        for connection, answered in deaf:
            stack.enter_context(connection)
            assert answered.startswith("HTTP/1.1 101")
        for text in unfinished * 3:
            stack.enter_context(tier.connect()).sendall(on_the_wire(text) + b"half")
        assert sent(tier, head("/livez", method="GET")).startswith("HTTP/1.1 200")

        tier.stop()  # fails when it takes its time, and at a traceback in its log
