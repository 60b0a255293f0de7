"""The API of hosts, labels, saved queries, enroll secrets and tokens."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from agents.models import EnrollSecret, Host, Label, Presence
from campaigns.tokens import ApiToken
from tests.factories import answer, make_campaign, make_host, make_hosts, make_label, make_user, usable_secret

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Api = Callable[[User | None], APIClient]
LISTS = ("hosts", "labels", "queries", "enroll-secrets")


def post(client: APIClient, path: str, **body: Any) -> Any:
    return client.post(f"/api/v1/{path}", body, format="json")


# --- who -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LISTS)
def test_looking_takes_the_permission_to(api: Api, stranger: User, name: str) -> None:
    assert api(None).get(f"/api/v1/{name}/").status_code in (401, 403)
    assert api(stranger).get(f"/api/v1/{name}/").status_code == 403

    model = {"hosts": "host", "labels": "label", "queries": "query", "enroll-secrets": "enrollsecret"}[name]
    stranger.user_permissions.add(Permission.objects.get(codename=f"view_{model}"))
    allowed = User.objects.get(pk=stranger.pk)
    assert api(allowed).get(f"/api/v1/{name}/").status_code == 200
    if name != "hosts":
        assert post(api(allowed), f"{name}/", name="new").status_code == 403


# --- hosts -----------------------------------------------------------------------------------------------------


def test_hosts_are_found_by_what_they_are(boss: APIClient) -> None:
    linux, mac = make_host(), make_host(platform="darwin", hostname="mac-1")
    Presence.objects.create(host=mac, last_seen=timezone.now())
    make_host(revoked_at=timezone.now())

    everybody = boss.get("/api/v1/hosts/").json()
    macs = boss.get("/api/v1/hosts/?platform=darwin").json()["results"]

    assert [host["id"] for host in everybody["results"]] == [linux.pk, mac.pk]
    assert [(host["hostname"], host["online"]) for host in macs] == [("mac-1", True)]
    assert boss.get("/api/v1/hosts/?hostname=nobody").json()["count"] == 0
    assert boss.post("/api/v1/hosts/", {}, format="json").status_code == 405


def test_a_host_s_results_are_for_who_may_see_campaigns(api: Api, boss: APIClient, stranger: User) -> None:
    host, other = make_hosts(2)
    first, second = make_campaign(host, other), make_campaign(host)
    for campaign, asked in ((first, host), (first, other), (second, host)):
        answer(campaign, asked, {"a": str(campaign.pk)})

    found = boss.get(f"/api/v1/hosts/{host.pk}/results/").json()["results"]

    assert [(item["campaign"], item["rows"]) for item in found] == [
        (second.pk, [{"a": str(second.pk)}]),
        (first.pk, [{"a": str(first.pk)}]),
    ]
    stranger.user_permissions.add(Permission.objects.get(codename="view_host"))
    looking = api(User.objects.get(pk=stranger.pk))
    assert looking.get(f"/api/v1/hosts/{host.pk}/results/").status_code == 403


# --- labels ----------------------------------------------------------------------------------------------------


def test_hosts_enter_and_leave_a_label(boss: APIClient) -> None:
    one, two, three = (host.pk for host in make_hosts(3))
    label = post(boss, "labels/", name="web").json()["id"]

    assert post(boss, f"labels/{label}/hosts/", hosts=[one, two]).json() == {"hosts_count": 2}
    assert post(boss, f"labels/{label}/hosts/", hosts=[two, three]).json() == {"hosts_count": 3}
    left = boss.delete(f"/api/v1/labels/{label}/hosts/", {"hosts": [one]}, format="json")

    assert left.json() == {"hosts_count": 2}
    members = boss.get(f"/api/v1/labels/{label}/hosts/").json()["results"]
    assert [host["id"] for host in members] == [two, three]
    name = Host.objects.get(pk=three).hostname
    assert boss.delete(f"/api/v1/labels/{label}/hosts/?host={two}&host={name}").json() == {"hosts_count": 0}
    for body, query, sentence in (
        ({"hosts": [one]}, f"?host={two}", "unknown member 'hosts'"),
        ({}, "", "hosts: This field is required."),
        ({}, "?host=nowhere", "unknown host: 'nowhere'"),
    ):
        refused = boss.delete(f"/api/v1/labels/{label}/hosts/{query}", body, format="json")
        assert (refused.status_code, sentence in refused.json()["error"]) == (400, True), refused.json()


def test_a_host_that_does_not_exist_enters_no_label(boss: APIClient) -> None:
    host = make_host()
    label = make_label("web")

    refused = post(boss, f"labels/{label.pk}/hosts/", hosts=[host.pk, host.pk + 1000])

    assert (refused.status_code, refused.json()["error"]) == (400, f"unknown host: {host.pk + 1000}")
    assert label.hosts.count() == 0


@pytest.mark.parametrize(
    ("body", "sentence"),
    [({"name": ""}, "name"), ({}, "name"), ({"name": "web"}, "name"), ({"name": "x" * 101}, "name")],
)
def test_a_label_needs_a_name_of_its_own(boss: APIClient, body: dict[str, str], sentence: str) -> None:
    make_label("web")
    before = Label.objects.count()

    refused = post(boss, "labels/", **body)

    assert refused.status_code == 400
    assert sentence in refused.json()["error"] or refused.json().get("field") == sentence
    assert Label.objects.count() == before


# --- saved queries ---------------------------------------------------------------------------------------------


def test_sql_is_saved_changed_and_asked_by_its_number(boss: APIClient) -> None:
    make_host()
    saved = post(boss, "queries/", name="ports", sql="SELECT 1", description="who listens").json()

    changed = boss.patch(f"/api/v1/queries/{saved['id']}/", {"sql": "SELECT 2"}, format="json").json()
    launched = post(boss, "campaigns/", query=saved["id"], target={"all": True}).json()

    assert (changed["sql"], changed["name"]) == ("SELECT 2", "ports")
    assert (launched["sql"], launched["query"]) == ("SELECT 2", saved["id"])
    assert boss.delete(f"/api/v1/queries/{saved['id']}/").status_code == 204
    assert boss.get(f"/api/v1/campaigns/{launched['id']}/").json()["sql"] == "SELECT 2"


# --- enroll secrets --------------------------------------------------------------------------------------------


def test_an_enroll_secret_is_shown_once_and_revoked_for_good(boss: APIClient) -> None:
    label = make_label("laptops")
    made = post(boss, "enroll-secrets/", name="laptops", quota=2, labels=["laptops"]).json()

    shown = boss.get(f"/api/v1/enroll-secrets/{made['id']}/").json()

    assert usable_secret(made["secret"]).pk == made["id"]
    assert "secret" not in shown
    assert made["secret"] not in str(EnrollSecret.objects.values())
    assert (shown["quota"], shown["labels"]) == (2, [label.name])
    assert boss.delete(f"/api/v1/enroll-secrets/{made['id']}/").status_code == 204
    assert usable_secret(made["secret"]) is None
    assert boss.get(f"/api/v1/enroll-secrets/{made['id']}/").json()["revoked_at"] is not None


def test_an_enroll_secret_is_valid_between_moments_in_utc(boss: APIClient) -> None:
    valid = {"valid_from": "2030-01-01T02:00:00.123456+02:00", "valid_until": None}

    made = post(boss, "enroll-secrets/", name="laptops", **valid).json()

    assert (made["valid_from"], made["valid_until"]) == ("2030-01-01T00:00:00.123Z", None)
    for moment in ("soon", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        assert post(boss, "enroll-secrets/", name="phones", valid_from=moment).status_code == 400


def test_the_name_of_an_enroll_secret_is_its_own(boss: APIClient) -> None:
    assert post(boss, "enroll-secrets/", name="laptops").status_code == 201

    assert post(boss, "enroll-secrets/", name="laptops").status_code == 400
    assert EnrollSecret.objects.count() == 1


# --- tokens ----------------------------------------------------------------------------------------------------


def bearing(token: str) -> Any:
    return Client().get("/api/v1/campaigns/", HTTP_AUTHORIZATION=f"Bearer {token}")


def test_a_token_speaks_for_its_owner_until_it_is_taken_away(api: Api, observer: User) -> None:
    client = api(observer)
    made = post(client, "tokens/", name="dashboard").json()

    assert bearing(made["token"]).status_code == 200
    assert made["token"] not in str(ApiToken.objects.values())
    shown = client.get("/api/v1/tokens/").json()["results"]
    assert [(each["name"], "token" in each) for each in shown] == [("dashboard", False)]

    assert client.delete(f"/api/v1/tokens/{made['id']}/").status_code == 204
    assert bearing(made["token"]).status_code == 401


def test_a_token_ends_with_its_days_and_with_its_owner(api: Api, observer: User) -> None:
    client = api(observer)
    made = post(client, "tokens/", name="week", days=7).json()
    ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert bearing(made["token"]).status_code == 401

    made = post(client, "tokens/", name="leaver").json()
    User.objects.update(is_active=False)
    assert bearing(made["token"]).status_code in (401, 403)
    assert post(client, "tokens/", name="odd", days=0).status_code == 400


def test_nobody_sees_or_takes_away_another_s_token(api: Api, observer: User, operator: User) -> None:
    made = post(api(observer), "tokens/", name="mine").json()

    assert api(operator).get("/api/v1/tokens/").json()["results"] == []
    assert api(operator).delete(f"/api/v1/tokens/{made['id']}/").status_code == 404
    assert bearing(made["token"]).status_code == 200


def test_an_address_that_does_not_exist_answers_json(boss: APIClient) -> None:
    answered = boss.get(f"/api/v1/hosts/{Host.objects.count() + 999_999}/")

    assert answered.status_code == 404
    assert answered.json()["error"]


def test_hosts_enter_a_label_by_name_in_any_case(boss: APIClient) -> None:
    one, two, other = make_host(hostname="WEB-01"), make_host(hostname="web-01"), make_host(uuid="AbC")
    label = make_label("pets")

    answered = post(boss, f"labels/{label.pk}/hosts/", hosts=["Web-01", "AbC"])
    refused = post(boss, f"labels/{label.pk}/hosts/", hosts=["abc"])

    assert answered.json() == {
        "hosts_count": 3,
        "warnings": ["2 hosts are called 'Web-01': all of them are meant"],
    }
    assert set(label.hosts.all()) == {one, two, other}
    assert refused.status_code == 400
    assert "'abc'" in refused.json()["error"]


def test_tables_are_learned_again_by_hand(boss: APIClient, board: None, api: Api) -> None:
    host = make_host(osquery_version="5.23.0")
    make_host(osquery_version="5.23.0")
    make_host(osquery_version="5.24.0")

    everybody = boss.post("/api/v1/schema/learn/", {}, format="json")
    one = boss.post("/api/v1/schema/learn/", {"hosts": [host.hostname.upper()]}, format="json")
    unknown = boss.post("/api/v1/schema/learn/", {"hosts": ["nobody"]}, format="json")

    assert (everybody.status_code, everybody.json()) == (202, {"asked": 2}), "one of each kind"
    assert (one.status_code, one.json()) == (202, {"asked": 1})
    assert unknown.status_code == 400
    assert "'nobody'" in unknown.json()["error"]
    assert api(make_user()).post("/api/v1/schema/learn/", {}, format="json").status_code == 403
