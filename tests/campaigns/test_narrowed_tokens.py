"""Tokens that may less than their owners: a role, labels; also those of superusers, whom Django lets do everything."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from campaigns.people import scopes
from campaigns.people.roles import ROLES
from campaigns.tokens import ApiToken, Wanted
from fleet.api.asking import BearerAuthentication
from fleet.audit.models import AuditEvent
from tests.factories import make_campaign, make_host, make_label, make_person, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
ORDER = {"sql": "SELECT 1", "target": {"all": True}}


def ask(token: str, path: str, method: str = "get", **body: Any) -> Any:
    given = {"HTTP_AUTHORIZATION": f"Bearer {token}"}
    content = json.dumps(body) if body else ""
    return Client().generic(method.upper(), f"/api/v1/{path}", content, "application/json", **given)


def made(owner: User, **wanted: Any) -> str:
    return ApiToken.objects.make(owner, Wanted(**wanted))[1]


def hosts_of(token: str) -> list[str]:
    """Name the hosts that everything which obeys scopes shows to this token."""
    person, _ = BearerAuthentication().authenticate_credentials(token.encode())
    return list(scopes.hosts_for(person).order_by("hostname").values_list("hostname", flat=True))


@pytest.fixture
def boss() -> User:
    return make_user("boss", admin=True)


def test_a_role_narrows_a_superuser_at_every_door_and_leaves_him_one(boss: User) -> None:
    campaign = make_campaign(make_host())
    token = made(boss, name="t", role="Observer")

    looks = [ask(token, path).status_code for path in ("campaigns/", "hosts/", "labels/", f"campaigns/{campaign.pk}/")]
    refused = [
        ask(token, "campaigns/", "post", **ORDER),
        ask(token, f"campaigns/{campaign.pk}/stop/", "post"),
        ask(token, "live-queries/disable/", "post", reason="x"),
        ask(token, "enroll-secrets/"),
        ask(token, "enroll-secrets/", "post", name="x"),
        ask(token, "labels/", "post", name="x"),
        ask(token, "schema/learn/", "post"),
        ask(token, "tokens/?everybodys=true"),
    ]

    assert looks == [200, 200, 200, 200]
    assert [answer.status_code for answer in refused] == [403] * len(refused)
    assert User.objects.get(pk=boss.pk).is_superuser


def test_a_role_gives_an_owner_nothing_that_he_lacks_by_now() -> None:
    looker = make_person("agents.view_host", "agents.view_label", "campaigns.add_campaign")
    token = ApiToken.objects.create(user=looker, role="Administrator")[1]  # as from the time when he was one

    looker.user_permissions.set(Permission.objects.filter(codename="view_host"))

    assert ask(token, "hosts/").status_code == 200
    assert ask(token, "labels/").status_code == 403
    assert ask(token, "campaigns/", "post", **ORDER).status_code == 403


@pytest.mark.parametrize(
    ("owner_is", "allowed"),
    [
        ("Administrator", ["Administrator", "Operator", "Observer", "Auditor"]),
        ("Operator", ["Operator", "Observer"]),
        ("Observer", ["Observer"]),
        ("Auditor", ["Auditor"]),
        (None, []),
    ],
)
def test_a_tokens_role_is_at_most_its_owners_at_every_door(owner_is: str | None, allowed: list[str]) -> None:
    kim = make_person()
    kim.groups.set(Group.objects.filter(name=owner_is))
    client, whole = Client(), ApiToken.objects.create(user=kim)[1]
    client.force_login(kim)

    by_api = {role: ask(whole, "tokens/", "post", name="t", role=role) for role in ROLES}
    by_page = {role: client.post("/tokens/", {"name": "t", "access": "run", "role": role, "days": 7}) for role in ROLES}

    assert [role for role, answer in by_api.items() if answer.status_code == 201] == allowed
    assert [role for role, answer in by_page.items() if answer.status_code == 201] == allowed
    refused = [answer.json()["error"] for answer in by_api.values() if answer.status_code == 400]
    assert len(refused) == 4 - len(allowed)
    assert all("may more than the token's owner" in sentence for sentence in refused)


def test_an_operators_token_launches_as_its_owner(boss: User) -> None:
    make_host()
    token = made(boss, role="Operator")

    answer = ask(token, "campaigns/", "post", **ORDER)

    assert (answer.status_code, answer.json()["created_by"]) == (201, "boss")
    assert User.objects.get(pk=boss.pk).is_superuser


def test_labels_narrow_what_is_seen_and_when_they_are_gone_nothing_is(boss: User) -> None:
    web = make_host(hostname="web-1")
    make_host(hostname="db-1")
    label = make_label("web", web)
    token = made(boss, labels=[label])

    seen = hosts_of(token)
    shown = ask(token, "tokens/").json()["results"][0]["labels"]
    label.delete()
    later, named = hosts_of(token), ask(token, "tokens/").json()["results"][0]["labels"]

    assert (seen, shown) == (["web-1"], ["web"])
    assert (later, named) == ([], [])


def test_a_token_makes_none_that_may_more(boss: User) -> None:
    label, other = make_label("web"), make_label("db")
    token = made(boss, role="Operator", labels=[label])

    heir = ask(token, "tokens/", "post", name="heir")
    lesser = ask(token, "tokens/", "post", name="x", role="Observer", labels=["web"])
    refused = [
        ask(token, "tokens/", "post", name="x", role="Administrator"),
        ask(token, "tokens/", "post", name="x", labels=[other.name]),
    ]

    assert (heir.json()["role"], heir.json()["labels"]) == ("Operator", ["web"])
    assert (lesser.status_code, lesser.json()["role"]) == (201, "Observer")
    assert [answer.status_code for answer in refused] == [403, 403]
    assert "'Administrator'" in refused[0].json()["error"]
    assert "'db'" in refused[1].json()["error"]


def test_a_token_lets_tools_launch_only_where_it_was_made_to(boss: User) -> None:
    token = made(boss)

    given = [
        ask(token, "tokens/", "post", name="a"),
        ask(token, "tokens/", "post", name="b", tools_may_launch=True),
        ask(token, "tokens/", "post", name="c", tools_may_launch=True, access="read"),
    ]
    line = AuditEvent.objects.get(action="token.made", details__name="b")

    assert [answer.status_code for answer in given] == [201, 201, 400]
    assert [answer.json()["tools_may_launch"] for answer in given[:2]] == [False, True]
    assert "tools_may_launch" in given[2].json()["fields"]
    assert line.details["tools_may_launch"] is True


@pytest.mark.parametrize("body", [{"role": "Root"}, {"labels": []}, {"labels": ["nowhere"]}, {"days": 0}])
def test_what_no_token_has_is_refused_by_name(boss: User, body: Any) -> None:
    answer = ask(made(boss), "tokens/", "post", name="x", **body)

    assert answer.status_code == 400
    assert next(iter(body)) in answer.json()["fields"]


def test_administrators_look_after_everybodys_tokens(boss: User) -> None:
    kim = make_person()
    kim.groups.add(Group.objects.get(name="Observer"))
    token = made(kim, name="of kim", role="Observer")
    number, client, stranger = ApiToken.objects.get().pk, Client(), Client()
    client.force_login(boss)
    stranger.force_login(make_user("stranger"))

    by_api = client.get("/api/v1/tokens/?everybodys=true").json()["results"]
    page = client.get("/tokens/all/").content.decode()
    refused = [stranger.get("/tokens/all/").status_code, stranger.get("/api/v1/tokens/?everybodys=true").status_code]
    stranger.post(f"/tokens/{number}/revoke/")
    before = ask(token, "hosts/").status_code
    client.post(f"/tokens/{number}/revoke/")

    assert [(item["owner"], item["role"], item["labels"]) for item in by_api] == [(kim.username, "Observer", None)]
    assert "of kim" in page
    assert refused == [403, 403]
    assert (before, ask(token, "hosts/").status_code) == (200, 401)
    assert list(
        AuditEvent.objects.filter(action__startswith="token.").order_by("pk").values_list("action", flat=True)
    ) == [
        "token.made",
        "token.deleted",
    ]


def test_one_makes_a_narrow_token_in_the_console(boss: User) -> None:
    label, client = make_label("web"), Client()
    client.force_login(boss)
    form = {"name": "ci", "access": "read", "role": "Observer", "labels": [label.pk], "days": "7"}

    page = client.post("/tokens/", form)

    token = ApiToken.objects.get()
    assert page.status_code == 201
    assert (token.role, token.access, token.is_scoped, list(token.labels.all())) == ("Observer", "read", True, [label])
    assert "<td>web</td>" in client.get("/tokens/").content.decode()


@pytest.mark.usefixtures("standing_clock")
def test_who_asks_too_often_is_told_which_limit_and_when_to_come_again(boss: User, settings: Any) -> None:
    settings.API_REQUESTS_OF_TOKEN_PER_MINUTE, settings.API_REQUESTS_OF_PERSON_PER_MINUTE = 3, 5
    first, second, demo = made(boss, name="first"), made(boss, name="second"), made(boss)
    ApiToken.objects.filter(name="").update(is_throttled=False)

    of_token = [ask(first, "tokens/") for _ in range(4)]
    of_person = [ask(second, "tokens/") for _ in range(2)]
    of_demo = [ask(demo, "tokens/").status_code for _ in range(8)]

    assert [answer.status_code for answer in of_token] == [200, 200, 200, 429]
    assert "API_REQUESTS_OF_TOKEN_PER_MINUTE" in of_token[-1].json()["error"]
    assert 1 <= int(of_token[-1]["Retry-After"]) <= 60
    assert "API_REQUESTS_OF_PERSON_PER_MINUTE" in of_person[-1].json()["error"]
    assert of_demo == [200] * 8
