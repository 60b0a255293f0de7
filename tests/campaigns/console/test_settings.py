"""The settings: enroll secrets and how machines join, the config of agents, the kill switch."""

import json
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.http import HttpResponse
from django.test import Client

from agents.enrolling import config_document
from agents.models import EnrollSecret
from campaigns.launching import kill_switch
from campaigns.models import Campaign
from campaigns.people.scopes import Scope
from tests.factories import make_campaign, make_host, make_person, make_user, usable_secret
from tests.pages import words_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]


@pytest.fixture
def boss(client: Client) -> Client:
    client.force_login(make_user(admin=True))
    return client


def test_a_secret_is_made_and_shown_once(boss: Client) -> None:
    boss.post("/settings/secrets/", {"name": "laptops", "quota": "5"})

    made = EnrollSecret.objects.get()
    once, later = words_of(boss.get("/settings/")), words_of(boss.get("/settings/"))
    secret = once.partition('id="fresh-secret">')[2].partition("<")[0]
    assert usable_secret(secret) == made
    assert (made.name, made.quota) == ("laptops", 5)
    assert secret not in later


@pytest.mark.parametrize("wrong", [{"name": ""}, {"name": "x", "quota": "many"}, {"name": "x", "valid_until": "soon"}])
def test_a_wrong_secret_is_refused_with_a_sentence(boss: Client, wrong: dict[str, str]) -> None:
    response = boss.post("/settings/secrets/", wrong)

    assert (response.status_code, 'role="alert"' in words_of(response)) == (422, True)
    assert not EnrollSecret.objects.exists()


def test_a_secret_is_revoked_once(boss: Client) -> None:
    secret = EnrollSecret.objects.create(name="old", digest="d")

    boss.post(f"/settings/secrets/{secret.pk}/revoke/")
    boss.post(f"/settings/secrets/{secret.pk}/revoke/")

    secret.refresh_from_db()
    assert secret.revoked_at is not None
    assert "revoked" in words_of(boss.get("/settings/"))


def test_the_flagfile_stands_there_for_each_platform(boss: Client) -> None:
    page = words_of(boss.get("/settings/", headers={"host": "testserver"}))

    assert page.count("--tls_hostname=testserver") == 3
    assert "--enroll_secret_path=/private/var/osquery/fleet-secret" in page
    assert "sudo systemctl enable --now osqueryd" in page


def test_a_config_is_kept_or_refused_with_what_was_typed(boss: Client) -> None:
    boss.post("/settings/config/", {"document": '{"options": {"pack_delimiter": "/"}}'})
    refused = boss.post("/settings/config/", {"document": "{nope"})
    unfit = boss.post("/settings/config/", {"document": '{"node_invalid": true}'})

    assert config_document.current() == {"options": {"pack_delimiter": "/"}}
    assert (refused.status_code, "{nope" in words_of(refused), "no JSON" in words_of(refused)) == (
        422,
        True,
        True,
    )
    assert "agents would refuse all of it" in words_of(unfit)
    assert json.dumps({"pack_delimiter": "/"})[1:-1] in words_of(boss.get("/settings/"))


def test_the_kill_switch_is_thrown_and_lifted(boss: Client) -> None:
    campaign = make_campaign(make_host())

    thrown = words_of(boss.post("/settings/live-queries/", {"to": "off", "reason": "an incident"}, follow=True))
    assert "1 campaign was stopped" in thrown
    assert "an incident" in thrown
    assert not kill_switch.is_on()
    boss.post("/settings/live-queries/", {"to": "on"})

    assert kill_switch.is_on()
    assert "switched off" in Campaign.objects.get(pk=campaign.pk).ended_reason


@pytest.mark.parametrize("to", ["", "maybe"])
def test_the_kill_switch_takes_on_and_off_alone(boss: Client, to: str) -> None:
    assert boss.post("/settings/live-queries/", {"to": to}).status_code == 422
    assert kill_switch.is_on()


@pytest.mark.parametrize(
    ("permission", "shown"),
    [
        ("agents.view_enrollsecret", {"Enroll secrets"}),
        ("agents.view_configdocument", {"Config that agents are served"}),
        ("campaigns.switch_live_queries", {"all live queries off"}),
    ],
)
def test_each_sees_what_is_his(client: Client, permission: str, shown: set[str]) -> None:
    client.force_login(make_person(permission))

    page = words_of(client.get("/settings/"))

    parts = {"Enroll secrets", "Config that agents are served", "all live queries off"}
    found = {part for part in parts if part.replace("Live queries", "all live queries") in page or part in page}
    assert found == shown


def test_who_may_only_look_changes_nothing(client: Client) -> None:
    client.force_login(make_person("agents.view_enrollsecret", "agents.view_configdocument"))
    secret = EnrollSecret.objects.create(name="old", digest="d")

    changes: list[Callable[[], HttpResponse]] = [
        lambda: client.post("/settings/secrets/", {"name": "mine"}),
        lambda: client.post(f"/settings/secrets/{secret.pk}/revoke/"),
        lambda: client.post("/settings/config/", {"document": "{}"}),
        lambda: client.post("/settings/live-queries/", {"to": "off"}),
    ]

    assert [change().status_code for change in changes] == [403] * 4


def test_who_sees_some_hosts_only_does_not_write_the_config_of_all(client: Client) -> None:
    person = make_person("agents.view_configdocument", "agents.add_configdocument", "agents.change_configdocument")
    User.objects.filter(pk=person.pk).update(is_staff=True)
    person.groups.add(Scope.objects.create(group=Group.objects.create(name="team")).group)
    config_document.keep({"schedule": {}}, by="ann")
    client.force_login(person)

    told = client.post("/settings/config/", {"document": "{}"})
    in_admin = client.post("/admin/agents/configdocument/1/change/", {"document": "{}"})
    page = words_of(client.get("/settings/"))

    assert (told.status_code, in_admin.status_code) == (403, 403)
    assert "your scope is some hosts only" in words_of(told)
    assert "your scope is some hosts only" in page
    assert "Keep it" not in page
    assert config_document.current() == {"schedule": {}}


def test_who_sees_some_hosts_only_does_not_throw_the_kill_switch(client: Client) -> None:
    person = make_person("campaigns.switch_live_queries", "campaigns.add_campaign", "campaigns.view_campaign")
    person.groups.add(Scope.objects.create(group=Group.objects.create(name="team")).group)
    campaign = make_campaign(make_host())
    client.force_login(person)

    told = [
        client.post("/settings/live-queries/", {"to": "off", "reason": "mine"}),
        client.post("/api/v1/live-queries/disable/", {"reason": "mine"}, "application/json"),
    ]
    page = words_of(client.get("/settings/"))

    assert [answer.status_code for answer in told] == [403, 403]
    assert all("you see some hosts only" in words_of(answer) for answer in told)
    assert "you see some hosts only" in page
    assert "Switch all live queries off" not in page
    assert kill_switch.is_on()
    assert not Campaign.objects.get(pk=campaign.pk).is_over
