"""What the lists' filters find, and where the API's limits lie."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.test import APIClient

from agents.board import keyspace, redis_client
from agents.models import Presence
from campaigns.answers import results
from campaigns.models import Campaign, Query
from campaigns.states import Status
from tests.factories import answer, make_campaign, make_host, make_hosts, make_label, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Api = Callable[[User | None], APIClient]


def names(client: APIClient, path: str, question: str, field: str = "name") -> list[str]:
    answered = client.get(f"/api/v1/{path}/?{question}")
    assert answered.status_code == 200, answered.json()
    return sorted(item[field] for item in answered.json()["results"])


def sentence(answered: Any) -> str:
    assert answered.status_code == 400
    return str(answered.json()["error"])


# --- filters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("status=completed", ["old"]),
        ("search=PORTS", ["new"]),
        ("search=from%20users", ["old"]),
        ("created_by=ana", ["old"]),
        ("since=3600", ["new"]),
        ("label=web", ["new"]),
        ("status=running&label=web", ["new"]),
        ("status=completed&label=web", []),
    ],
)
def test_campaigns_are_narrowed(boss: APIClient, question: str, found: list[str]) -> None:
    host = make_host()
    make_label("web", host)
    old = make_campaign(host, by=make_user("ana", admin=True), name="old", sql="SELECT uid FROM users")
    make_campaign(host, name="new", sql="SELECT 1 AS ports", target={"labels": ["web"]})
    Campaign.objects.filter(pk=old.pk).update(
        status=Status.COMPLETED, created_at=timezone.now() - timedelta(days=2), ended_at=timezone.now()
    )

    assert names(boss, "campaigns", question) == found


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("search=WEB", ["web-1", "web-2"]),
        ("search=serial-9", ["db-1"]),
        ("online=true", ["web-1"]),
        ("online=false", ["db-1", "web-2"]),
        ("platform=windows", ["db-1"]),
        ("label=web", ["web-1"]),
        ("in_doubt=true", ["web-2"]),
        ("seen=60", ["web-1"]),
        ("search=web&online=false", ["web-2"]),
    ],
)
def test_hosts_are_narrowed(boss: APIClient, question: str, found: list[str]) -> None:
    one = make_host(hostname="web-1")
    make_host(hostname="web-2", in_doubt_since=timezone.now())
    make_host(hostname="db-1", platform="windows", hardware_serial="SERIAL-9")
    make_label("web", one)
    Presence.objects.create(host=one, last_seen=timezone.now())

    assert names(boss, "hosts", question, "hostname") == found


def test_labels_and_queries_are_searched(boss: APIClient) -> None:
    make_label("web servers")
    make_label("laptops")
    Query.objects.create(name="ports", sql="SELECT 1")
    Query.objects.create(name="people", sql="SELECT uid FROM users")

    assert names(boss, "labels", "search=SERV") == ["web servers"]
    assert names(boss, "queries", "search=users") == ["people"]


def test_pages_keep_their_filter(boss: APIClient) -> None:
    make_hosts(3, platform="windows")
    make_hosts(3)

    first = boss.get("/api/v1/hosts/?platform=windows&limit=2").json()
    second = boss.get(first["next"]).json()
    back = boss.get(second["previous"]).json()

    assert (first["count"], len(first["results"]), len(second["results"])) == (3, 2, 1)
    assert {host["platform"] for host in first["results"] + second["results"]} == {"windows"}
    assert (back["results"], second["next"]) == (first["results"], None)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("campaigns/?status=", "odd"),
        ("campaigns/?since=", "yesterday"),
        ("campaigns/?created_by=", "nobody"),
        ("campaigns/?label=", "nothing"),
        ("hosts/?online=", "maybe"),
        ("hosts/?platform=", "beos"),
        ("hosts/?seen=", "soon"),
        ("hosts/?in_doubt=", "2"),
    ],
)
def test_a_wrong_value_of_a_filter_is_named(boss: APIClient, path: str, value: str) -> None:
    assert value in sentence(boss.get(f"/api/v1/{path}{value}"))


# --- limits ----------------------------------------------------------------------------------------------------


def launch(client: APIClient, **changes: Any) -> Any:
    make_host()
    return client.post("/api/v1/campaigns/", {"sql": "SELECT 1", "target": {"all": True}, **changes}, format="json")


def test_a_reason_has_two_thousand_characters_at_most(boss: APIClient) -> None:
    assert launch(boss, reason="x" * 2_000).status_code == 201
    assert "2001" in sentence(launch(boss, reason="x" * 2_001)).replace(",", "")


@pytest.mark.parametrize("start_at", ["2030-01-01", "2030-01-01T10:00:00", "10:00", "soon", 5])
def test_a_start_has_a_date_a_time_and_a_zone(boss: APIClient, start_at: Any) -> None:
    assert str(start_at) in sentence(launch(boss, start_at=start_at))


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("campaigns/", {"target": {"all": True}}),
        ("campaigns/estimate/", {"target": {"all": True}}),
        ("queries/", {"name": "long"}),
    ],
)
def test_sql_has_64_kib_at_most_wherever_it_is_taken(boss: APIClient, path: str, more: dict[str, Any]) -> None:
    make_host()
    fits, too_long = (f"SELECT 1 AS {'x' * (size - 12)}" for size in (65_536, 65_537))

    def tried(sql: str) -> Any:
        return boss.post(f"/api/v1/{path}", {"sql": sql, **more}, format="json")

    assert "65537" in sentence(tried(too_long))
    assert tried(fits).status_code in (200, 201)


def test_sql_of_a_label_has_64_kib_at_most(boss: APIClient) -> None:
    body = {"name": "long", "queries": {"linux": f"SELECT 1 AS {'x' * 65_525}"}}

    assert "65537" in sentence(boss.post("/api/v1/labels/", body, format="json"))


def test_a_campaign_lists_2000_columns_and_says_when_there_were_more(collect: Callable[[], int]) -> None:
    host, other = make_hosts(2)
    campaign = make_campaign(host, other)
    for asked, row in ((host, {f"c{number}": "1" for number in range(2_001)}), (other, {"n" * 257: "1", "c0": "2"})):
        entry = {"k": "a", "c": campaign.pk, "h": asked.pk, "s": "0", "m": "", "t": "{}", "x": ""}
        redis_client.client().xadd(keyspace.STREAM, {**entry, "r": json.dumps([row])})

    collect()

    campaign.refresh_from_db()
    assert campaign.columns == [f"c{number}" for number in range(2_000)]
    assert any("2,000" in warning for warning in campaign.warnings)
    assert [len(result.rows[0]) for result in campaign.results.order_by("host_id")] == [2_001, 2]


def test_results_of_a_host_are_bounded_in_bytes(boss: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "PAGE_BYTES", 10_000)
    host = make_host()
    for _ in range(4):
        answer(make_campaign(host), host, {"a": "x" * 4_000})

    page = boss.get(f"/api/v1/hosts/{host.pk}/results/").json()
    pages, seen = 1, len(page["results"])
    while page["next"]:
        page = boss.get(page["next"]).json()
        pages, seen = pages + 1, seen + len(page["results"])

    assert pages > 1
    assert seen == 4
