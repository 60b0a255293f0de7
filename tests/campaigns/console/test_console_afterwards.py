"""The console when answers are there: marks, what it cost, and asking again."""

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from agents.models import Host, TableSchema
from campaigns.models import Campaign
from campaigns.states import State
from tests.factories import answer, end, make_campaign, make_hosts
from tests.pages import text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]
As = Callable[[User], Client]


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
    assert f"campaign {campaign.pk}</a>" in text_of(browser.get(f"{answered['Location']}?tab=about"))


def test_an_ended_campaign_without_rows_says_why(as_: As, operator: User, hosts: list[Host]) -> None:
    silent, failed, empty = (make_campaign(*hosts, sql="SELECT 1") for _ in range(3))
    answer(failed, hosts[0], state=State.DENYLISTED)
    answer(empty, hosts[0])

    pages = [text_of(as_(operator).get(f"/campaigns/{end(each).pk}/")) for each in (silent, failed, empty)]

    assert ["Nobody answered." in page and "<span>nobody answered</span>" in page for page in pages] == [
        True,
        False,
        False,
    ]
    assert "No host sent a row: 1 failed." in pages[1]
    assert "1 host answered, without a row." in pages[2]


def test_asking_nobody_again_is_refused_with_a_sentence(as_: As, operator: User, campaign: Campaign) -> None:
    end(campaign)

    page = text_of(as_(operator).post(f"/campaigns/{campaign.pk}/rerun/", {}, follow=True))

    assert "States is empty: it selects nobody" in page
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
