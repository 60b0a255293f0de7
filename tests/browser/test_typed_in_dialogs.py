"""What is typed into a dialog is in it again after a reload, until it is sent."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from campaigns.launching import kill_switch
from campaigns.launching.launch import Order, launch
from campaigns.launching.models import ApprovalRule
from campaigns.models import Campaign
from tests.factories import make_campaign, make_host, make_hosts

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def reloaded(page: Page) -> None:
    """Press F5, and be there once the page has begun."""
    page.reload()
    page.locator("body").wait_for()


def test_a_reason_to_stop_is_there_again_until_it_is_sent(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    campaign = elsewhere(lambda: make_campaign(make_host(), by=boss, timeout=600))
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/")
    stop, reason = page.locator("#stop"), page.get_by_label("Why (optional, kept with the campaign)")
    stop.click()
    reason.fill("too dear")

    reloaded(page)
    expect(page.get_by_role("dialog")).to_have_count(0)
    stop.click()
    expect(reason).to_have_value("too dear")
    page.get_by_role("button", name="Stop the campaign").click()
    expect(page.get_by_text("Stopping by boss").first).to_be_visible()

    assert elsewhere(Campaign.objects.get).ended_reason == "too dear"
    reloaded(page)
    assert "too dear" not in page.evaluate("JSON.stringify(sessionStorage)")


def test_a_reason_to_switch_off_is_there_again_until_it_is_sent(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    page = page_of(boss, at="/settings/")
    off, reason = page.get_by_role("button", name="Switch all live queries off"), page.locator("#id_reason")
    off.click()
    reason.fill("a fire")

    reloaded(page)
    off.click()
    expect(reason).to_have_value("a fire")
    reason.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Live queries are off")).to_be_visible()
    assert "a fire" in elsewhere(kill_switch.sentence)

    page.get_by_role("button", name="Switch live queries on again").click()
    expect(page.get_by_role("status").filter(has_text="Live queries are on")).to_be_visible()
    reloaded(page)
    off.click()
    expect(reason).to_have_value("")


def test_a_reason_to_say_no_is_there_again(
    page_of: Callable[..., Page], boss: User, operator: User, elsewhere: Callable[..., Any]
) -> None:
    def ask() -> Campaign:
        make_hosts(3)
        ApprovalRule.objects.create(group=None, hosts_above=2)
        return launch(Order("SELECT 1", {"all": True}), operator)

    campaign = elsewhere(ask)
    page = page_of(boss, at=f"/approvals/{campaign.pk}/")
    reason = page.get_by_label("Why not (shown to who asked)")
    reason.fill("too many")

    reloaded(page)
    expect(reason).to_have_value("too many")
    page.get_by_role("button", name="No", exact=True).click()
    expect(page.locator("#approval-state")).to_contain_text("rejected by boss")
    assert "too many" in elsewhere(Campaign.objects.get).ended_reason


def test_the_name_of_a_query_to_save_is_there_again(page_of: Callable[..., Page], boss: User) -> None:
    page = page_of(boss)
    page.get_by_role("textbox", name="Ask in SQL").press("Control+a")
    page.keyboard.insert_text("SELECT 1 AS typed")
    page.locator("#save-as").click()
    name = page.get_by_role("dialog").get_by_label("Name")
    name.fill("of the day")

    reloaded(page)
    page.locator("#save-as").click()
    expect(name).to_have_value("of the day")
    page.get_by_role("dialog").get_by_role("button", name="Save it").click()
    expect(page.get_by_role("dialog")).to_contain_text("Saved as of the day")
    reloaded(page)
    page.locator("#save-as").click()
    expect(name).to_have_value("")


def test_the_name_of_a_label_for_hosts_of_a_tab_that_came_later_is_there_again(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    campaign = elsewhere(lambda: make_campaign(*make_hosts(3), by=boss, timeout=600))
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/")
    page.get_by_role("tab", name="Hosts").click()
    name = page.locator("#chosen-label-name")

    def open_dialog() -> None:
        page.locator("#hosts-list tbody input[type=checkbox]").first.check()
        page.locator("[data-open-dialog=label-dialog]").click()
        expect(name).to_be_visible()

    open_dialog()
    name.fill("of the night")
    reloaded(page)
    open_dialog()
    expect(name).to_have_value("of the night")
    page.get_by_role("button", name="Label them").click()
    expect(page.locator("#chosen-said")).to_contain_text("of the night")
    assert "of the night" not in page.evaluate("JSON.stringify(sessionStorage)")
