"""The console when answers are there: groups, marks, what it cost, and asking again."""

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from agents.models import Host, TableSchema
from campaigns.models import Campaign
from campaigns.states import State
from tests.factories import answer, end, make_campaign, make_hosts

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]
As = Callable[[User], Client]


def text_of(response: HttpResponse) -> str:
    return " ".join(response.content.decode().split())


@pytest.fixture
def as_(client: Client) -> As:
    """Give a browser in which this person is logged in."""

    def log_in(user: User) -> Client:
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def hosts() -> list[Host]:
    """Give five hosts."""
    return make_hosts(5)


@pytest.fixture
def campaign(hosts: list[Host]) -> Campaign:
    """Give a campaign that three hosts answered, two of them alike, and one failed."""
    made = make_campaign(*hosts, sql="SELECT version FROM osquery_info")
    for host, version in zip(hosts, ("5.1", "5.2", "5.1"), strict=False):
        answer(made, host, {"version": version}, wall_ms=40, memory_bytes=2**20)
    answer(made, hosts[3], state=State.FAILED, error="no such table: x")
    return made


# --- groups ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["", "version"])
def test_the_same_answers_are_one_group(as_: As, observer: User, campaign: Campaign, by: str) -> None:
    response = as_(observer).get(f"/campaigns/{campaign.pk}/?tab=groups&by={by}")

    counts = re.findall(r'title="Which hosts">(\d+)</summary>', text_of(response))
    assert counts == ["2", "1"]
    assert [group["values"]["version"] for group in response.context["found"]] == ["5.1", "5.2"]


def test_groups_are_made_by_several_columns_in_the_order_of_the_sql(as_: As, observer: User, hosts: list[Host]) -> None:
    campaign = make_campaign(*hosts, sql="SELECT name, version FROM os_version")
    for host in hosts:
        answer(campaign, host, {"name": "Debian", "version": "12"})

    response = as_(observer).get(f"/campaigns/{campaign.pk}/groups/", {"by": ["version", "nothing", "name"]})

    assert response.context["by"] == ["name", "version"]
    assert [group["values"] for group in response.context["found"]] == [{"name": "Debian", "version": "12"}]


def test_the_rarest_come_first_when_asked_for(as_: As, observer: User, campaign: Campaign) -> None:
    page = text_of(as_(observer).get(f"/campaigns/{campaign.pk}/groups/?by=version&order=hosts"))

    assert page.index("5.2") < page.index("5.1")
    assert as_(observer).get(f"/campaigns/{campaign.pk}/groups/?by=nothing&order=odd").status_code == 200


def test_a_group_names_its_hosts(as_: As, observer: User, campaign: Campaign, hosts: list[Host]) -> None:
    browser = as_(observer)
    page = text_of(browser.get(f"/campaigns/{campaign.pk}/groups/?by=version"))
    first = re.findall(rf'hx-get="(/campaigns/{campaign.pk}/groups/[^"]+/)"', page)[0]

    named = text_of(browser.get(first))

    assert [host.hostname in named for host in hosts] == [True, False, True, False, False]
    assert browser.get(f"/campaigns/{campaign.pk}/groups/odd/").status_code == 404


# --- asking again ----------------------------------------------------------------------------------------------


def test_hosts_that_came_to_nothing_are_asked_again(as_: As, operator: User, campaign: Campaign) -> None:
    browser = as_(operator)
    assert "Ask those again" not in text_of(browser.get(f"/campaigns/{campaign.pk}/"))
    end(campaign)
    page = text_of(browser.get(f"/campaigns/{campaign.pk}/"))
    assert re.findall(r'name="states" value="(\w+)" checked', page) == ["failed", "missed"]

    answered = browser.post(f"/campaigns/{campaign.pk}/rerun/", {"states": ["failed", "missed"]})

    again = Campaign.objects.get(parent=campaign)
    assert answered["Location"] == f"/campaigns/{again.pk}/"
    assert again.expected == 2
    assert f"campaign {again.pk}</a>" in text_of(browser.get(f"/campaigns/{campaign.pk}/"))
    assert f"campaign {campaign.pk}</a>" in text_of(browser.get(answered["Location"]))


def test_asking_nobody_again_is_refused_with_a_sentence(as_: As, operator: User, campaign: Campaign) -> None:
    end(campaign)

    page = text_of(as_(operator).post(f"/campaigns/{campaign.pk}/rerun/", {}, follow=True))

    assert "states is empty: it selects nobody" in page
    assert Campaign.objects.count() == 1


def test_who_may_only_look_asks_nobody_again(as_: As, observer: User, campaign: Campaign) -> None:
    end(campaign)
    browser = as_(observer)

    assert "Ask those again" not in text_of(browser.get(f"/campaigns/{campaign.pk}/"))
    assert browser.post(f"/campaigns/{campaign.pk}/rerun/", {"states": ["failed"]}).status_code == 403


# --- marks and costs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tab", ["rows", "hosts"])
def test_a_host_that_may_be_two_machines_is_marked(
    as_: As, observer: User, campaign: Campaign, hosts: list[Host], tab: str
) -> None:
    Host.objects.filter(pk=hosts[0].pk).update(in_doubt_since=timezone.now(), in_doubt_reason="two addresses at once")

    page = text_of(as_(observer).get(f"/campaigns/{campaign.pk}/?tab={tab}"))

    assert 'title="two addresses at once">in doubt</span>' in page


def test_the_form_says_what_the_same_sql_cost(as_: As, operator: User, campaign: Campaign) -> None:
    form = {"sql": campaign.sql, "kind": "all", "timeout": "600", "page": "p1"}

    assert "took 40 ms on most hosts" in text_of(as_(operator).post("/ask/estimate/", form))
    for typed in ("SELECT version FROM", "SELECT 1"):
        page = text_of(as_(operator).post("/ask/estimate/", {**form, "sql": typed}))
        assert "5</b> hosts" in page
        assert "took" not in page


def test_the_form_counts_also_what_cannot_run_the_sql(as_: As, operator: User, hosts: list[Host]) -> None:
    TableSchema.objects.create(platform="linux", tables={"apps": [["name", "TEXT", False]]}, learned_at=timezone.now())
    form = {"kind": "all", "timeout": "600", "page": "p1"}

    known, unknown = (
        text_of(as_(operator).post("/ask/estimate/", {**form, "sql": sql}))
        for sql in ("SELECT * FROM apps", "SELECT * FROM app")
    )

    assert "5</b> hosts" in known
    assert "cannot" not in known
    assert "5</b> hosts" in unknown
    assert "is wrong on every host that is meant: no such table: app" in unknown
