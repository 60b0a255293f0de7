"""Signing in with an OpenID provider, a real one over HTTP: accounts, groups, signatures, and the door it closes."""

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.contrib.auth.models import Group, User
from django.test import Client

from fleet.audit.models import AuditEvent
from fleet.confirming import CONFIRMED_AT
from tests.factories import make_user
from tests.fleet.openid_provider import CLIENT, SECRET, Provider
from tests.fleet.signing_in import PASSWORD, is_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def provider(settings: Any) -> Iterator[Provider]:
    provider = Provider()
    settings.OIDC_ISSUER = provider.issuer
    settings.OIDC_GROUPS = {"fleet-ops": "of operators", "fleet-admins": "of administrators", "x": "nowhere"}
    app = {"provider_id": "openid", "name": "Our login", "client_id": CLIENT, "secret": SECRET}
    more = {"server_url": provider.issuer, "scope": ["openid", "profile"], "oauth_pkce_enabled": True}
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [{**app, "settings": more}]}}
    yield provider
    provider.stop()


def sign_in(client: Client, query: str = "?next=/labels/") -> Any:
    """Follow the provider as a browser does; give the last answer of ours."""
    sent = client.get(f"/login/openid/{query}")
    assert sent.status_code == 302, sent.content
    back = urlsplit(httpx.get(sent["Location"]).headers["Location"])
    return client.get(f"{back.path}?{back.query}")


def test_who_comes_first_gets_an_account_and_comes_back_to_it(provider: Provider) -> None:
    client = Client()
    page = client.get("/login/?next=/labels/").content.decode()

    answer = sign_in(client)
    sign_in(Client())
    provider.claims = {"sub": "2", "preferred_username": "lee"}
    sign_in(Client())

    assert "/login/openid/?next=%2Flabels%2F" in page
    assert answer["Location"] == "/labels/"
    assert is_in(client)
    assert list(User.objects.order_by("pk").values_list("username", flat=True)) == ["kim", "lee"]
    assert not User.objects.get(username="kim").has_usable_password()
    assert provider.asked[0]["code_challenge_method"] == "S256"


def test_groups_follow_the_claim_at_every_sign_in_and_only_those_of_the_map(provider: Provider) -> None:
    for name in ("of operators", "of administrators", "by hand"):
        Group.objects.create(name=name)
    provider.claims["groups"] = ["fleet-ops", "something else"]
    sign_in(Client())
    kim = User.objects.get()
    kim.groups.add(Group.objects.get(name="by hand"))
    first = set(kim.groups.values_list("name", flat=True))

    provider.claims["groups"] = "fleet-admins, x"
    sign_in(Client())
    second = set(kim.groups.values_list("name", flat=True))
    del provider.claims["groups"]
    sign_in(Client())

    assert first == {"of operators", "by hand"}
    assert second == {"of administrators", "by hand"}
    assert set(kim.groups.values_list("name", flat=True)) == {"by hand"}


def spoil(wrong: str, provider: Provider, settings: Any) -> None:
    """Let one thing not be as it should be."""
    match wrong:
        case "signature":
            provider.signing_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "issuer" | "time":
            forged = {"issuer": {"iss": "https://another.example"}, "time": {"exp": int(time.time()) - 600}}
            provider.forged = forged[wrong]
        case "audience":
            provider.audience = "another client"
        case "person":
            provider.userinfo_sub = "2"
        case "secret":
            settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"][0]["secret"] = "wrong"
        case "inactive":
            sign_in(Client())
            User.objects.update(is_active=False)
        case "name":
            provider.claims["preferred_username"] = "white space"
        case "taken":
            make_user("kim", admin=True)


@pytest.mark.parametrize(
    "wrong",
    ["signature", "issuer", "audience", "time", "person", "secret", "state", "inactive", "name", "taken"],
)
def test_what_is_not_as_it_should_be_lets_nobody_in(provider: Provider, settings: Any, wrong: str) -> None:
    client = Client()
    spoil(wrong, provider, settings)

    answer = client.get("/login/openid/callback/?code=code-1&state=x") if wrong == "state" else sign_in(client)

    assert answer.status_code == 403
    if wrong != "inactive":
        assert "You are not logged in" in answer.content.decode()
        assert ".." not in answer.content.decode().partition("<main")[2]
    assert not is_in(client)
    line = AuditEvent.objects.get(action="sign_in.failed")
    named = {"inactive": "kim", "name": "white space", "taken": "kim"}.get(wrong, "")
    assert (line.who, line.address, bool(line.details["reason"])) == (named, "127.0.0.1", True)


def test_an_account_of_that_name_is_the_same_person_where_the_setting_says_so(
    provider: Provider, settings: Any
) -> None:
    settings.OIDC_ADOPT_ACCOUNTS = True
    kim, client = make_user("kim"), Client()

    sign_in(client)

    assert client.session["_auth_user_id"] == str(kim.pk)


def test_a_provider_that_is_away_is_said_and_where_is_none_there_is_no_door(provider: Provider, settings: Any) -> None:
    provider.stop()
    away = Client().get("/login/openid/")
    settings.OIDC_ISSUER = ""
    none = Client().get("/login/openid/")

    assert (away.status_code, none.status_code) == (503, 404)
    assert "does not answer" in away.content.decode()
    assert "does not understand this request" not in away.content.decode()


def test_passwords_may_be_switched_off(provider: Provider, settings: Any) -> None:
    settings.LOCAL_PASSWORDS = False
    kim = make_user("kim")
    kim.set_password(PASSWORD)
    kim.save()
    client = Client()

    answers = [client.post(door, {"username": "kim", "password": PASSWORD}) for door in ("/login/", "/admin/login/")]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert not is_in(client)
    assert "id_password" not in client.get("/login/").content.decode()


def test_the_provider_is_believed_when_it_saw_the_person(provider: Provider) -> None:
    client, long_ago = Client(), int(time.time()) - 4000
    provider.claims["auth_time"] = long_ago

    sign_in(client)
    before = client.session[CONFIRMED_AT]
    asked = client.get("/account/app/")
    page = client.get(asked["Location"]).content.decode()
    provider.claims["auth_time"] = int(time.time())
    sign_in(client, "?again=1&next=/account/app/")

    assert before == long_ago
    assert "/login/openid/?again=1" in page
    assert provider.asked[-1]["prompt"] == "login"
    assert client.get("/account/app/").status_code == 200
