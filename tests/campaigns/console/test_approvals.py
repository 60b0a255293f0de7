"""The console's approvals: what waits for whom, what a second person looks at, yes, no and taking back."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from campaigns.launching import approvals
from campaigns.launching.launch import Order, launch
from campaigns.launching.models import ApprovalRule
from campaigns.models import Campaign
from tests.factories import make_hosts, make_person
from tests.pages import words_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]
FORM = {"sql": "SELECT 1", "kind": "all", "timeout": "600", "page": "p"}


def browser_of(user: User) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


@pytest.fixture
def asking(operator: User) -> Client:
    """Give the browser of somebody whose launches over more than two hosts wait; there are three."""
    group = Group.objects.create(name="helpdesk")
    operator.groups.add(group)
    ApprovalRule.objects.create(group=group, hosts_above=2)
    make_hosts(3)
    return browser_of(operator)


@pytest.fixture
def bob(db: None) -> User:
    """Give a second person, who may do nothing but approve."""
    return make_person("campaigns.approve_campaign")


def test_the_ask_page_says_before_that_it_will_wait_and_the_campaign_page_says_it_waits(asking: Client) -> None:
    before = words_of(asking.post("/ask/estimate/", FORM))
    after = words_of(asking.post("/ask/", FORM, follow=True))

    assert "Needs a second person: more than 2 hosts" in before
    assert "Waits for a second person" in after
    assert "more than 2 hosts" in after
    assert "waits for approval" in words_of(asking.get("/campaigns/"))
    assert "waits for approval" in words_of(asking.get("/"))
    mine = words_of(asking.get("/approvals/"))
    assert "waits for a second person, expires" in mine
    assert "Waiting for you" not in mine


def test_one_host_s_console_waits_too(asking: Client, operator: User) -> None:
    ApprovalRule.objects.update(hosts_above=0)
    host = make_hosts(1)[0]

    told = words_of(asking.post(f"/hosts/{host.pk}/ask/", {"sql": "SELECT 1"}))

    assert "waits for a second person's approval" in told


def test_a_second_person_finds_it_looks_at_it_and_says_yes(asking: Client, operator: User, bob: User) -> None:
    campaign = launch(Order("SELECT 1", {"all": True}, 60, reason="ticket <7>"), operator)
    browser = browser_of(bob)

    listed = words_of(browser.get("/approvals/"))
    page = words_of(browser.get(f"/approvals/{campaign.pk}/"))

    assert '<span class="waiting-mark">1<span class="unseen"> waiting for you</span></span>' in listed
    assert f'href="/approvals/{campaign.pk}/"' in listed
    for words in ("SELECT 1", "all hosts", "ticket <7>", "more than 2 hosts", "1 min for answers", "Estimate"):
        assert words in page, words
    assert "Nothing like it was approved before" in page
    digest = page.partition('name="digest" value="')[2].partition('"')[0]

    said = words_of(browser.post(f"/approvals/{campaign.pk}/approve/", {"digest": digest}, follow=True))

    campaign.refresh_from_db()
    assert campaign.status == "targeting"
    assert "approved by" in said
    assert "waiting-mark" not in words_of(browser.get("/approvals/"))


def test_a_no_needs_its_reason_and_who_asked_reads_it(asking: Client, operator: User, bob: User) -> None:
    campaign = launch(Order("SELECT 1", {"all": True}), operator)
    browser = browser_of(bob)

    empty = browser.post(f"/approvals/{campaign.pk}/reject/", {"reason": " "})
    browser.post(f"/approvals/{campaign.pk}/reject/", {"reason": "too <b>many</b>"})
    late = words_of(browser.post(f"/approvals/{campaign.pk}/approve/", follow=True))

    assert (empty.status_code, "Reason is empty" in words_of(empty)) == (422, True)
    assert f"Campaign {campaign.pk} was rejected" in late
    page = asking.get(f"/campaigns/{campaign.pk}/").content.decode()
    assert "Rejected by " in page
    assert ": too &lt;b&gt;many&lt;/b&gt;." in page
    assert "rejected by" in words_of(asking.get("/approvals/"))


def test_who_asked_may_not_approve_but_withdraw_and_others_see_nothing_of_it(
    asking: Client, operator: User, stranger: User
) -> None:
    campaign = launch(Order("SELECT 1", {"all": True}), operator)
    page = f"/approvals/{campaign.pk}/"
    colleague = browser_of(make_person("campaigns.add_campaign"))

    said: dict[str, Any] = {
        "own yes": asking.post(f"{page}approve/").status_code,
        "colleague": colleague.get(page).status_code,
        "colleague takes back": colleague.post(f"{page}withdraw/").status_code,
        "stranger": browser_of(stranger).get(page).status_code,
        "unknown": asking.get("/approvals/999999/").status_code,
    }

    assert said == {"own yes": 403, "colleague": 404, "colleague takes back": 404, "stranger": 403, "unknown": 404}
    assert 'id="approve"' not in words_of(asking.get(page))
    asking.post(f"{page}withdraw/")
    assert Campaign.objects.get(pk=campaign.pk).status == "stopped"


def test_home_shows_a_second_person_what_waits(asking: Client, operator: User) -> None:
    bob = make_person("campaigns.approve_campaign", "campaigns.view_campaign")
    campaign = launch(Order("SELECT 1", {"all": True}, name="all of them"), operator)

    page = words_of(browser_of(bob).get("/"))

    assert "Waiting for someone" in page
    assert f'<a class="button quiet" href="/approvals/{campaign.pk}/">Decide</a>' in page
    approvals.reject(campaign.pk, bob, "no")
    assert "Waiting for someone" not in words_of(browser_of(bob).get("/"))
