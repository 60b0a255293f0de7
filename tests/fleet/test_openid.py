"""Signing in with an OpenID provider, a real one over HTTP: accounts, groups, signatures, and the door it closes."""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import pytest
from allauth.socialaccount.models import SocialAccount
from cryptography.hazmat.primitives.asymmetric import rsa
from django.contrib.auth.models import Group, User
from django.test import Client

from campaigns.people.scopes import Scope
from fleet.audit.models import AuditEvent
from fleet.confirming import CONFIRMED_AT
from tests.factories import make_user
from tests.fleet.openid_provider import CLIENT, SECRET, Provider, dict_of
from tests.fleet.signing_in import PASSWORD, is_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def provider(settings: Any) -> Iterator[Provider]:
    provider = Provider()
    settings.OIDC_ISSUER = provider.issuer
    settings.OIDC_GROUPS = [("fleet-ops", "of operators"), ("fleet-admins", "of administrators"), ("x", "nowhere")]
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


@pytest.mark.parametrize("body", [[], None, {}, "text", {"keys": [7, {"kty": "oct"}]}])
@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/userinfo", "/keys"])
def test_an_answer_of_any_shape_is_said_in_a_sentence(provider: Provider, path: str, body: Any) -> None:
    client = Client()
    begun = client.get("/login/openid/")["Location"]
    back = urlsplit(httpx.get(begun).headers["Location"])
    provider.answers[path] = body

    answers = [client.get(f"{back.path}?{back.query}"), client.get("/login/openid/")]

    assert answers[0].status_code in (403, 503)
    assert answers[1].status_code == (503 if path.startswith("/.well") else 302)
    assert "You are not logged in" in answers[0].content.decode()
    assert all(line.details["reason"] for line in AuditEvent.objects.filter(action="sign_in.failed"))


def test_what_the_provider_refuses_stands_in_the_audit_and_nothing_secret_does(provider: Provider) -> None:
    client = Client()
    begun = client.get("/login/openid/")["Location"]
    state = dict_of(urlsplit(begun).query)["state"]
    refused = client.get(f"/login/openid/callback/?error=access_denied&error_description=no+consent&state={state}")
    provider.answers["/token"] = {"id_token": "secret", "error": "invalid_client"}
    sign_in(client)
    provider.stop()
    client.get("/login/openid/")

    reasons = [line.details["reason"] for line in AuditEvent.objects.filter(action="sign_in.failed").order_by("pk")]

    assert "did not let you in, or you broke it off" in refused.content.decode()
    assert reasons[0] == "the provider says access_denied: no consent"
    assert reasons[1] == "the provider gives no tokens: invalid_client"
    assert len(reasons) == 3


@pytest.mark.parametrize(("seconds", "status"), [(45, 302), (-45, 302), (900, 403)])
def test_clocks_may_differ_by_a_minute_and_more_is_said_in_the_audit(
    provider: Provider, seconds: int, status: int
) -> None:
    provider.forged = {"iat": int(time.time()) + seconds, "exp": int(time.time()) + seconds + 30}

    answer = sign_in(Client())

    assert answer.status_code == status
    lines = AuditEvent.objects.filter(action="sign_in.failed")
    assert all("not yet valid" in line.details["reason"] for line in lines)
    assert all("s after now by this clock" in line.details["reason"] for line in lines)


def test_a_key_may_lack_its_name(provider: Provider) -> None:
    named, bare = provider.public_key(), provider.public_key(None)
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    strange = {**bare, "n": json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(other))["n"]}
    statuses = []

    for keys in ([bare], [strange, named], [strange, bare], [strange], [{**named, "kid": "two"}]):
        provider.keys = keys
        statuses.append(sign_in(Client()).status_code)

    assert statuses == [302, 302, 302, 403, 403]


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ({"preferred_username": 7}, "does not tell your name"),
        ({"preferred_username": "a\0b"}, "does not tell your name"),
        ({"preferred_username": "KIM"}, "only capitals tell from your name"),
        ({"preferred_username": "\uff4b\uff49\uff4d"}, "There is an account named kim already"),
    ],
)
def test_a_name_that_cannot_be_taken_is_said(provider: Provider, claims: dict[str, Any], sentence: str) -> None:
    make_user("kim")
    provider.claims.update(claims)

    answer = sign_in(Client())

    assert answer.status_code == 403
    assert sentence in answer.content.decode()


def test_what_else_is_told_keeps_nobody_out(provider: Provider) -> None:
    provider.claims.update(email="not an address", given_name="x" * 200, family_name=["Lee\0"], groups=["a\0"])
    provider.claims.update(phone_number="a secret of the person")

    answer = sign_in(Client())

    kim = User.objects.get()
    assert answer.status_code == 302
    assert (kim.username, kim.email, kim.first_name, kim.last_name) == ("kim", "", "", "")
    assert "secret" not in json.dumps(SocialAccount.objects.get().extra_data)


def test_groups_are_found_in_other_claims_and_under_names_with_blanks(provider: Provider, settings: Any) -> None:
    for name in ("of operators", "of administrators"):
        Group.objects.create(name=name)
    settings.OIDC_GROUPS = [
        ("Domain Admins", "of administrators"),
        ("soc", "of operators"),
        ("soc", "of administrators"),
    ]
    found = []
    for claim, claims in (
        ("groups", {"groups": "Domain Admins"}),
        ("realm_access.roles", {"realm_access": {"roles": ["soc"]}}),
        ("https://a.example/groups", {"https://a.example/groups": ["soc"]}),
        ("realm_access.roles", {"realm_access": "soc"}),
    ):
        settings.OIDC_GROUPS_CLAIM = claim
        provider.claims = {"sub": "1", "preferred_username": "kim", **claims}
        sign_in(Client())
        found.append(sorted(User.objects.get().groups.values_list("name", flat=True)))

    both = ["of administrators", "of operators"]
    assert found == [["of administrators"], both, both, []]


def test_without_the_claim_a_person_stays_in_his_team_and_loses_what_gives_rights(
    provider: Provider, settings: Any
) -> None:
    team, role = (Group.objects.create(name=name) for name in ("Europe", "of operators"))
    Scope.objects.create(group=team)
    settings.OIDC_GROUPS = [("eu", "Europe"), ("eu", "of operators")]
    provider.claims["groups"] = ["eu"]
    sign_in(Client())
    kim = User.objects.get()
    first = set(kim.groups.all())

    del provider.claims["groups"]
    sign_in(Client())
    without = set(kim.groups.all())
    provider.claims["groups"] = []
    sign_in(Client())

    assert (first, without, set(kim.groups.all())) == ({team, role}, {team}, set())


def test_an_account_that_is_of_a_person_of_the_provider_is_not_given_to_a_second_one(
    provider: Provider, settings: Any
) -> None:
    settings.OIDC_ADOPT_ACCOUNTS = True
    sign_in(Client())
    provider.claims["sub"] = "2"

    answer = sign_in(Client())

    assert answer.status_code == 403
    assert "of another person of your OpenID provider" in answer.content.decode()


def test_an_account_of_that_name_is_the_same_person_where_the_setting_says_so(
    provider: Provider, settings: Any
) -> None:
    settings.OIDC_ADOPT_ACCOUNTS = True
    kim, client = make_user("kim"), Client()

    sign_in(client)

    assert client.session["_auth_user_id"] == str(kim.pk)


@pytest.fixture
def another(provider: Provider) -> Iterator[Provider]:
    """Give another provider, which tells the same of another person."""
    made = Provider()
    made.claims = {"sub": provider.claims["sub"], "preferred_username": "lee"}
    yield made
    made.stop()


def come_to(settings: Any, provider: Provider) -> None:
    """Let this provider be the one that is set."""
    settings.OIDC_ISSUER = provider.issuer
    settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"][0]["settings"]["server_url"] = provider.issuer


def who_comes() -> str:
    """Sign in and give the name of the account, "" = nobody is let in."""
    client = Client()
    sign_in(client)
    return str(User.objects.get(pk=client.session["_auth_user_id"])) if is_in(client) else ""


@pytest.mark.parametrize("is_of_before", [False, True])
def test_a_person_is_one_of_his_issuer(
    provider: Provider, another: Provider, settings: Any, is_of_before: bool
) -> None:
    before = [who_comes()]
    if is_of_before:  # as all were kept, under one name for whatever issuer
        SocialAccount.objects.update(provider="openid")
    come_to(settings, another)
    changed = [who_comes(), who_comes()]
    come_to(settings, provider)
    back = [who_comes()]

    assert (before, changed, back) == (["kim"], ["lee", "lee"], ["kim"])
    assert sorted(SocialAccount.objects.values_list("user__username", "uid")) == [("kim", "1"), ("lee", "1")]


@pytest.mark.parametrize("is_of_before", [False, True])
def test_who_comes_by_another_issuer_keeps_his_account_where_the_setting_says_so(
    provider: Provider, another: Provider, settings: Any, is_of_before: bool
) -> None:
    who_comes()
    if is_of_before:
        SocialAccount.objects.update(provider="openid")
    another.claims = {"sub": "77", "preferred_username": "kim"}
    come_to(settings, another)

    refused = who_comes()
    settings.OIDC_ADOPT_ACCOUNTS = True
    taken = who_comes()
    settings.OIDC_ADOPT_ACCOUNTS = False
    after = who_comes()
    come_to(settings, provider)
    settings.OIDC_ADOPT_ACCOUNTS = True
    provider.claims["sub"] = "2"

    assert (refused, taken, after) == ("", "kim", "kim")
    assert who_comes() == ""  # of another person of the first
    assert User.objects.count() == 1


def test_an_issuer_that_cannot_be_kept_lets_nobody_in(provider: Provider) -> None:
    long = f"{provider.issuer}/{'a' * 200}"
    config = provider._json("/.well-known/openid-configuration", {}, "")[1]
    provider.answers["/.well-known/openid-configuration"] = {**config, "issuer": long}
    provider.forged = {"iss": long}

    assert who_comes() == ""
    assert "longer than 200 letters" in AuditEvent.objects.get(action="sign_in.failed").details["reason"]


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
    key = client.session.session_key
    sign_in(client, "?again=1&next=/account/app/")

    assert abs(before - long_ago) < 2
    assert client.session.session_key == key  # his other tabs go on
    assert "/login/openid/?again=1" in page
    assert provider.asked[-1]["prompt"] == "login"
    assert "do again what you were about to do" in client.get("/account/app/").content.decode()
    assert AuditEvent.objects.filter(action="person.confirmed").count() == 1
    assert AuditEvent.objects.filter(action="session.begun").count() == 1


def test_a_provider_that_does_not_ask_again_is_named(provider: Provider) -> None:
    client = Client()
    provider.claims["auth_time"] = int(time.time()) - 4000
    sign_in(client)

    answer = sign_in(client, "?again=1&next=/account/app/")

    page = answer.content.decode()
    assert answer.status_code == 403
    assert "did not ask again who you are" in page
    assert "You are still logged in as kim" in page
    assert "You are not logged in" not in page
    assert client.get("/account/app/").status_code == 302


def test_the_providers_clock_does_not_count_where_it_says_when_it_saw_the_person(provider: Provider) -> None:
    client, behind = Client(), int(time.time()) - 1800
    provider.forged = {"iat": behind, "exp": behind + 3600, "auth_time": behind - 1}

    sign_in(client)

    assert client.get("/account/app/").status_code == 200


def test_another_person_does_not_answer_for_who_is_asked_again(provider: Provider) -> None:
    client = Client()
    sign_in(client)
    kim = User.objects.get()
    provider.claims = {"sub": "2", "preferred_username": "lee"}

    answer = sign_in(client, "?again=1&next=/account/app/")

    assert answer.status_code == 403
    assert "as another person" in answer.content.decode()
    assert client.session["_auth_user_id"] == str(kim.pk)
    assert not User.objects.filter(username="lee").exists()


def test_who_has_no_password_and_needs_a_second_factor_can_show_who_he_is(provider: Provider, settings: Any) -> None:
    client = Client()
    provider.claims["auth_time"] = int(time.time()) - 4000
    sign_in(client)
    User.objects.update(is_staff=True)
    settings.REQUIRE_SECOND_FACTOR = True
    asked = client.get("/account/app/")["Location"]
    provider.claims["auth_time"] = int(time.time())

    answer = sign_in(client, "?again=1&next=/account/app/")

    assert asked.startswith("/confirm/")
    assert answer["Location"] == "/account/app/"
    assert client.get("/account/app/").status_code == 200


def test_without_a_provider_nobody_is_sent_to_it(provider: Provider, settings: Any) -> None:
    client = Client()
    provider.claims["auth_time"] = int(time.time()) - 4000
    sign_in(client)
    settings.OIDC_ISSUER = ""

    page = client.get("/confirm/").content.decode()

    assert "/login/openid/" not in page
    assert "nothing by which your account could show here that it is you" in page


def test_the_page_of_a_person_says_what_the_provider_gives_and_takes(provider: Provider) -> None:
    sign_in(Client())
    kim, here, client = User.objects.get(username="kim"), make_user("lee"), Client()
    client.force_login(make_user("boss", admin=True))

    pages = [client.get(f"/people/{person.pk}/").content.decode() for person in (kim, here)]

    assert ["gives and takes at every sign-in" in page for page in pages] == [True, False]
    assert "of administrators, of operators" in pages[0]


def test_who_is_switched_off_reads_just_that(provider: Provider) -> None:
    sign_in(Client())
    User.objects.update(is_active=False)

    page = sign_in(Client()).content.decode()

    assert "Your account is switched off" in page
    assert "You are not logged in" in page
    assert "can give it to you" not in page


def test_an_account_of_the_provider_is_no_second_factor_in_the_audit(provider: Provider) -> None:
    sign_in(Client())

    actions = set(AuditEvent.objects.values_list("action", flat=True))

    assert "person.account_connected" in actions
    assert "second_factor.changed" not in actions


def test_who_logs_out_is_told_that_the_provider_still_knows_him(provider: Provider) -> None:
    client = Client()
    sign_in(client)

    page = client.post("/logout/", follow=True).content.decode()

    assert "you may still be logged in" in page
