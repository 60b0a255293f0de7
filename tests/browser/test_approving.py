"""The page of a second person in a browser: for everybody to read, on a desk and on a phone, and one button for yes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone
from playwright.sync_api import Page, expect

from campaigns.launching import approvals
from campaigns.launching.launch import Order, launch
from campaigns.launching.models import ApprovalRule
from campaigns.models import Campaign
from tests.browser.test_every_page import faults_of
from tests.factories import make_hosts, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_what_becomes_of_a_request_is_drawn_on_every_page_that_is_open(
    page_of: Callable[..., Page], operator: User, elsewhere: Callable[..., Any]
) -> None:
    def ask() -> tuple[User, Campaign]:
        make_hosts(3)
        ApprovalRule.objects.create(group=None, hosts_above=2)
        return make_user("bob", admin=True), launch(Order("SELECT 1", {"all": True}), operator)

    bob, campaign = elsewhere(ask)
    page = page_of(operator, at=f"/campaigns/{campaign.pk}/?tab=hosts")
    request = page.context.new_page()
    request.goto(f"/approvals/{campaign.pk}/")
    expect(request.locator("h1")).to_have_text("May this be asked?")
    expect(request.locator("main")).to_contain_text("was launched by you: a second person has to decide.")
    expect(page.locator("[data-live=status]")).to_have_text("waits for approval")
    expect(page.locator("#panel-hosts")).to_contain_text("Its hosts are frozen")

    elsewhere(approvals.reject, campaign.pk, bob, "too many")

    expect(page.locator("#standing [data-live=ending]").first).to_have_text("Rejected by bob: too many.")
    expect(page.locator("[data-live=status]")).to_have_text("stopped")
    expect(page.locator("[data-live=spoken]")).to_have_text("The campaign is stopped. Nobody was asked.")
    expect(page.locator(".progress")).to_be_hidden()
    expect(request.locator("h1")).to_have_text(f"Approval of campaign {campaign.pk}")
    expect(request.locator("#approval-state")).to_contain_text("rejected by bob")
    expect(request.locator("#withdraw")).to_have_count(0)


def test_a_second_person_reads_what_is_asked_and_says_yes(
    page_of: Callable[..., Page], operator: User, elsewhere: Callable[..., Any]
) -> None:
    def ask() -> tuple[User, Campaign]:
        make_hosts(3)
        ApprovalRule.objects.create(group=None, hosts_above=2)
        bob = make_user("bob")
        bob.user_permissions.set(Permission.objects.filter(codename__in=["approve_campaign", "view_campaign"]))
        later = timezone.now() + timedelta(hours=1)
        sql = "SELECT name, path\nFROM processes\nWHERE path LIKE '/tmp/%'"
        return bob, launch(Order(sql, {"all": True}, name="from /tmp", start_at=later), operator)

    bob, campaign = elsewhere(ask)
    page = page_of(bob, at="/approvals/")
    expect(page.locator(".waiting-mark").first).to_contain_text("1")
    page.get_by_role("link", name="Look at it").click()
    expect(page.locator("h1")).to_have_text("May this be asked?")
    assert faults_of(page) == []

    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_role("button", name="Yes, ask 3 hosts at its time").click()

    expect(page.locator("#approval-state")).to_contain_text("approved by bob")
    page.get_by_role("button", name="Take the approval back").click()
    expect(page.locator("h1")).to_have_text("May this be asked?")
    elsewhere(campaign.refresh_from_db)
    assert (campaign.status, campaign.waits_for) == ("scheduled", "approval")
