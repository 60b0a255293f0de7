"""Carves on the wire: bytes of agents through the gateway, Django and the storage, and what of them stays."""

import asyncio
import base64
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from django.db import connection
from django.utils import timezone

from agents.carving import carves, store
from agents.carving.models import Carve, CarveState, Integrity
from agents.enrolling.revocation import revoke
from agents.gateway.app import Gateway
from agents.models import Host
from campaigns.models import Campaign
from fleet.handler import Handler
from tests.conftest import Agent, gateway_settings
from tests.end_to_end.conftest import wait_for
from tests.factories import make_campaign, make_host

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("carves_folder")]

GUID = "5f2c3f9a-7c1e-4f0e-9b7a-0d9e6c1a2b3c"
SQL = "SELECT * FROM carves WHERE carve = 1 AND path = '/etc/hosts'"
CONTENT = bytes(range(256)) * 10  # 2,560 bytes: two blocks of 1,024 and one of 512
BLOCK = 1024
START = {"block_count": 3, "block_size": BLOCK, "carve_size": len(CONTENT), "carve_id": GUID, "request_id": "r-1"}
BLOCKS = [CONTENT[place : place + BLOCK] for place in range(0, len(CONTENT), BLOCK)]


class Carver(Agent):
    """A host's carver: what it posts, and the raw answer."""

    def raw(self, verb: str, body: Any, prefix: str = "/api/osquery/", key: str | None = None) -> bytes:
        """Send one request as the bytes it is on the wire, in pieces; give the bytes of the answer."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        pieces = [content[place : place + 65_536] for place in range(0, len(content), 65_536)] or [b""]
        requests = [
            {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
            for number, piece in enumerate(pieces, start=1)
        ]
        headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
        headers += [(b"authorization", f"NodeKey {key}".encode())] if key is not None else []
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if requests:
                return requests.pop(0)
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": f"{prefix}{verb}",
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 1),
        }
        self._loop.run_until_complete(self.gateway(scope, receive, send))
        assert sent[0]["status"] == 200
        assert (b"connection", b"close") in sent[0]["headers"]
        return sent[1]["body"]

    def begin(self, **changes: Any) -> dict[str, Any]:
        return json.loads(self.raw("carve/begin", {**START, "node_key": self.key, **changes}))

    def block(self, session: str, number: Any, data: Any = None, **more: Any) -> bytes:
        text = base64.b64encode(BLOCKS[number] if data is None else data).decode()
        return self.raw(
            "carve/block", {"block_id": number, "session_id": session, "request_id": "r-1", "data": text}, **more
        )

    def announce(self, campaign: Campaign, **changes: str) -> None:
        """Answer with the row of the carves table."""
        row = {"time": "1", "sha256": "", "size": "-1", "path": "/etc/hosts", "status": "SCHEDULED", "carve": "1"}
        self.read()
        self.write(campaign.pk, [{**row, "carve_guid": GUID, **changes}])


@pytest.fixture
def gateway(board: None, loop: asyncio.AbstractEventLoop) -> Iterator[Gateway]:
    """Give a gateway with Django behind it, as `fleet.asgi` joins them."""
    made = Gateway(gateway_settings(carve_max_block_bytes=2**20), cold=Handler())
    loop.run_until_complete(made.start())
    yield made
    loop.run_until_complete(made.stop())


@pytest.fixture
def carver(gateway: Gateway, loop: asyncio.AbstractEventLoop) -> Callable[[Host], Carver]:
    return lambda host: Carver(gateway, loop, host)


@pytest.fixture
def asked(carver: Callable[[Host], Carver]) -> Carver:
    """Give a host that is asked for a carve and has not answered yet."""
    host = make_host()
    make_campaign(host, sql=SQL)
    return carver(host)


@pytest.fixture
def announced(asked: Carver, collect: Callable[[], int]) -> Carver:
    """Give a host whose answer named the carve."""
    asked.announce(Campaign.objects.get())
    collect()
    return asked


@pytest.fixture
def begun(announced: Carver) -> tuple[Carver, str]:
    """Give a host that began to send, and its session."""
    return announced, announced.begin()["session_id"]


def is_accepted(answer: bytes) -> bool:
    """Say whether the agent takes the block for accepted: any JSON object, or nothing (protocol notes 6.3)."""
    try:
        json.loads(answer or b"{}")
    except ValueError:
        return False
    return True


# --- the whole way ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/api/osquery/", "/api/v1/osquery/"])
def test_a_carve_that_was_announced_arrives_whole(announced: Carver, prefix: str, carves_folder: Path) -> None:
    answer = json.loads(announced.raw("carve/begin", {**START, "node_key": announced.key}, prefix))
    for number in range(3):
        assert announced.block(answer["session_id"], number, prefix=prefix, key=announced.key) == b"{}"

    carve = Carve.objects.get()
    assert (carve.state, carve.campaign_id, carve.path) == (
        CarveState.COMPLETE,
        Campaign.objects.get().pk,
        "/etc/hosts",
    )
    assert b"".join(store.pieces(carve)) == CONTENT
    assert carves.check() == 1
    carve.refresh_from_db()
    assert (carve.sha256, carve.integrity) == (hashlib.sha256(CONTENT).hexdigest(), Integrity.UNKNOWN)
    assert [path.stat().st_mode & 0o777 for path in carves_folder.glob("*/*")] == [0o600] * 3


def test_blocks_come_in_any_order_and_more_than_once(begun: tuple[Carver, str]) -> None:
    carver, session = begun

    answers = [carver.block(session, number) for number in (2, 0, 0, 2)]

    assert answers == [b"{}"] * 4
    carve = Carve.objects.get()
    assert (carve.state, carve.received_blocks, carve.missing_blocks) == (CarveState.UPLOADING, 2, [1])
    assert carver.block(session, 1) == b"{}"
    assert carver.block(session, 1) == b"{}", "a resend after the last one"
    assert b"".join(store.pieces(Carve.objects.get())) == CONTENT


def test_the_first_of_two_different_copies_of_a_block_stays(begun: tuple[Carver, str]) -> None:
    carver, session = begun
    carver.block(session, 0)

    carver.block(session, 0, b"x" * BLOCK)

    for number in (1, 2):
        carver.block(session, number)
    assert b"".join(store.pieces(Carve.objects.get())) == CONTENT


def test_a_twin_of_a_block_waits_for_the_first_and_writes_nothing(
    begun: tuple[Carver, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, session = begun
    body = {"block_id": 0, "session_id": session, "data": base64.b64encode(BLOCKS[0]).decode()}
    write, written, under_way = store.write, [], threading.Event()

    def write_once_the_twin_waits(*args: Any) -> None:
        under_way.set()
        wait_for(someone_waits, 90)
        written.append(args[1])
        write(*args)

    def someone_waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            return bool(cursor.rowcount)

    def twin() -> None:
        under_way.wait(90)
        carves.take(carves.session(session), body)
        connection.close()

    monkeypatch.setattr(store, "write", write_once_the_twin_waits)
    second = threading.Thread(target=twin)
    second.start()
    carves.take(carves.session(session), body)
    second.join()

    assert written == [0]
    assert Carve.objects.get().received_bytes == BLOCK


def test_a_short_block_does_not_shut_out_the_whole_one(begun: tuple[Carver, str]) -> None:
    carver, session = begun
    assert not is_accepted(carver.block(session, 1, b"short"))

    for number in range(3):
        assert carver.block(session, number) == b"{}"

    assert b"".join(store.pieces(Carve.objects.get())) == CONTENT


def test_a_carve_may_end_with_an_empty_block(announced: Carver) -> None:
    session = announced.begin(block_count=2, carve_size=BLOCK)["session_id"]

    assert announced.block(session, 0) == announced.block(session, 1, b"") == b"{}"

    assert Carve.objects.get().state == CarveState.COMPLETE


def test_what_a_dead_process_left_of_a_block_is_replaced(begun: tuple[Carver, str], carves_folder: Path) -> None:
    carver, session = begun
    store.write(Carve.objects.get(), 0, b"half")

    assert carver.block(session, 0) == b"{}"

    assert [path.read_bytes() for path in carves_folder.glob("*/*")] == [BLOCKS[0]]


# --- who may begin ---------------------------------------------------------------------------------------------


def test_a_host_that_nobody_asked_cannot_begin(carver: Callable[[Host], Carver]) -> None:
    answer = carver(make_host()).begin()

    assert "session_id" not in answer
    assert GUID in answer["error"]
    assert not Carve.objects.exists()


def test_a_campaign_that_does_not_ask_for_carves_lets_nobody_begin(
    carver: Callable[[Host], Carver], collect: Callable[[], int]
) -> None:
    host = make_host()
    campaign = make_campaign(host, sql="SELECT 1 AS carve_guid")
    assert "error" in carver(host).begin(), "before its answer"

    carver(host).announce(campaign)
    collect()

    assert "error" in carver(host).begin(), "after its answer"


def test_another_host_cannot_begin_an_announced_carve(announced: Carver, carver: Callable[[Host], Carver]) -> None:
    assert "error" in carver(make_host()).begin()


def test_a_begin_that_overtakes_its_answer_is_tied_to_the_campaign_by_it(
    asked: Carver, collect: Callable[[], int]
) -> None:
    session = asked.begin()["session_id"]
    assert asked.block(session, 0) == b"{}"
    assert Carve.objects.get().campaign_id is None

    asked.announce(Campaign.objects.get())
    collect()

    carve = Carve.objects.get()
    assert (carve.campaign_id, carve.path, carve.received_blocks) == (Campaign.objects.get().pk, "/etc/hosts", 1)
    assert asked.begin()["session_id"] == session


def test_after_the_answer_only_carves_it_named_may_begin(announced: Carver) -> None:
    assert "session_id" in announced.begin()
    assert "error" in announced.begin(carve_id="another")


def test_unannounced_carves_of_a_host_are_limited(asked: Carver) -> None:
    answers = [asked.begin(carve_id=f"guid-{number}") for number in range(carves.MOST_UNANNOUNCED + 1)]

    assert ["session_id" in answer for answer in answers] == [True] * carves.MOST_UNANNOUNCED + [False]


@pytest.mark.parametrize("key", [None, "", "forged", 5])
def test_a_begin_without_a_valid_key_is_told_so(announced: Carver, key: object) -> None:
    assert announced.begin(node_key=key) == {"node_invalid": True}


def test_a_revoked_host_neither_begins_nor_sends(begun: tuple[Carver, str]) -> None:
    carver, session = begun
    revoke(Host.objects.get())

    assert carver.begin() == {"node_invalid": True}
    assert not is_accepted(carver.block(session, 0))


def test_beginning_again_gives_the_same_session(begun: tuple[Carver, str]) -> None:
    carver, session = begun

    assert carver.begin() == {"session_id": session}
    assert "other sizes" in carver.begin(block_size=2000, block_count=2)["error"]
    assert Carve.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"carve_size": 2**31, "block_size": 2**20, "block_count": 2**11}, str(2**31)),
        ({"block_size": 2**24, "block_count": 1}, str(2**24)),
        ({"block_size": 1, "block_count": 300_000, "carve_size": 300_000}, "300000"),
        ({"block_count": 2}, "2560"),
        ({"block_count": 5}, "2560"),
        ({"block_count": -1}, "-1"),
        ({"block_count": "3"}, "'3'"),
        ({"carve_size": 2**70}, "carve_size"),
        ({"carve_size": True}, "True"),
        ({"block_size": None}, "None"),
        ({"block_size": 1.5}, "1.5"),
    ],
)
def test_sizes_that_cannot_be_are_refused_by_name(announced: Carver, changes: dict[str, Any], named: str) -> None:
    answer = announced.begin(**changes)

    assert "session_id" not in answer
    assert named in answer["error"]


@pytest.mark.parametrize("carve_id", [None, "", 7, "../../etc", "x" * 65, "a\0b", ["x"]])
def test_a_carve_id_is_a_plain_word(announced: Carver, carve_id: object) -> None:
    assert "carve_id" in announced.begin(carve_id=carve_id)["error"]


def test_a_carve_that_is_too_large_is_shown_as_refused(announced: Carver, settings: Any) -> None:
    settings.CARVE_MAX_BYTES = 1000

    announced.begin()

    carve = Carve.objects.get()
    assert carve.state == CarveState.REFUSED
    assert "limit of 1000 bytes" in carve.trouble


def test_a_carve_of_no_bytes_is_empty_at_once(announced: Carver) -> None:
    assert "session_id" in announced.begin(block_count=0, carve_size=0)

    assert Carve.objects.get().state == CarveState.EMPTY
    carves.check()
    carve = Carve.objects.get()
    assert (carve.state, carve.sha256) == (CarveState.EMPTY, hashlib.sha256(b"").hexdigest())


def packed(*names: str) -> bytes:
    """Pack files, each of three letters, as osquery does."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 3
            tar.addfile(entry, io.BytesIO(b"abc"))
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "state"),
    [
        (packed(), CarveState.EMPTY),
        (bytes(1024), CarveState.EMPTY),
        (zstandard.compress(packed()), CarveState.EMPTY),
        (packed("tmp/a"), CarveState.COMPLETE),
        (zstandard.compress(packed("tmp/a")), CarveState.COMPLETE),
        (b"\x28\xb5\x2f\xfdno zstd at all", CarveState.COMPLETE),
    ],
    ids=["tar of nothing", "unpadded", "in zstd", "a file", "a file in zstd", "broken zstd"],
)
def test_a_carve_of_a_missing_file_says_so(announced: Carver, content: bytes, state: CarveState) -> None:
    size = len(content)
    session = announced.begin(block_count=1, block_size=size, carve_size=size)["session_id"]
    assert announced.block(session, 0, content) == b"{}"

    for check in (lambda: None, carves.check):
        check()
        carve = Carve.objects.get()
        assert carve.state == state
        assert (carve.verdict == "empty archive: no such file") == (state == CarveState.EMPTY)


# --- blocks that make the agent stop ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "data", "named"),
    [
        (3, "AA==", "block_id 3"),
        (-1, "AA==", "-1"),
        (2**40, "AA==", str(2**40)),
        ("0", "AA==", "'0'"),
        (True, "AA==", "True"),
        (None, "AA==", "None"),
        (0, "AA", "base64"),
        (0, "A===", "base64"),
        (0, "AA\n==", "base64"),
        (0, "é", "base64"),
        (0, None, "base64"),
        (0, 5, "base64"),
        (0, base64.b64encode(BLOCKS[0]).decode() + "=", "base64"),
        (0, base64.b64encode(BLOCKS[0]).decode() + "====", "base64"),
        (0, "=" + base64.b64encode(BLOCKS[0]).decode(), "base64"),
        (0, base64.b64encode(b"x" * (BLOCK + 1)).decode(), "1025"),
        (0, base64.b64encode(b"x" * (BLOCK - 1)).decode(), "1023"),
        (1, "", "0 bytes"),
        (2, base64.b64encode(b"x" * BLOCK).decode(), "announced were 512"),
    ],
)
def test_a_wrong_block_is_refused_with_what_is_no_json(
    begun: tuple[Carver, str], number: object, data: object, named: str, carves_folder: Path
) -> None:
    carver, session = begun

    answer = carver.raw("carve/block", {"block_id": number, "session_id": session, "data": data})

    assert not is_accepted(answer)
    assert named in answer.decode()
    assert Carve.objects.get().received_blocks == 0
    assert not carves_folder.exists()


@pytest.mark.parametrize("session", [None, "", "unknown", 5, "x" * 1000, "a\0b", ["x"]])
def test_an_unknown_session_makes_the_agent_stop(begun: tuple[Carver, str], session: object) -> None:
    carver, _ = begun

    assert not is_accepted(carver.raw("carve/block", {"block_id": 0, "session_id": session, "data": "AA=="}))


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"[]", b"1", b"\xff\xfe", b"[" * 10_000, b'{"session_id": "\\ud800"}']
)
def test_a_block_that_is_not_readable_makes_the_agent_stop(begun: tuple[Carver, str], body: bytes) -> None:
    carver, _ = begun

    assert not is_accepted(carver.raw("carve/block", body))


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"1", b"\xff\xfe", b"[" * 10_000])
def test_a_begin_that_is_not_readable_is_answered_with_an_object(announced: Carver, body: bytes) -> None:
    assert json.loads(announced.raw("carve/begin", body)) == {"node_invalid": True}


def test_a_body_above_what_a_block_needs_is_refused(begun: tuple[Carver, str]) -> None:
    carver, session = begun
    body = json.dumps({"block_id": 0, "session_id": session, "data": "A" * 4 * 2**20}).encode()

    answer = carver.raw("carve/block", body)

    assert not is_accepted(answer)
    assert b"bytes, allowed are 2162688" in answer


def test_a_block_of_the_size_that_the_flagfile_sets_is_taken(announced: Carver, gateway: Gateway) -> None:
    size = 2**20
    answer = announced.begin(block_count=1, block_size=size, carve_size=size)

    assert announced.block(answer["session_id"], 0, b"x" * size) == b"{}"


def test_a_session_that_was_silent_for_too_long_is_over(begun: tuple[Carver, str]) -> None:
    carver, session = begun
    Carve.objects.update(begun_at=timezone.now() - timedelta(days=2))

    assert b"over" in carver.block(session, 0)
    assert Carve.objects.get().state == CarveState.STALLED


def test_a_block_with_the_key_of_another_host_is_refused(
    begun: tuple[Carver, str], carver: Callable[[Host], Carver]
) -> None:
    mine, session = begun

    assert not is_accepted(mine.block(session, 0, key=carver(make_host()).key))
    assert not is_accepted(mine.block(session, 0, key="forged"))
    assert mine.block(session, 0, key=mine.key) == b"{}"
    assert mine.block(session, 1) == b"{}", "agents before 5.23 send no key"


@pytest.mark.parametrize("verb", ["carve/begin", "carve/block"])
def test_trouble_that_may_pass_is_no_json_so_that_the_agent_comes_again(
    begun: tuple[Carver, str], verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    carver, session = begun

    def down(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(carves, "begin", down)
    monkeypatch.setattr(store, "write", down)
    data = base64.b64encode(BLOCKS[0]).decode()
    body = {**START, "node_key": carver.key, "session_id": session, "block_id": 0, "data": data}

    assert not is_accepted(carver.raw(verb, body))
    monkeypatch.undo()
    assert is_accepted(carver.raw(verb, body)), "the second attempt"


# --- integrity -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("of", "integrity"), [(CONTENT, Integrity.MATCHES), (b"else", Integrity.DIFFERS)])
def test_the_digest_is_compared_with_that_of_the_carves_table(
    begun: tuple[Carver, str], collect: Callable[[], int], of: bytes, integrity: Integrity
) -> None:
    carver, session = begun
    for number in range(3):
        carver.block(session, number)
    first = Campaign.objects.get().pk
    later = make_campaign(Host.objects.get(), sql="SELECT * FROM carves")

    carver.announce(later, status="SUCCESS", sha256=hashlib.sha256(of).hexdigest())
    collect()
    carves.check()

    carve = Carve.objects.get()
    assert (carve.integrity, carve.host_status) == (integrity, "SUCCESS")
    assert carve.campaign_id == first, "whoever asked for it keeps it"


def test_bytes_that_fall_short_of_the_announced_size_are_seen(begun: tuple[Carver, str]) -> None:
    carver, session = begun
    for number in range(3):
        carver.block(session, number)
    Carve.objects.update(received_bytes=len(CONTENT) - 1)

    carves.check()

    assert Carve.objects.get().integrity == Integrity.DIFFERS


def test_a_carve_of_another_server_in_the_table_is_not_expected_here(asked: Carver, collect: Callable[[], int]) -> None:
    asked.announce(Campaign.objects.get(), status="SUCCESS")
    collect()

    assert not Carve.objects.exists()


def test_a_carve_that_the_storage_lost_is_said(begun: tuple[Carver, str], carves_folder: Path) -> None:
    carver, session = begun
    for number in range(3):
        carver.block(session, number)
    next(carves_folder.glob("*/1")).unlink()

    carves.check()

    carve = Carve.objects.get()
    assert carve.integrity is None
    assert "cannot be read" in carve.trouble
    assert carves.check() == 0, "it is not tried for ever"


# --- purge -----------------------------------------------------------------------------------------------------


def test_a_purge_deletes_the_row_and_every_file_and_ends_the_session(
    begun: tuple[Carver, str], carves_folder: Path
) -> None:
    carver, session = begun
    carver.block(session, 0)
    carve = Carve.objects.get()

    carves.purge(carve)
    carves.purge(carve)

    assert not Carve.objects.exists()
    assert list(carves_folder.rglob("*")) == []
    assert not is_accepted(carver.block(session, 1))
    assert list(carves_folder.rglob("*")) == []
