"""A new password: everybody gives himself one; who guesses the old one is locked as at the door."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from campaigns.tokens import ApiToken
from fleet.audit.models import AuditEvent
from tests.factories import make_user
from tests.fleet.signing_in import PASSWORD, is_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]
PAGES = ("/account/password/", "/admin/password_change/")
NEW = "another long one 77"


def by_password(password: str = PASSWORD) -> Client:
    client = Client()
    client.post("/login/", {"username": "kim", "password": password})
    return client


def change(client: Client, old: str = PASSWORD, new: str = NEW, again: str = NEW, page: str = PAGES[0]) -> Any:
    return client.post(page, {"old_password": old, "new_password1": new, "new_password2": again})


@pytest.fixture
def operator(kim: User) -> User:
    """Let kim be nobody of the staff."""
    kim.is_staff = kim.is_superuser = False
    kim.save()
    return kim


@pytest.mark.parametrize("page", PAGES)
def test_who_guesses_the_old_one_is_locked_as_at_the_door(kim: User, settings: Any, page: str) -> None:
    settings.WRONG_PASSWORDS_OF_NAME_AT_ADDRESS = 3
    client = by_password()

    wrong = [change(client, old="wrong", page=page) for _ in range(3)]
    locked = change(client, page=page)

    assert "This is not your password." in wrong[0].content.decode()
    assert (locked.status_code, locked.headers["Retry-After"]) == (429, "900")
    assert "Too many wrong passwords: try again in 15 minutes." in locked.content.decode()
    assert AuditEvent.objects.filter(action="sign_in.failed", who="kim").count() == 3
    kim.refresh_from_db()
    assert kim.check_password(PASSWORD)


def test_everybody_gives_himself_a_new_one_which_ends_what_the_old_one_opened(operator: User) -> None:
    client, other = by_password(), by_password()
    ApiToken.objects.create(user=operator)
    link = client.get("/account/").content.decode()

    said = client.get(PAGES[0]).content.decode()
    changed = change(client)
    shown = client.get("/account/").content.decode()

    assert f'href="{PAGES[0]}"' in link
    assert "1 token" in said
    assert (changed.status_code, changed["Location"]) == (302, "/account/")
    assert "You have a new password" in shown
    assert (is_in(client), is_in(other), is_in(by_password()), is_in(by_password(NEW))) == (True, False, False, True)
    assert shown.count("127.0.0.1</td>") == 1
    operator.refresh_from_db()
    assert not ApiToken.objects.of(operator).exists()
    line = AuditEvent.objects.filter(action="person.changed").latest("pk")
    assert (line.who, line.subject, "password" in str(line.details)) == ("kim", f"person {operator.pk}", True)
    assert NEW not in str(line.details)


@pytest.mark.parametrize(
    ("new", "again", "sentence"),
    [
        ("short", "short", "This password is too short. It must contain at least 8 characters."),
        ("password1", "password1", "This password is too common."),
        (NEW, f"{NEW}8", "The two passwords are not the same."),
        ("", "", "This field is required."),
        ("a long one\0for tests", "a long one\0for tests", "Null characters are not allowed."),
    ],
)
def test_what_is_no_good_password_is_said(operator: User, new: str, again: str, sentence: str) -> None:
    client = by_password()

    answer = change(client, new=new, again=again)

    assert answer.status_code == 400
    assert sentence in answer.content.decode()
    assert is_in(by_password())


@pytest.mark.parametrize("page", PAGES)
def test_where_passwords_open_nothing_there_is_none_to_change(operator: User, settings: Any, page: str) -> None:
    client, without = by_password(), Client()
    lee = make_user("lee")
    lee.set_unusable_password()
    lee.save()
    without.force_login(lee)
    settings.LOCAL_PASSWORDS = False

    answers = [client.get(page), change(client, page=page)]
    settings.LOCAL_PASSWORDS = True
    answers.append(without.get(page))

    assert [answer.status_code for answer in answers] == [200, 403, 200]
    assert "This server takes no passwords" in answers[0].content.decode()
    assert "Your account has no password" in answers[2].content.decode()
    assert PAGES[0] not in without.get("/account/").content.decode()
    operator.refresh_from_db()
    assert operator.check_password(PASSWORD)
