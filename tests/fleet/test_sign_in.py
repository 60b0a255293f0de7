"""Passwords: wrong ones lock a name at an address, an address, a name; few are checked at once; all doors alike."""

import json
import threading
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from agents.board import redis_client
from fleet import sign_in
from fleet.audit.models import AuditEvent
from tests.factories import make_user
from tests.fleet.signing_in import PASSWORD

pytestmark = pytest.mark.django_db
WRONG = "wrong"
DOORS = ("/login/", "/admin/login/")


@pytest.fixture(autouse=True)
def _limits(settings: Any) -> None:
    settings.WRONG_PASSWORDS_OF_NAME_AT_ADDRESS = 3
    settings.WRONG_PASSWORDS_OF_ADDRESS = 6
    settings.WRONG_PASSWORDS_OF_NAME = 8
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def person(name: str) -> User:
    user = make_user(name)
    user.is_staff = True
    user.set_password(PASSWORD)
    user.save()
    return user


def knock(name: str, password: str = WRONG, address: str = "192.0.2.1", door: str = "/login/") -> Any:
    return Client(REMOTE_ADDR=address).post(door, {"username": name, "password": password})


@pytest.mark.parametrize("door", DOORS)
def test_a_name_is_locked_at_an_address_also_for_the_right_password(
    door: str, caplog: pytest.LogCaptureFixture
) -> None:
    person("kim")

    tries = [knock("Kim" if number % 2 else "kim", door=door).status_code for number in range(3)]
    locked = knock("kim", PASSWORD, door=door)

    assert tries == [200, 200, 200]
    assert (locked.status_code, locked.headers["Retry-After"]) == (429, "900")
    assert "Too many wrong passwords: try again in 15 minutes." in locked.content.decode()
    assert "locked name='kim' address=192.0.2.1" in caplog.text.lower()
    assert knock("kim", PASSWORD, "192.0.2.2", door=door).status_code == 302


def test_both_doors_count_together() -> None:
    person("kim")

    for door in (*DOORS, DOORS[0]):
        knock("kim", door=door)

    assert [knock("kim", PASSWORD, door=door).status_code for door in DOORS] == [429, 429]


def test_an_address_is_locked_for_all_names_whether_they_exist_or_not() -> None:
    person("kim")

    for number in range(6):
        assert knock(f"nobody-{number}").status_code == 200

    assert knock("kim", PASSWORD).status_code == 429
    assert knock("kim", PASSWORD, "192.0.2.2").status_code == 302


def test_a_name_is_locked_everywhere_but_where_its_owner_signed_in_lately() -> None:
    person("kim")
    assert knock("kim", PASSWORD, "198.51.100.1").status_code == 302

    for number in range(8):
        assert knock("kim", address=f"192.0.2.{number}").status_code == 200

    assert knock("kim", PASSWORD, "192.0.2.99").status_code == 429
    assert knock("kim", PASSWORD, "198.51.100.1").status_code == 302


def test_addresses_of_one_ipv6_network_are_one() -> None:
    for number in range(6):
        knock(f"n{number}", address=f"2001:db8::{number}")

    assert knock("x", address="2001:db8::ffff").status_code == 429
    assert knock("x", address="2001:db8:0:1::1").status_code == 200


def test_a_lock_ends_by_itself_and_a_right_password_begins_anew() -> None:
    person("kim")
    for _ in range(2):
        knock("kim")
    assert knock("kim", PASSWORD).status_code == 302
    assert [knock("kim").status_code for _ in range(3)] == [200, 200, 200]
    assert knock("kim", PASSWORD).status_code == 429

    lives = [redis_client.client().ttl(key) for key in redis_client.client().keys("signin:pair:*")]
    assert lives
    assert all(0 < seconds <= 900 for seconds in lives)


def test_few_passwords_are_checked_at_once_and_the_rest_is_told_to_come_again() -> None:
    turnstile, inside, most = sign_in.Turnstile(2), [0], [0]
    go, lock, outcomes = threading.Event(), threading.Lock(), []

    def check() -> None:
        try:
            with turnstile.turn():
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                go.wait(30)
                with lock:
                    inside[0] -= 1
            outcomes.append("checked")
        except sign_in.TooManyTriesError as refusal:
            outcomes.append(refusal.message)
            if len(outcomes) == 30:
                go.set()

    threads = [threading.Thread(target=check) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert most == [2]
    assert outcomes.count("checked") == 2 + sign_in.WAITING_AT_ONCE
    assert set(outcomes) - {"checked"} == {"Too many people sign in at this moment: try again in a few seconds."}


def test_a_server_that_is_busy_with_passwords_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "_turnstile", sign_in.Turnstile(1))
    monkeypatch.setattr(sign_in, "WAIT_SECONDS", 0.01)
    person("kim")

    with sign_in._turnstile.turn():
        busy = knock("kim", PASSWORD)

    assert (busy.status_code, busy.headers["Retry-After"]) == (429, "5")
    assert knock("kim", PASSWORD).status_code == 302


# --- lifting ---------------------------------------------------------------------------------------------------


def told(*arguments: str) -> Any:
    out = StringIO()
    call_command("sign_in_locks", "--json", *arguments, stdout=out)
    return json.loads(out.getvalue())


def test_who_is_locked_out_is_shown_and_let_in_by_a_command() -> None:
    kim = person("kim")
    for _ in range(3):
        knock("kim")
        knock("no one's name", address="198.51.100.7")
    for number in range(6):
        knock(f"n{number}", address=f"2001:db8::{number}")

    found = told()["locked"]
    lifted = told("--lift", "KIM")
    inside = knock("kim", PASSWORD)
    told("--lift-address", "2001:db8::77")
    told("--lift", "no one's name")

    assert {(lock["name"], lock["address"]) for lock in found} == {
        ("kim", "192.0.2.1"),
        ("?", "198.51.100.7"),
        ("", "2001:db8::/64"),
    }
    assert all(0 < lock["seconds"] <= 900 for lock in found)
    assert [(lock["name"], lock["address"]) for lock in lifted["lifted"]] == [("kim", "192.0.2.1")]
    assert len(lifted["locked"]) == 2
    assert inside.status_code == 302
    assert told() == {"lifted": [], "locked": []}
    lines = AuditEvent.objects.filter(action="sign_in.unlocked").order_by("pk")
    assert [line.subject for line in lines] == [f"person {kim.pk}", "address 2001:db8::/64", "name no one's name"]


def test_a_name_locked_everywhere_and_its_codes_are_let_in_as_well() -> None:
    person("kim")
    for number in range(8):
        knock("kim", address=f"192.0.2.{number}")
    codes = sign_in.Tries("kim second factor", "192.0.2.1")
    for _ in range(3):
        codes.count()

    lifted = told("--lift", "kim")["lifted"]

    assert {(lock["name"], lock["address"]) for lock in lifted} == {("kim", ""), ("kim second factor", "192.0.2.1")}
    codes.check()
    assert knock("kim", PASSWORD, "192.0.2.99").status_code == 302


def test_the_command_says_in_words_who_is_locked_and_what_is_no_address() -> None:
    out = StringIO()
    for _ in range(3):
        knock("kim")

    call_command("sign_in_locks", stdout=out)
    call_command("sign_in_locks", "--lift", "kim", stdout=out)
    call_command("sign_in_locks", "--lift", "kim", stdout=out)

    assert out.getvalue().splitlines()[0].startswith("locked: a name that no account has at 192.0.2.1, for ")
    assert out.getvalue().splitlines()[1].startswith("lifted: a name that no account has at 192.0.2.1, for ")
    assert out.getvalue().splitlines()[2:] == ["nobody is locked", "nothing of that was locked", "nobody is locked"]
    with pytest.raises(CommandError, match="'nowhere' does not appear to be an IPv4 or IPv6 address") as refused:
        call_command("sign_in_locks", "--lift-address", "nowhere")
    assert refused.value.returncode == 2


def test_a_lock_says_how_long_it_still_holds() -> None:
    for _ in range(3):
        knock("kim")
    for key in redis_client.client().keys("signin:pair:*"):
        redis_client.client().expire(key, 110)

    locked = knock("kim")

    assert locked.headers["Retry-After"] == "120"
    assert "try again in 2 minutes." in locked.content.decode()
