"""What hosts carve, as it comes over connections that break, repeat and lie (protocol 8, 38)."""

import base64
import io
import json
import tarfile
import zlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from agents.carving import carves, store
from agents.carving.models import Carve, CarveState
from agents.models import Host
from tests.agents.wire.conftest import Reply, Wire, at_once, eventually, request
from tests.conftest import key_of
from tests.factories import make_campaign, make_host

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("carves_folder")]

GUID = "5f2c3f9a-7c1e-4f0e-9b7a-0d9e6c1a2b3c"
BLOCK = 1024
CONTENT = bytes(range(256)) * 10
BLOCKS = [CONTENT[place : place + BLOCK] for place in range(0, len(CONTENT), BLOCK)]
SIZES = {"block_count": len(BLOCKS), "block_size": BLOCK, "carve_size": len(CONTENT)}


class Carver:
    """A host that carves, and its connections."""

    def __init__(self, wire: Wire, settings: Any) -> None:
        self.wire = wire
        self.host = make_host()
        make_campaign(self.host, sql="SELECT * FROM carves WHERE carve = 1 AND path = '/etc/hosts'")
        self.key = key_of(self.host)

    def start(self, **changes: Any) -> bytes:
        """Give the bytes that begin a carve."""
        body = {**SIZES, "carve_id": GUID, "request_id": "r-1", "node_key": self.key, **changes}
        return request("carve/begin", body)

    def begin(self, **changes: Any) -> str:
        """Begin, give the session."""
        answer = self.wire.send(self.start(**changes)).answer
        assert set(answer) == {"session_id"}, answer
        return str(answer["session_id"])

    def block(self, session: Any, number: Any, data: Any = None, *headers: bytes) -> bytes:
        """Give the bytes of a block."""
        text = base64.b64encode(BLOCKS[number]).decode() if data is None else data
        body = {"block_id": number, "session_id": session, "request_id": "r-1", "data": text}
        return request("carve/block", body, *headers)

    def takes(self, content: bytes) -> bool:
        """Send a block; say whether the agent holds it for accepted: JSON of whatever kind (protocol 6.3)."""
        return is_accepted(self.wire.send(content))


def is_accepted(reply: Reply) -> bool:
    assert reply.status == 200
    assert reply.headers[b"connection"] == b"close"
    try:
        json.loads(reply.body)
    except ValueError:
        assert reply.body.endswith(b"\n"), "a sentence"
        return False
    return True


def kept() -> bytes:
    """Give the bytes of the only carve."""
    return b"".join(store.pieces(Carve.objects.get()))


@pytest.fixture
def carver(whole: Wire, settings: Any) -> Carver:
    """Give a host that is asked for a carve."""
    return Carver(whole, settings)


# --- twice -------------------------------------------------------------------------------------------------------


def test_a_begin_on_several_connections_at_once_is_one_session(carver: Carver) -> None:
    answers = [reply.answer["session_id"] for reply in at_once([carver.wire] * 4, carver.start())]

    assert len(set(answers)) == 1
    assert carver.begin() == answers[0], "a second later"


def test_a_block_on_several_connections_at_once_is_kept_once(carver: Carver) -> None:
    session = carver.begin()

    assert all(map(is_accepted, at_once([carver.wire] * 4, carver.block(session, 1))))

    assert Carve.objects.get().received_blocks == 1
    assert all(carver.takes(carver.block(session, number)) for number in (2, 0, 2, 1))
    assert Carve.objects.get().state == CarveState.COMPLETE
    assert kept() == CONTENT


def test_a_begin_without_a_reader_is_begun_again(carver: Carver) -> None:
    with carver.wire.connect() as leaves:
        leaves.sendall(carver.start())
        eventually(lambda: Carve.objects.exclude(session_id=None).exists())

    assert carver.takes(carver.block(carver.begin(), 0))


def test_half_a_block_is_none(carver: Carver) -> None:
    session = carver.begin()
    with carver.wire.connect() as leaves:
        leaves.sendall(carver.block(session, 0)[:-400])

    assert carver.takes(carver.block(session, 0))
    assert Carve.objects.get().received_blocks == 1


def test_a_block_may_come_in_chunks_and_by_its_header_alone(carver: Carver) -> None:
    session = carver.begin()
    head, _, body = carver.block(session, 0, None, b"Authorization: NodeKey " + carver.key.encode()).partition(
        b"\r\n\r\n"
    )
    head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length"))
    pieces = [body[place : place + 100] for place in range(0, len(body), 100)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)

    assert carver.takes(head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")


# --- sessions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("session", [None, "", "unknown", 5, ["x"], {"a": 1}, "x" * 100_000, "a\0b", "\ud800", True])
def test_a_block_of_no_session_is_refused(carver: Carver, session: Any) -> None:
    carver.begin()

    assert not carver.takes(carver.block(session, 0))


def test_an_upload_that_stopped_half_way_is_over_after_a_while(carver: Carver) -> None:
    session = carver.begin()
    assert carver.takes(carver.block(session, 0))
    Carve.objects.update(heard_at=timezone.now() - timedelta(days=2))

    assert not carver.takes(carver.block(session, 1))

    carve = Carve.objects.get()
    assert (carve.state, carve.missing_blocks) == (CarveState.STALLED, [1, 2])


@pytest.mark.parametrize("head", [b"Authorization: NodeKey forged", b"Authorization: NodeKey 1.1.x"])
def test_a_block_with_a_wrong_key_is_refused(carver: Carver, head: bytes) -> None:
    session = carver.begin()

    assert not carver.takes(carver.block(session, 0, None, head))
    assert carver.takes(carver.block(session, 0, None, b"Authorization: Bearer x")), "that is no node key"


def test_who_was_not_asked_cannot_begin(carver: Carver, settings: Any) -> None:
    other = key_of(make_host())

    assert set(carver.wire.send(carver.start(node_key=other)).answer) == {"error"}
    assert carver.wire.send(carver.start(node_key="forged")).answer == {"node_invalid": True}
    assert not Carve.objects.exists()


# --- what cannot be ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"carve_size": 2**62, "block_size": 2**20, "block_count": 2**42},
        {"carve_size": 2**64},
        {"carve_size": -1},
        {"carve_size": "2560"},
        {"carve_size": 2560.0},
        {"carve_size": [2560]},
        {"block_size": 2**40, "block_count": 1},
        {"block_size": 0},
        {"block_count": 2},
        {"block_count": 2**70},
        {"block_count": None},
        {"block_count": {"a": 1}},
        {"carve_id": "../../../etc/passwd"},
        {"carve_id": "a\0b"},
        {"carve_id": ["x"]},
        {"carve_id": "x" * 100_000},
        {"carve_id": "é"},
    ],
)
def test_a_carve_that_cannot_be_is_refused_with_an_object(
    carver: Carver, changes: dict[str, Any], carves_folder: Path
) -> None:
    assert set(carver.wire.send(carver.start(**changes)).answer) == {"error"}
    assert not Carve.objects.exclude(session_id=None).exists()
    assert not carves_folder.exists()


WHOLE = base64.b64encode(BLOCKS[0]).decode()


@pytest.mark.parametrize(
    ("number", "data"),
    [
        (0, WHOLE + "="),
        (0, WHOLE[:-1]),
        (0, WHOLE.replace("=", "")),
        (0, "=" + WHOLE[1:]),
        (0, WHOLE[:100] + "\n" + WHOLE[100:]),
        (0, WHOLE.replace("A", "-")),
        (0, WHOLE + "QUJD"),
        (0, base64.b64encode(b"x" * (BLOCK + 1)).decode()),
        (0, base64.b64encode(b"x" * (BLOCK - 1)).decode()),
        (2, WHOLE),
        (0, ""),
        (0, None),
        (0, ["QUJD"]),
        (0, "é\ud800\0"),
        (3, WHOLE),
        (-1, WHOLE),
        (2**31, WHOLE),
        (2**70, WHOLE),
        ("0", WHOLE),
        (0.0, WHOLE),
        (True, WHOLE),
        (None, WHOLE),
        ([0], WHOLE),
    ],
)
def test_a_wrong_block_is_refused_and_the_right_one_taken(
    carver: Carver, number: Any, data: Any, carves_folder: Path
) -> None:
    session = carver.begin()
    body = {"block_id": number, "session_id": session, "data": data}

    assert not carver.takes(request("carve/block", body))

    assert not carves_folder.exists()
    assert all(carver.takes(carver.block(session, place)) for place in range(3))
    assert kept() == CONTENT


def test_a_block_above_what_was_announced_for_any_is_cut_off(carver: Carver, settings: Any) -> None:
    session = carver.begin()
    size = 3 * settings.CARVE_MAX_BLOCK_BYTES

    assert not carver.takes(carver.block(session, 0, "A" * size))
    assert Carve.objects.get().received_blocks == 0


@pytest.mark.parametrize("body", [b"", b"1", b"[]", b"null", b"{", b"\xff\xfe", b"\x00", b"[" * 100_000])
def test_what_is_no_object_ends_nothing(carver: Carver, body: bytes) -> None:
    session = carver.begin()

    assert not carver.takes(request("carve/block", body))
    assert carver.wire.send(request("carve/begin", body)).answer == {"node_invalid": True}
    assert carver.takes(carver.block(session, 0))


# --- what is in it -----------------------------------------------------------------------------------------------


def climbing_tar() -> bytes:
    """Give an archive whose members would land elsewhere."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name in ("../../../../tmp/flq-climbed", "/tmp/flq-climbed"):  # noqa: S108
            member = tarfile.TarInfo(name)
            member.size = 5
            tar.addfile(member, io.BytesIO(b"climb"))
    return content.getvalue()


@pytest.mark.parametrize(
    "content", [climbing_tar(), zlib.compress(bytes(50_000_000)), b"\x28\xb5\x2f\xfd" + b"\xff" * 99]
)
def test_what_is_in_a_carve_is_kept_and_never_unpacked(carver: Carver, content: bytes, carves_folder: Path) -> None:
    session = carver.begin(block_count=1, block_size=len(content), carve_size=len(content))

    assert carver.takes(carver.block(session, 0, base64.b64encode(content).decode()))

    assert carves.check() == 1
    assert kept() == content
    assert [path.read_bytes() for path in carves_folder.rglob("*") if path.is_file()] == [content]
    assert not Path("/tmp/flq-climbed").exists()  # noqa: S108
    assert Host.objects.count() == 1
