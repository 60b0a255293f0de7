"""The last known answer of every host, its analyses, and the pages that show them."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from agents.models import Host
from campaigns.answers import latest, retention
from campaigns.models import Campaign, Query, Result
from tests.contract import DOCUMENT
from tests.factories import answer, end, make_campaign, make_host, make_hosts

pytestmark = pytest.mark.django_db(transaction=True)
Api = Callable[[User | None], APIClient]


@pytest.fixture
def query(board: None, db: None) -> Query:
    """Give a saved query with an older and a newer run, of which the older got a late answer."""
    hosts = make_hosts(3)
    query = Query.objects.create(name="packages", sql="SELECT 1")
    for version in ("1.0", "2.0"):
        run = make_campaign(*hosts)
        Campaign.objects.filter(pk=run.pk).update(query=query)
        answer(run, hosts[0], {"name": "ssl", "version": version})
        if version == "1.0":
            answer(run, hosts[1], {"name": "ssl", "version": "0.9"}, {"name": "bash", "version": "5"})
            older = run
    answer(older, hosts[2], {"name": "ssl", "version": "late"})
    Result.objects.filter(host=hosts[1]).update(received_at=timezone.now() - timedelta(days=3))
    return query


def get(client: Any, query: Query, asked: str = "") -> Any:
    found = client.get(f"/api/v1/queries/{query.pk}/latest/{asked}")
    assert found.status_code == 200, found.content
    return found.json()["results"]


def test_each_host_has_its_newest_answer_with_age_and_run(api: Api, operator: User, query: Query) -> None:
    client, hosts = api(operator), list(Host.objects.order_by("pk"))
    older, newer = Campaign.objects.order_by("pk")

    items = sorted(get(client, query), key=lambda item: item["host"]["id"])
    oldest_first = get(client, query, "?order=received_at&limit=1")
    filtered = get(client, query, "?where=version:0.9")
    sought = get(client, query, "?search=BASH")
    groups = get(client, query, "?by=name")

    assert [(item["host"]["id"], item["campaign"], item["rows"][0]["version"]) for item in items] == [
        (hosts[0].pk, newer.pk, "2.0"),
        (hosts[1].pk, older.pk, "0.9"),
        (hosts[2].pk, older.pk, "late"),
    ]
    assert 259_000 < items[1]["age"] < 260_000
    assert [item["host"]["id"] for item in oldest_first + filtered + sought] == [hosts[1].pk] * 3
    assert [(group["values"], group["hosts"]) for group in groups] == [({"name": "ssl"}, 3), ({"name": "bash"}, 1)]
    for where in ("nope:1", "version", ""):
        refused = client.get(f"/api/v1/queries/{query.pk}/latest/", {"where": where})
        assert f"where '{where}' is not COLUMN:VALUE with one of name, version" in refused.json()["error"]


def test_filters_are_of_one_row_and_groups_of_rows_that_fit(
    api: Api, operator: User, query: Query, client: Client
) -> None:
    hosts = list(Host.objects.order_by("pk"))
    run = make_campaign(hosts[2])
    Campaign.objects.filter(pk=run.pk).update(query=query)
    answer(run, hosts[2], {"name": "ssl", "version": "5", "arch": ""}, {"name": "bash", "version": "9"})
    client.force_login(operator)

    def versions(**asked: Any) -> list[str]:
        return sorted(group["values"]["version"] for group in found(by="version", **asked))

    def who(**asked: Any) -> list[int]:
        return [hosts.index(Host.objects.get(pk=item["host"]["id"])) for item in found(**asked)]

    def found(**asked: Any) -> Any:
        return api(operator).get(f"/api/v1/queries/{query.pk}/latest/", asked).json()["results"]

    assert who(where=["name:bash", "version:5"]) == [1]
    assert who(where=["version:5", "version:9"]) == []
    assert versions(where="name:bash") == ["5", "9"]
    assert versions(search="SSL") == ["0.9", "2.0", "5"]
    assert versions(search=hosts[2].hostname) == ["5", "9"]
    assert versions(where=["name:bash", "version:5"]) == ["5"]
    assert (who(where="arch:"), who(where=["arch:", "name:bash"])) == ([0, 1, 2], [1, 2])

    refused = api(operator).get(f"/api/v1/queries/{query.pk}/latest/?by=name&order=nope")
    assert refused.json()["error"].startswith("order 'nope' is unknown, allowed are host, -host")

    page = client.get(f"/queries/{query.pk}/latest/", {"by": "arch"}).content.decode()
    for address in re.findall(r'class="cell"><a href="([^"]*)"', page):
        assert "No answer fits" not in client.get(f"/queries/{query.pk}/latest/{address}").content.decode()


def test_a_page_has_as_many_large_answers_as_fit_and_the_next_goes_on(
    api: Api, operator: User, query: Query, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [item["host"]["id"] for item in get(api(operator), query)]
    client.force_login(operator)
    monkeypatch.setattr(latest, "PAGE_BYTES", 300)

    address, paged = f"/api/v1/queries/{query.pk}/latest/?limit=2", []
    while address:
        page = api(operator).get(address).json()
        paged.append([item["host"]["id"] for item in page["results"]])
        address = page["next"]
    shown = client.get(f"/queries/{query.pk}/latest/?offset=1").content.decode()

    assert paged == [[host] for host in whole]
    assert 'href="?offset=2">More' in shown


def test_what_is_latest_follows_a_run_that_goes(api: Api, operator: User, query: Query, settings: Any) -> None:
    settings.LATE_ANSWER_SECONDS = 0
    newer = Campaign.objects.latest("pk")

    retention.delete(end(newer, timedelta(days=2)).pk, "tester")

    assert [item["rows"][0]["version"] for item in get(api(operator), query)] == ["1.0", "0.9", "late"]


def test_the_examples_of_sql_in_the_document_are_answered(
    api: Api, operator: User, board: None, copies_folder: Any
) -> None:
    host, query = make_host(), Query.objects.create(name="ports", sql="SELECT 1")
    run = make_campaign(host)
    Campaign.objects.filter(pk=run.pk).update(query=query)
    answer(run, host, {"port": "22"})
    places = {
        "SqlRequest": f"/api/v1/campaigns/{run.pk}/sql/",
        "SqlOverLatestRequest": f"/api/v1/queries/{query.pk}/latest/sql/",
    }

    told = {
        name: api(operator).post(place, DOCUMENT["components"]["schemas"][name]["example"], format="json").json()
        for name, place in places.items()
    }

    assert [answered.get("rows") for answered in told.values()] == [[[22, 1]], [[22, 1]]], told


def test_sql_over_the_last_known_answers_leaves_no_copy(
    api: Api, operator: User, stranger: User, query: Query, copies_folder: Any
) -> None:
    older = Campaign.objects.earliest("pk")
    sql = "SELECT host_id, campaign, labels, version, age FROM latest WHERE name = 'ssl' ORDER BY host_id"
    beside = f"SELECT count(*) FROM latest JOIN campaign_{older.pk} USING (host_id, name, version)"  # noqa: S608 - its number

    found = api(operator).post(f"/api/v1/queries/{query.pk}/latest/sql/", {"sql": sql}, format="json")
    joined = api(operator).post(f"/api/v1/queries/{query.pk}/latest/sql/", {"sql": beside}, format="json")
    refused = api(stranger).post(f"/api/v1/queries/{query.pk}/latest/sql/", {"sql": sql}, format="json")

    assert [row[3] for row in found.json()["rows"]] == ["2.0", "0.9", "late"]
    assert [row[4] // 3600 for row in found.json()["rows"]] == [0, 72, 0]
    assert joined.json()["rows"] == [[3]]
    assert refused.status_code == 403
    assert {path.name.partition(".")[0] for path in copies_folder.iterdir()} == {str(older.pk)}


def test_views_are_kept_with_the_query_and_shown_by_its_next_run(
    api: Api, operator: User, query: Query, client: Client
) -> None:
    operator.user_permissions.add(Permission.objects.get(codename="change_query"))
    person = User.objects.get(pk=operator.pk)
    address, view = f"/api/v1/queries/{query.pk}/views/", {"name": "versions", "sql": "FROM answers", "chart": "bar"}

    made = api(person).post(address, view, format="json")
    again = api(person).post(address, view, format="json")
    client.force_login(person)
    page = client.get(f"/campaigns/{Campaign.objects.latest('pk').pk}/?tab=analyse").content.decode()
    gone = api(person).delete(f"{address}{made.json()['id']}/")

    assert (made.status_code, again.status_code, gone.status_code) == (201, 400, 204)
    assert 'data-view-sql="FROM answers"' in page
    assert ">FROM answers</textarea>" in page
    assert api(person).get(address).json() == []


@pytest.mark.parametrize("has_runs", [True, False])
def test_a_view_that_no_run_could_show_is_not_kept(api: Api, operator: User, query: Query, *, has_runs: bool) -> None:
    operator.user_permissions.add(Permission.objects.get(codename="change_query"))
    client = api(User.objects.get(pk=operator.pk))
    wrong = {
        "DROP TABLE answers": "DROP is not allowed here, only one SELECT",
        "SELEC 1": 'syntax error at or near "SELEC" (line 1, character 1)',
        "FROM duckdb_settings()": "duckdb_settings is out of reach of this SQL",
    }
    if has_runs:
        wrong |= {
            "SELECT nope FROM answers": 'Referenced column "nope" not found',
            "SELECT CAST(name AS INT) FROM answers": "Could not convert string 'ssl' to INT32",
        }
    else:
        Campaign.objects.update(columns=[])
    address = f"/api/v1/queries/{query.pk}/views/"

    for sql, words in wrong.items():
        refused = client.post(address, {"name": "view", "sql": sql}, format="json")
        assert (refused.status_code, words in str(refused.json())) == (400, True), (sql, refused.json())
        assert "sql" in refused.json()["fields"], sql
    kept = client.post(address, {"name": "view", "sql": "SELECT name, count(*) FROM answers GROUP BY 1"}, format="json")

    assert kept.status_code == 201
    assert query.views.count() == 1


def test_a_view_of_what_a_query_is_now_is_not_held_against_runs_of_what_it_was(
    api: Api, operator: User, query: Query
) -> None:
    operator.user_permissions.add(Permission.objects.get(codename="change_query"))
    client, address = api(User.objects.get(pk=operator.pk)), f"/api/v1/queries/{query.pk}/views/"
    client.patch(f"/api/v1/queries/{query.pk}/", {"sql": "SELECT name, arch FROM packages"}, format="json")

    kept = client.post(address, {"name": "by arch", "sql": "SELECT arch FROM answers"}, format="json")

    assert kept.status_code == 201, kept.json()


def test_pages_show_what_changed_and_what_is_known(operator: User, query: Query, client: Client) -> None:
    older, newer = Campaign.objects.order_by("pk")
    client.force_login(operator)

    compared = client.get(f"/campaigns/{newer.pk}/compare/?with={older.pk}")
    grouped = client.get(f"/campaigns/{newer.pk}/compare/?with={older.pk}&groups=1&ignore=version")
    refused = client.get(f"/campaigns/{newer.pk}/compare/?with=999")
    latest = client.get(f"/queries/{query.pk}/latest/?order=-received_at")

    left_out = client.get(f"/campaigns/{newer.pk}/compare/?with={older.pk}&ignore=name").content.decode()
    for run in (older, newer):
        end(run)
    ended = client.get(f"/campaigns/{newer.pk}/compare/?with={older.pk}&offset=50").content.decode()

    assert "<del>1.0</del> <ins>2.0</ins>" in compared.content.decode()
    assert f"/api/v1/campaigns/{newer.pk}/diff.xlsx?with={older.pk}&amp;ignore=version&amp;groups=true" in (
        grouped.content.decode()
    )
    assert '<section id="compared" hx-get' in compared.content.decode()
    assert '<section id="compared" >' in ended
    assert "There are no more" in ended
    assert [left_out.count(f"<{mark}>ssl") + left_out.count(f"<{mark}>bash") for mark in ("del", "ins")] == [0, 0]
    assert '<td class="cell">ssl</td>' in left_out
    assert "1 host changed" in compared.content.decode()
    assert grouped.status_code == 200
    assert (refused.status_code, "no campaign" in refused.content.decode()) == (400, True)
    assert "late" in latest.content.decode()


def test_the_page_of_what_is_known_groups_filters_and_links_to_hosts(
    operator: User, query: Query, client: Client
) -> None:
    client.force_login(operator)
    address = f"/queries/{query.pk}/latest/"

    grouped = client.get(f"{address}?by=name&by=version").content.decode()
    narrowed = client.get(f"{address}?where=version:0.9").content.decode()
    nothing = client.get(f"{address}?where=version:0.8").content.decode()
    Result.objects.filter(rows__contains=[{"version": "late"}]).update(rows=[{"version": str(n)} for n in range(60)])
    long = client.get(address).content.decode()
    refused = client.get(f"{address}?by=nope")

    assert "where=name%3Assl" in grouped
    assert "No answer fits." in nothing
    assert "more rows: <a href=" in long
    assert len(re.findall(r'<a href="/hosts/\d+/"', narrowed)) == 1
    assert (refused.status_code, "nope" in refused.content.decode() and "is no column" in refused.content.decode()) == (
        400,
        True,
    )


def test_a_view_is_deleted_on_the_page_of_its_query(operator: User, query: Query, client: Client) -> None:
    view = query.views.create(name="ver<b>sions", sql="FROM answers")
    client.force_login(operator)
    address = f"/queries/{query.pk}/views/{view.pk}/delete/"

    refused = client.post(address)
    operator.user_permissions.add(Permission.objects.get(codename="change_query"))
    shown = client.get(f"/queries/{query.pk}/").content.decode()
    deleted = client.post(address, follow=True)

    assert refused.status_code == 403
    assert address in shown
    assert "ver&lt;b&gt;sions" in shown
    assert "The view ver&lt;b&gt;sions is deleted" in deleted.content.decode()
    assert client.post(address).status_code == 404
