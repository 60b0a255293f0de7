"""Tokens of the API: how long they live, what they are good for, what ends them."""

import json
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings as server
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from campaigns import tasks
from campaigns.tokens import ApiToken
from tests.factories import make_campaign, make_host, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
PASSWORD = "a long one for tests"


def ask(token: str, path: str, method: str = "get", address: str = "192.0.2.7", **body: Any) -> Any:
    given = {"HTTP_AUTHORIZATION": f"Bearer {token}", "REMOTE_ADDR": address}
    if method == "get":
        return Client().get(f"/api/v1/{path}", **given)
    content = json.dumps(body) if body else ""
    return Client().generic(method.upper(), f"/api/v1/{path}", content, "application/json", **given)


def works(token: str) -> bool:
    return bool(ask(token, "tokens/").status_code == 200)


def test_a_token_lives_so_long_as_settings_say_and_no_longer_than_the_one_that_made_it() -> None:
    boss = make_user("boss", admin=True)
    _, short = ApiToken.objects.create(user=boss, expiry=timedelta(days=2))
    _, endless = ApiToken.objects.create(user=boss, expiry=None)

    by_short = [ask(short, "tokens/", "post", name="x"), ask(short, "tokens/", "post", name="x", days=30)]
    by_endless = ask(endless, "tokens/", "post", name="x")

    parent = ApiToken.objects.order_by("id").first()
    for made in by_short:
        assert made.status_code == 201
        assert abs(ApiToken.objects.get(pk=made.json()["id"]).expiry - parent.expiry) < timedelta(seconds=1)
    lives = ApiToken.objects.get(pk=by_endless.json()["id"]).expiry - timezone.now()
    assert timedelta(days=server.TOKEN_DAYS - 1) < lives <= timedelta(days=server.TOKEN_DAYS)


def test_a_token_for_reading_launches_and_changes_nothing() -> None:
    boss, host = make_user("boss", admin=True), make_host()
    campaign = make_campaign(host, by=boss)
    _, reader = ApiToken.objects.create(user=boss, expiry=None, access="read")
    order = {"sql": "SELECT 1", "target": {"all": True}}

    refused = [
        ask(reader, "campaigns/", "post", **order),
        ask(reader, f"campaigns/{campaign.pk}/stop/", "post"),
        ask(reader, f"campaigns/{campaign.pk}/", "patch", name="x"),
        ask(reader, "labels/", "post", name="x"),
        ask(reader, "tokens/", "post", name="x"),
        ask(reader, "live-queries/disable/", "post"),
        ask(reader, "enroll-secrets/", "post", name="x"),
    ]

    assert [answer.status_code for answer in refused] == [403] * len(refused)
    assert all("for reading only" in answer.json()["error"] for answer in refused)
    assert ask(reader, "campaigns/").status_code == 200
    assert ask(reader, "campaigns/estimate/", "post", **order).status_code == 200


def test_labels_that_are_null_narrow_nothing_as_where_they_are_left_out() -> None:
    client = APIClient()
    client.force_authenticate(make_user("boss", admin=True))

    made = client.post("/api/v1/tokens/", {"name": "all", "labels": None}, format="json")
    empty = client.post("/api/v1/tokens/", {"name": "none", "labels": []}, format="json")

    assert (made.status_code, made.json()["labels"]) == (201, None)
    assert (empty.status_code, empty.json()["error"]) == (400, "labels is empty: leave it out, or name one at least")


@pytest.mark.usefixtures("quick_passwords")
@pytest.mark.parametrize("way", ["set_password", "admin", "command"])
def test_a_new_password_ends_every_token(way: str, monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    owner, new = make_user("owner", admin=True), "another long one 77"
    _, token = ApiToken.objects.create(user=owner, expiry=None)
    assert works(token)

    if way == "set_password":
        owner.set_password(new)
        owner.save()
    elif way == "admin":
        client.force_login(make_user("boss", admin=True))
        body = {"password1": new, "password2": new, "usable_password": "true"}
        assert client.post(f"/admin/auth/user/{owner.pk}/password/", body).status_code == 302
    else:
        monkeypatch.setattr("getpass.getpass", lambda *_, **__: new)
        call_command("changepassword", "owner")

    refused = ask(token, "tokens/")
    assert refused.status_code == 401
    assert "password" in refused.json()["error"]
    assert not ApiToken.objects.of(User.objects.get(pk=owner.pk)).exists()


def test_a_token_is_kept_as_a_digest_and_shown_to_nobody_again() -> None:
    owner = make_user("owner", admin=True)
    row, token = ApiToken.objects.create(user=owner, name="reports")

    kept = str(ApiToken.objects.filter(pk=row.pk).values().get())
    listed = ask(token, "tokens/").content.decode()

    assert works(token)
    assert token not in kept
    assert token not in listed
    assert "reports" in listed


def test_an_expired_token_lets_nobody_in_and_the_sweep_deletes_it_and_no_other() -> None:
    owner = make_user("owner", admin=True)
    _, short = ApiToken.objects.create(user=owner, expiry=timedelta(days=2))
    _, endless = ApiToken.objects.create(user=owner, expiry=None)
    tasks.end_sessions()
    before = works(short)

    with time_machine.travel(timezone.now() + timedelta(days=3)):
        after = [works(short), works(endless)]
        tasks.end_sessions()

    assert (before, after) == (True, [False, True])
    assert ApiToken.objects.get().expiry is None


def test_a_deactivated_person_s_token_lets_nobody_in() -> None:
    owner = make_user("owner", admin=True)
    _, token = ApiToken.objects.create(user=owner, expiry=None)

    User.objects.update(is_active=False)

    assert ask(token, "tokens/").status_code == 401


def test_a_password_that_is_stored_anew_at_sign_in_keeps_the_tokens() -> None:
    owner = make_user("owner")
    weak = make_password(PASSWORD, salt="s", hasher="pbkdf2_sha1")
    User.objects.filter(pk=owner.pk).update(password=weak)
    owner.refresh_from_db()
    _, token = ApiToken.objects.create(user=owner, expiry=None)

    assert Client().post("/login/", {"username": "owner", "password": PASSWORD}).status_code == 302

    owner.refresh_from_db()
    assert owner.password != weak
    assert works(token)


def test_the_last_use_is_noted_once_a_minute() -> None:
    owner = make_user("owner")
    made, token = ApiToken.objects.create(user=owner, expiry=None)

    with time_machine.travel("2026-11-28T08:00:00Z", tick=False) as clock:
        ask(token, "tokens/", address="192.0.2.7")
        clock.shift(59)
        ask(token, "tokens/", address="192.0.2.8")
        made.refresh_from_db()
        assert (str(made.last_used_at)[:19], made.last_used_from) == ("2026-11-28 08:00:00", "192.0.2.7")
        clock.shift(1)
        shown = ask(token, "tokens/", address="192.0.2.9")

    assert shown.status_code == 200
    made.refresh_from_db()
    assert (str(made.last_used_at)[:19], made.last_used_from) == ("2026-11-28 08:01:00", "192.0.2.9")


def test_people_make_and_take_away_their_own_on_a_page(client: Client) -> None:
    owner = make_user("owner")
    other, _ = ApiToken.objects.create(user=make_user("other"), expiry=None, name="not mine")
    assert client.get("/tokens/").status_code == 302
    client.force_login(owner)

    made = client.post("/tokens/", {"name": "dashboard", "access": "read", "days": "7"})

    assert made.status_code == 201
    token = made.content.decode().split('<code id="new-token">')[1].split("<")[0]
    assert works(token)
    page = client.get("/tokens/").content.decode()
    assert "dashboard" in page
    assert "not mine" not in page
    assert token not in page
    assert client.post("/tokens/", {"name": "", "access": "all", "days": "0"}).status_code == 400
    mine = ApiToken.objects.get(user=owner)
    model = {"name": "model", "days": "7", "tools_may_launch": "on"}
    assert "good for more than reading" in client.post("/tokens/", {**model, "access": "read"}).content.decode()
    assert "language models may launch" in client.post("/tokens/", {**model, "access": "run"}).content.decode()
    ApiToken.objects.get(name="model", tools_may_launch=True).delete()
    assert (mine.access, round((mine.expiry - timezone.now()) / timedelta(days=1))) == ("read", 7)
    for number in (other.pk, mine.pk):
        assert client.post(f"/tokens/{number}/revoke/").status_code == 302
    assert list(ApiToken.objects.all()) == [other]
    assert not works(token)
