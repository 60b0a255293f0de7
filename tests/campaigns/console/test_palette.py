"""Ctrl-K: goes to everything one may look at, and to nothing else."""

import re

import pytest
from django.test import Client
from django.utils import timezone

from campaigns.models import Query
from tests.factories import learn, make_campaign, make_host, make_hosts, make_label, make_person, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]


def kinds(client: Client, words: str) -> dict[str, str]:
    return {hit.kind: hit.address for hit in client.get("/find/", {"q": words}).context["hits"] if hit.kind != "page"}


@pytest.fixture
def everything() -> None:
    """Give one of each kind that is called alpha."""
    host = make_host(hostname="alpha-1")
    make_label("alpha", host)
    Query.objects.create(name="alpha", sql="SELECT 1")
    make_campaign(host, name="Alpha?")
    learn("linux", "alpha_table")


@pytest.mark.usefixtures("everything")
def test_everything_is_found_by_a_part_of_its_name(client: Client) -> None:
    client.force_login(make_user(admin=True))

    found = kinds(client, "ALPHA")

    assert set(found) == {"host", "label", "query", "campaign", "table"}
    assert found["table"] == "/ask/?sql=SELECT+%2A+FROM+alpha_table"
    for address in found.values():
        assert client.get(address).status_code == 200


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize(
    ("permission", "found"),
    [
        ("agents.view_host", {"host"}),
        ("agents.view_label", {"label"}),
        ("campaigns.view_query", {"query"}),
        ("campaigns.view_campaign", {"campaign"}),
        ("campaigns.add_campaign", {"table"}),
    ],
)
def test_only_what_one_may_look_at_is_found(client: Client, permission: str, found: set[str]) -> None:
    client.force_login(make_person(permission))

    assert set(kinds(client, "alpha")) == found


def test_places_are_offered_before_anything_is_typed(client: Client) -> None:
    client.force_login(make_user(admin=True))

    hits = client.get("/find/").context["hits"]

    names = [hit.name for hit in hits]
    assert names[:4] == ["Home", "Ask", "Campaigns", "Approvals"]
    assert {"Hosts", "Labels", "Queries", "People"} < set(names)
    assert names[-1] == "Settings"


@pytest.mark.parametrize("words", ["%00", "nothing is called so", "%27%22<b>", "x" * 5000, "#99999999999999999999"])
def test_odd_words_find_nothing_and_break_nothing(client: Client, words: str) -> None:
    client.force_login(make_user(admin=True))

    assert client.get(f"/find/?q={words}").status_code in (200, 400)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/", "Home"),
        ("/queries/{query}/latest/", "Queries"),
        ("/schedules/", "Queries"),
        ("/settings/hooks/", "Settings"),
    ],
)
def test_the_menu_says_where_one_is(client: Client, address: str, name: str) -> None:
    client.force_login(make_user("boss", admin=True))
    query = Query.objects.create(name="saved", sql="SELECT 1")

    page = client.get(address.format(query=query.pk)).content.decode()

    current = re.findall(r'aria-current="page">(?:<svg.*?</svg>)?<span>(\w+)</span>', page)
    assert current == [name]


def test_revoked_hosts_are_found_after_those_that_are_enrolled(client: Client) -> None:
    client.force_login(make_user(admin=True))
    make_host(hostname="a-web", revoked_at=timezone.now())
    make_hosts(4, hostname="web")

    hits = [hit for hit in client.get("/find/", {"q": "web"}).context["hits"] if hit.kind == "host"]
    assert [(hit.name, "revoked" in hit.note) for hit in hits] == [("web", False)] * 4 + [("a-web", True)]
    make_host(hostname="web")
    hits = [hit for hit in client.get("/find/", {"q": "web"}).context["hits"] if hit.kind == "host"]
    assert [hit.name for hit in hits] == ["web"] * 5
