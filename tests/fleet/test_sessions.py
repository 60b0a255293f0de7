"""Sessions: where one is signed in, how long that lasts, what ends it; for the console, the admin and sockets alike."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from campaigns import tasks
from campaigns.tokens import ApiToken
from fleet import sessions
from fleet.audit.models import AuditEvent
from tests.factories import make_person, make_user
from tests.fleet.signing_in import PASSWORD, is_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board", "quick_passwords")]


def sign_in(name: str = "kim", address: str = "192.0.2.1", browser: str = "Browser A") -> Client:
    client = Client(REMOTE_ADDR=address, HTTP_USER_AGENT=browser)
    before = client.get("/login/").cookies
    answer = client.post("/login/", {"username": name, "password": PASSWORD})
    assert answer.status_code == 302
    assert "sessionid" not in before
    return client


def test_one_sees_where_one_is_signed_in_and_ends_one_or_all(kim: User) -> None:
    here, there = sign_in(), sign_in(address="2001:db8::7", browser="Browser <B>")
    other = UserSession.objects.get(ip="2001:db8::7")

    page = here.get("/account/").content.decode()
    here.post(f"/account/sessions/{other.pk}/end/")
    states = [is_in(here), is_in(there)]
    there = sign_in()
    here.post("/account/sessions/end/")

    assert "Browser A" in page
    assert "Browser &lt;B&gt;" in page
    assert "2001:db8::7" in page
    assert page.count("this one<") == 1
    assert states == [True, False]
    assert [is_in(here), is_in(there)] == [False, False]
    assert not UserSession.objects.exists()


def test_signing_in_and_looking_ask_no_more_where_there_are_many_sessions(kim: User) -> None:
    def asked() -> tuple[int, int]:
        with CaptureQueriesContext(connection) as signing_in:
            here = sign_in()
        with CaptureQueriesContext(connection) as looking:
            assert "this one<" in here.get("/account/").content.decode()
        return len(signing_in), len(looking)

    sign_in()
    first = asked()
    for _ in range(5):
        sign_in()

    assert asked() == first
    assert UserSession.objects.filter(user=kim).count() == 8


def test_what_opens_nothing_any_more_is_forgotten_at_the_next_sign_in(kim: User) -> None:
    out, old = sign_in(browser="logged out"), sign_in(browser="of a password before")
    Session.objects.filter(session_key=out.cookies["sessionid"].value).delete()
    kim.set_password("another one of some length")
    kim.save()
    browser = Client(HTTP_USER_AGENT="new")
    browser.post("/login/", {"username": "kim", "password": "another one of some length"})

    assert not is_in(old)
    assert list(UserSession.objects.values_list("user_agent", flat=True)) == ["new"]


def test_signing_out_everywhere_leaves_tokens_which_are_revoked_beside_it(kim: User) -> None:
    for name in ("backup", "chat"):
        ApiToken.objects.create(user=kim, name=name)
    other = ApiToken.objects.create(user=make_user("lee"), name="other")[0]
    here = sign_in()
    page, of_all = here.get("/account/").content.decode(), here.get("/sessions/").content.decode()

    here.post("/account/sessions/end/")
    left = ApiToken.objects.filter(user=kim).count()
    here = sign_in()
    said = here.post("/tokens/revoke/", follow=True).content.decode()
    of_other = here.post(f"/tokens/of/{other.user_id}/revoke/", follow=True).content.decode()
    lines = AuditEvent.objects.filter(action="token.deleted").order_by("id")

    assert "your 2 <a" in page
    assert 'name="asks" value="Revoke your 2 tokens?' in page
    assert "Revoke 2 tokens" in of_all
    assert left == 2
    assert "Revoked: 2 tokens." in said
    assert "You have no token of the API" in said
    assert "Revoked: 1 token of lee." in of_other
    assert [(line.who, line.details["name"]) for line in lines] == [
        ("kim", name) for name in ("chat", "backup", "other")
    ]
    assert not ApiToken.objects.exists()


def test_nobody_ends_sessions_of_others_but_who_may_change_people(kim: User) -> None:
    sign_in()
    row, client = UserSession.objects.get(), Client()

    client.force_login(make_user("stranger"))
    client.post(f"/account/sessions/{row.pk}/end/")
    refused = [client.get("/sessions/").status_code, client.post(f"/sessions/of/{kim.pk}/end/").status_code]
    refused.append(client.post(f"/tokens/of/{kim.pk}/revoke/").status_code)
    after = UserSession.objects.filter(user=kim).count()
    client.force_login(make_person("auth.view_user", "auth.change_user"))
    page = client.get("/sessions/?of=ki").content.decode()
    client.post(f"/sessions/of/{kim.pk}/end/")

    assert refused == [403, 403, 403]
    assert after == 1
    assert ">kim" in page
    assert not UserSession.objects.filter(user=kim).exists()


def test_the_key_of_a_session_changes_at_sign_in_and_its_cookie_is_for_the_server_alone(kim: User) -> None:
    client = Client()
    session = client.session
    session["x"] = 1
    session.save()
    before = client.cookies["sessionid"].value if "sessionid" in client.cookies else session.session_key
    client.cookies["sessionid"] = before

    client.post("/login/", {"username": "kim", "password": PASSWORD})

    cookie = client.cookies["sessionid"]
    assert cookie.value != before
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")


def test_a_session_ends_by_silence_which_what_pages_ask_does_not_break_and_by_age(kim: User, settings: Any) -> None:
    settings.SESSION_IDLE_MINUTES, settings.SESSION_HOURS = 30, 2
    begun = timezone.now()
    with time_machine.travel(begun, tick=False) as clock:
        silent, busy = sign_in(), sign_in()
        for minutes in range(20, 120, 20):
            clock.move_to(begun + timedelta(minutes=minutes))
            silent.get("/switch/", headers={"HX-Request": "true"})
            assert is_in(busy)
            if minutes > 30:
                assert silent.get("/switch/").status_code == 302
        clock.move_to(begun + timedelta(minutes=121))

        assert not is_in(busy)
        assert not UserSession.objects.exists()


@pytest.mark.parametrize(
    ("idle_minutes", "hours", "stays"), [(30, 0, False), (0, 2, False), (0, 0, True), (240, 4, True)]
)
def test_what_is_over_by_silence_or_by_age_is_neither_listed_nor_held_and_is_swept(
    kim: User, settings: Any, idle_minutes: int, hours: int, stays: bool
) -> None:
    settings.SESSION_IDLE_MINUTES, settings.SESSION_HOURS = idle_minutes, hours
    client, long_ago = sign_in(), timezone.now() - timedelta(hours=3)
    UserSession.objects.update(last_seen_at=long_ago, created_at=long_ago)

    listed, held = bool(sessions.of(kim)), sessions.holds(client.cookies["sessionid"].value)
    tasks.end_sessions()

    assert [listed, held, UserSession.objects.exists(), is_in(client)] == [stays] * 4


def test_the_sweep_forgets_sessions_that_are_gone(kim: User) -> None:
    sign_in()
    Session.objects.all().delete()

    tasks.end_sessions()

    assert not UserSession.objects.exists()


def test_the_sweep_ends_for_good_what_was_of_the_deactivated_by_whatever_way(kim: User) -> None:
    client, _ = sign_in(), ApiToken.objects.create(user=kim, expiry=None)

    User.objects.filter(pk=kim.pk).update(is_active=False)
    refused = is_in(client)
    tasks.end_sessions()
    User.objects.filter(pk=kim.pk).update(is_active=True)

    assert not refused
    assert not is_in(client)
    assert not ApiToken.objects.exists()


def test_a_new_password_ends_all_other_sessions(kim: User) -> None:
    client = sign_in()

    kim.set_password("another long one 77")
    kim.save()

    assert not is_in(client)
