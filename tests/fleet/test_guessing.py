"""An installation of one process, as the demo runs it, while somebody guesses passwords and viewers misuse sockets."""

import os
import ssl
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
from django.contrib.auth.models import User
from django.db import connection

from fleet.demo.certificates import Certificates
from tests.agents.wire.conftest import key_of, received, reply, request
from tests.factories import make_campaign, make_host
from tests.fleet.signing_in import PASSWORD, make_kim
from tests.fleet.tiers import MiB, Tier, everything, frame, memory_of, upgraded

pytestmark = [
    pytest.mark.processes,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("board"),
]
AT_ONCE = 40  # guesses; 2 of them are checked at a time, and 8 wait for their turn
ELSEWHERE = "127.0.0.2"


class Installation(Tier):
    """Both tiers in one process, and those who come to it."""

    def __init__(self, name: str, folder: Path, certificates: Certificates, **changes: str) -> None:
        self._ca = str(certificates.ca)
        (folder / name).mkdir()
        super().__init__("application", folder / name, certificates, HOLD_SECONDS="0", **changes)

    def visitor(self, address: str = "127.0.0.1") -> httpx.Client:
        """Give a browser at this address."""
        trust = ssl.create_default_context(cafile=self._ca)
        transport = httpx.HTTPTransport(local_address=address, verify=trust)
        origin = f"https://localhost:{self.port}"
        return httpx.Client(base_url=origin, transport=transport, headers={"Referer": f"{origin}/login/"}, timeout=60)

    def sign_in(self, visitor: httpx.Client, name: str, password: str) -> httpx.Response:
        """Fill the form and send it."""
        visitor.get("/login/")
        filled = {"username": name, "password": password, "csrfmiddlewaretoken": visitor.cookies["csrftoken"]}
        return visitor.post("/login/", data=filled)

    def guess(self, name: str) -> httpx.Response:
        """Try a wrong password as somebody new."""
        with self.visitor() as stranger:
            return self.sign_in(stranger, name, "wrong")

    def check_in(self) -> Any:
        """Ask for work, as an agent does, and give the answer."""
        with self.connect() as agent:
            agent.sendall(request("distributed/read", {"node_key": key_of(12)}))
            return reply(received(agent)).answer


@pytest.fixture(scope="module")
def _installations(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: Any
) -> Iterator[tuple[Installation, Installation]]:
    """Start one that has its Redis and one that does not, over the tests' PostgreSQL."""
    with django_db_blocker.unblock():
        name = str(connection.settings_dict["NAME"])
    database = urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))
    folder = tmp_path_factory.mktemp("installations")
    certificates = Certificates(folder / "certificates")
    certificates.make("127.0.0.1")
    with ThreadPoolExecutor(2) as pool:
        whole = pool.submit(Installation, "whole", folder, certificates, DATABASE_URL=database)
        without = pool.submit(
            Installation, "without", folder, certificates, DATABASE_URL=database, REDIS_URL="redis://127.0.0.1:1/0"
        )
    yield whole.result(), without.result()
    for each in (whole, without):
        each.result().stop()


@pytest.fixture
def installation(_installations: tuple[Installation, Installation], transactional_db: None) -> Installation:
    """Give one that runs."""
    return _installations[0]


@pytest.fixture
def without_redis(_installations: tuple[Installation, Installation], transactional_db: None) -> Installation:
    """Give one that has no Redis."""
    return _installations[1]


@pytest.fixture
def kim(transactional_db: None) -> User:
    """Give a person with a password, stored as passwords are."""
    return make_kim()


def check_ins_until_done(installation: Installation, guesses: list["Future[httpx.Response]"]) -> list[Any]:
    """Check in again and again while there are guesses that were not answered."""
    answers = []
    while not all(guess.done() for guess in guesses):
        answers.append(installation.check_in())
    return answers


def test_check_ins_go_on_while_passwords_are_guessed(installation: Installation, kim: User) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        guesses = [pool.submit(installation.guess, f"kim{number % 25}") for number in range(AT_ONCE)]
        answers = check_ins_until_done(installation, guesses)

    heard = [guess.result() for guess in guesses]
    assert {each.status_code for each in heard} == {200, 429}
    assert {each.headers["Retry-After"] for each in heard if each.status_code == 429} <= {"5", "900"}
    assert len(answers) > sum(each.status_code == 200 for each in heard)  # more than passwords were checked
    assert all("queries" in each or each == {} for each in answers)


def test_a_lock_says_when_to_come_again_and_holds_at_one_address(installation: Installation, kim: User) -> None:
    statuses = [installation.guess("kim").status_code for _ in range(6)]
    with installation.visitor() as guesser, installation.visitor(ELSEWHERE) as owner:
        locked = installation.sign_in(guesser, "kim", PASSWORD)
        right = installation.sign_in(owner, "kim", PASSWORD)

    assert statuses == [200] * 5 + [429]
    assert (locked.status_code, locked.headers["Retry-After"]) == (429, "900")
    assert "Too many wrong passwords: try again in 15 minutes." in locked.text
    assert (right.status_code, right.headers["Location"]) == (302, "/")
    assert "locked name='kim' address=127.0.0.1" in installation.log.read_text()


def test_without_redis_nothing_is_locked_but_few_passwords_are_checked_at_once(
    without_redis: Installation, kim: User
) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        guesses = [pool.submit(without_redis.guess, "kim") for _ in range(AT_ONCE)]
        answers = check_ins_until_done(without_redis, guesses)
    with without_redis.visitor() as owner:
        right = without_redis.sign_in(owner, "kim", PASSWORD)

    heard = [guess.result() for guess in guesses]
    assert {each.status_code for each in heard} == {200, 429}
    assert {each.headers["Retry-After"] for each in heard if each.status_code == 429} == {"5"}
    assert len(answers) > 0
    assert right.status_code == 302
    assert "wrong passwords not counted" in without_redis.log.read_text()


# --- a viewer who is signed in ---------------------------------------------------------------------------------


def socket_of(installation: Installation, campaign: int) -> Any:
    """Open a campaign's socket as kim's browser does."""
    with installation.visitor(ELSEWHERE) as browser:
        assert installation.sign_in(browser, "kim", PASSWORD).status_code == 302
        cookie = f"Cookie: sessionid={browser.cookies['sessionid']}"
    opened, answer = upgraded(installation, f"/ws/campaigns/{campaign}/", cookie, "Origin: https://localhost")
    assert " 101 " in answer
    assert opened.recv(2) != b""  # the snapshot's: they may look
    return opened


def send_all(viewer: Any, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        viewer.sendall(piece)


@pytest.mark.parametrize("opcode", [1, 2])
def test_a_viewers_message_above_64_kib_closes_the_socket(installation: Installation, kim: User, opcode: int) -> None:
    campaign = make_campaign(make_host(), by=kim)

    with socket_of(installation, campaign.pk) as viewer:
        viewer.sendall(frame(opcode, b"x" * 65_536) + frame(opcode, b"x" * 65_537))
        heard = everything(viewer)

    assert "frames have at most 65536 bytes" in heard


def test_a_viewers_gigabyte_costs_what_the_server_lets_through(installation: Installation, kim: User) -> None:
    campaign = make_campaign(make_host(), by=kim)
    before = memory_of(installation)
    giant = frame(2, b"")[:2] + (2**30).to_bytes(8, "big") + bytes(4)
    many = (frame(0 if number else 2, bytes(MiB), final=False) for number in range(1024))

    for pieces in ([giant, *[bytes(MiB)] * 1024], many):
        with socket_of(installation, campaign.pk) as viewer:
            with pytest.raises(OSError):  # noqa: PT011 - whichever way it was closed
                send_all(viewer, pieces)
            assert memory_of(installation) - before < 200 * MiB  # what has been taken in, not what was sent
