"""The console's labels and saved queries: made, changed, looked through and deleted by those who may."""

import html
import json
import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from agents.models import Label
from campaigns.models import Query
from campaigns.people.scopes import Scope
from tests.factories import make_campaign, make_host, make_hosts, make_label, make_person, make_user
from tests.pages import words_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]


@pytest.fixture
def boss(client: Client) -> Client:
    client.force_login(make_user(admin=True))
    return client


def members(label: Label) -> list[str]:
    return sorted(label.hosts.values_list("hostname", flat=True))


def test_a_label_is_made_of_hosts_by_any_of_their_names(boss: Client) -> None:
    make_host(hostname="web-1")
    other = make_host(hostname="web-2", hardware_serial="S-9")

    response = boss.post("/labels/new/", {"name": "web", "add_hosts": f"WEB-1, S-9\n#{other.pk}"})

    label = Label.objects.get(name="web")
    assert response["Location"] == f"/labels/{label.pk}/"
    assert members(label) == ["web-1", "web-2"]


def test_a_label_is_made_by_sql_and_shows_it(boss: Client) -> None:
    boss.post("/labels/new/", {"name": "big", "sql_linux": "SELECT 1 FROM system_info"})

    label = Label.objects.get(name="big")
    page = words_of(boss.get(f"/labels/{label.pk}/"))
    assert "SELECT 1 FROM system_info" in page
    assert "hosts come by SQL" in page
    assert "or put hosts in" not in page


NOW = timezone.now()
NOT_YET = "No host is in it yet: hosts answer its SQL within the hour"
ANSWERED = "none of them with a row."


@pytest.mark.parametrize(
    ("state", "says", "marked"),
    [
        ({}, [NOT_YET], False),
        ({"answered_at": NOW}, ["No host is in it: hosts answered its SQL", ANSWERED], False),
        (
            {"answered_at": NOW, "failed_at": NOW, "last_error": "web-1: disk I/O error"},
            ["Linux: hosts run it, but not all; the last that failed", "was web-1: disk I/O error", ANSWERED],
            False,
        ),
        (
            {"failed_at": NOW, "last_error": "web-1: no such table: x"},
            [
                "Linux: fails on every host that was asked: web-1: no such table: x",
                "No host is in it: its SQL does not",
            ],
            True,
        ),
        (
            {"stopped_at": NOW, "stopped_reason": "3 hosts denylisted it"},
            ["Linux: stopped by the brake: 3 hosts denylisted it; write other SQL to go on"],
            True,
        ),
    ],
)
def test_a_label_by_sql_says_how_its_sql_fares(
    boss: Client, state: dict[str, object], says: list[str], marked: bool
) -> None:
    boss.post("/labels/new/", {"name": "big", "sql_linux": "SELECT 1 FROM system_info"})
    label = Label.objects.get(name="big")
    label.queries.update(**state)

    page = words_of(boss.get(f"/labels/{label.pk}/"))

    assert [sentence for sentence in says if sentence not in page] == []
    assert NOT_YET in says or NOT_YET not in page
    assert ("in trouble" in words_of(boss.get("/labels/"))) is marked


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"name": ""}, "required"),
        ({"name": "x", "add_hosts": "nowhere"}, "unknown host: 'nowhere'"),
        ({"name": "x", "sql_linux": "SELEC 1"}, "syntax error"),
        ({"name": "x", "sql_linux": "SELECT 1", "add_hosts": "web-1"}, "hosts enter a label with SQL by their answers"),
        ({"name": "Linux"}, "already exists"),
    ],
)
def test_a_wrong_label_is_refused_with_what_was_typed(boss: Client, typed: dict[str, str], sentence: str) -> None:
    make_host(hostname="web-1")
    Label.objects.get_or_create(name="Linux", built_in="linux")
    before = Label.objects.count()

    response = boss.post("/labels/new/", typed)

    assert (response.status_code, sentence in words_of(response)) == (422, True)
    assert Label.objects.count() == before


def test_hosts_are_put_in_and_taken_out(boss: Client) -> None:
    one, two = make_host(hostname="a"), make_host(hostname="b")
    label = make_label("web", one)

    boss.post(f"/labels/{label.pk}/", {"name": "web", "add_hosts": "b"})
    assert members(label) == ["a", "b"]
    boss.post(f"/labels/{label.pk}/hosts/{one.pk}/remove/")

    assert members(label) == ["b"]
    assert "b" in words_of(boss.get(f"/labels/{label.pk}/")), two


def test_labels_that_are_not_kept_by_hand_lose_no_host_by_hand(boss: Client) -> None:
    host = make_host(hostname="a")
    label = make_label("web", host)
    label.queries.create(platform="linux", kind="label", sql="SELECT 1")

    page = words_of(boss.post(f"/labels/{label.pk}/hosts/{host.pk}/remove/", follow=True))

    assert "has SQL" in page
    assert members(label) == ["a"]


def test_built_in_labels_stay_as_they_are(boss: Client) -> None:
    label, _ = Label.objects.get_or_create(name="Linux", defaults={"built_in": "linux"})

    assert boss.post(f"/labels/{label.pk}/", {"name": "Penguins"}).status_code == 403
    boss.post(f"/labels/{label.pk}/delete/")

    assert Label.objects.get(pk=label.pk).name == "Linux"


def test_a_label_is_deleted_and_its_hosts_stay(boss: Client) -> None:
    host = make_host()
    label = make_label("web", host)

    page = words_of(boss.post(f"/labels/{label.pk}/delete/", follow=True))

    assert "The label web is deleted" in page
    host.refresh_from_db()


def test_who_may_look_at_labels_and_not_at_hosts_sees_no_names(client: Client) -> None:
    label = make_label("web", make_host(hostname="secret-name"))
    client.force_login(make_person("agents.view_label"))

    page = words_of(client.get(f"/labels/{label.pk}/"))

    assert "secret-name" not in page
    assert "agents.view_host" in page


def test_ask_begins_with_a_label(boss: Client) -> None:
    label = make_label("web", make_host())

    page = boss.get(f"/ask/?label={label.pk}")

    assert page.context["form"].initial == {"kind": "labels", "labels": ["web"]}


def test_a_query_is_saved_changed_and_asked(boss: Client) -> None:
    make_host()
    boss.post("/queries/new/", {"name": "pids", "sql": "SELECT 1"})
    query = Query.objects.get()
    boss.post(f"/queries/{query.pk}/", {"name": "pids", "sql": "SELECT 2", "description": "two"})
    query.refresh_from_db()
    run = make_campaign(make_host(), query=query, sql="SELECT 2")

    page, everything = (
        words_of(boss.get(f"/queries/{query.pk}/")),
        words_of(boss.get("/queries/?search=TWO")),
    )

    assert (query.sql, query.description, query.created_by is None) == ("SELECT 2", "two", False)
    assert f"#{run.pk}" in page
    assert "pids" in everything
    assert "No query is like this" in words_of(boss.get("/queries/?search=nothing"))


def test_wrong_sql_is_not_saved(boss: Client) -> None:
    response = boss.post("/queries/new/", {"name": "bad", "sql": "NOT SQL AT ALL"})

    assert (response.status_code, "syntax error" in words_of(response)) == (422, True)
    assert not Query.objects.exists()


def test_who_may_only_look_changes_nothing(client: Client) -> None:
    label, query = make_label("web", *make_hosts(1)), Query.objects.create(name="q", sql="SELECT 1")
    client.force_login(make_person("agents.view_label", "campaigns.view_query", "agents.view_host"))

    changes: list[Callable[[], HttpResponse]] = [
        lambda: client.post("/labels/new/", {"name": "mine"}),
        lambda: client.post(f"/labels/{label.pk}/", {"name": "mine"}),
        lambda: client.post(f"/labels/{label.pk}/delete/"),
        lambda: client.post(f"/labels/{label.pk}/hosts/1/remove/"),
        lambda: client.post("/queries/new/", {"name": "mine", "sql": "SELECT 1"}),
        lambda: client.post(f"/queries/{query.pk}/", {"name": "mine", "sql": "SELECT 1"}),
        lambda: client.post(f"/queries/{query.pk}/delete/"),
    ]

    assert [change().status_code for change in changes] == [403] * 7
    assert client.get(f"/queries/{query.pk}/").status_code == 200


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "=cmd()|' /C calc'!A0", "a\u202egnp\u200b", '"><b>'])
def test_the_name_of_a_label_is_text_wherever_it_stands(boss: Client, name: str) -> None:
    host, shown = make_host(), name.replace("\u202e", "⟨U+202E⟩").replace("\u200b", "⟨U+200B⟩")

    made = boss.post("/api/v1/labels/", {"name": name}, "application/json")
    label = Label.objects.get(pk=made.json()["id"])
    label.hosts.add(host)
    lists = ("/labels/", "/hosts/", "/ask/", "/people/teams/new/", "/tokens/", "/settings/")
    addresses = (*lists, f"/labels/{label.pk}/", f"/hosts/{host.pk}/")
    # what a form sends back stands in it as it is
    pages = {address: re.sub(r'value="[^"]*"', "", boss.get(address).content.decode()) for address in addresses}

    assert made.json()["name"] == name
    assert [address for address, page in pages.items() if html.escape(shown) not in page] == []
    assert [address for address, page in pages.items() if "<script>alert" in page or "\u202e" in page] == []


def test_what_is_no_text_is_no_name_of_a_label(boss: Client) -> None:
    before, host = Label.objects.count(), make_host()
    campaign, form = make_campaign(host), "application/x-www-form-urlencoded"

    told = [
        boss.post("/api/v1/labels/", {"name": "a\0b"}, "application/json"),
        boss.post("/api/v1/labels/", json.dumps({"name": "half \ud800"}), "application/json"),
        boss.post("/labels/new/", "name=a%00b", form),
        boss.post(f"/campaigns/{campaign.pk}/hosts/label/", f"host={host.pk}&label=a%00b", form, follow=True),
    ]

    assert [answer.status_code for answer in told] == [400, 400, 422, 200]
    assert "is no name of a label" in words_of(told[3])
    assert Label.objects.count() == before


def test_who_sees_some_hosts_only_reads_nothing_of_others_that_run_a_labels_sql(client: Client) -> None:
    label = Label.objects.create(name="big")
    failed = {"failed_at": NOW, "last_error": "secret-1: disk I/O error", "answered_at": NOW}
    label.queries.create(kind="label", platform="linux", sql="SELECT 1", **failed)
    person = make_person("agents.view_label", "agents.view_host")
    team = Group.objects.create(name="team")
    Scope.objects.create(group=team)
    person.groups.add(team)
    client.force_login(person)

    page = words_of(client.get(f"/labels/{label.pk}/"))
    label.queries.update(stopped_at=NOW, stopped_reason="3 hosts denylisted it")
    stopped = words_of(client.get(f"/labels/{label.pk}/"))

    assert "None of your hosts is in it." in page
    assert "secret-1" not in page + stopped
    assert "Linux: stopped by the brake; write other SQL to go on" in stopped
