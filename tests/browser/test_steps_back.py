"""Steps back and forward through a campaign's page: each shows what was shown there, and the address holds it all."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, Route, expect

from campaigns.models import Campaign
from campaigns.states import State
from tests.browser.test_console_in_browser import rows_of
from tests.factories import answer, end, make_campaign, make_hosts

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def make_ended() -> Campaign:
    """Give an ended campaign: one of four hosts failed, the others gave two different answers."""
    hosts = make_hosts(4)
    campaign = make_campaign(*hosts, sql="SELECT name, version FROM programs")
    answer(campaign, hosts[0], {"name": "ssh", "version": "1"}, {"name": "cron", "version": "9"})
    for host in hosts[1:3]:
        answer(campaign, host, {"name": "ssh", "version": "2"})
    answer(campaign, hosts[3], state=State.FAILED, error="no such table: programs")
    return end(campaign)


def test_steps_go_through_searches_orders_groups_and_their_drawer(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    campaign = elsewhere(make_ended)
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/")
    search, drawer = page.locator("[data-rows-search]"), page.locator("#group-drawer")
    groups, opener = page.locator("#groups-list tbody tr"), page.locator("[data-opens-drawer]").first
    expect(rows_of(page)).to_have_count(4)
    search.press_sequentially("cron", delay=80)
    expect(rows_of(page)).to_have_count(1)
    page.locator(".ag-header-cell[col-id='column:version'] .ag-header-cell-label").click()
    page.wait_for_url("**order=version**")
    page.get_by_role("tab", name="Groups").press("Enter")
    expect(groups).to_have_count(2)
    page.locator("#groups-by summary").press("Enter")
    page.get_by_label("name", exact=True).press("Space")
    page.wait_for_url("**by=name**")

    opener.press("Enter")
    expect(drawer).to_contain_text("3 hosts of campaign")
    page.get_by_role("button", name="Close").press("Enter")
    expect(drawer).to_be_hidden()
    expect(opener).to_be_focused()
    expect(page).not_to_have_url(re.compile("group="))  # the page goes a step back by itself
    page.go_forward()
    expect(drawer).to_be_visible()
    expect(drawer).to_contain_text("3 hosts of campaign")
    page.reload()
    expect(drawer).to_contain_text("3 hosts of campaign")
    page.keyboard.press("Escape")
    expect(opener).to_be_focused()
    expect(page).not_to_have_url(re.compile("group="))

    page.go_back()
    expect(page.get_by_label("name", exact=True)).not_to_be_checked()
    page.go_back()
    expect(search).to_have_value("cron")
    expect(rows_of(page)).to_have_count(1)
    expect(page).to_have_url(re.compile("order=version"))
    page.go_back()
    expect(page).not_to_have_url(re.compile("order="))
    expect(search).to_have_value("cron")
    page.go_back()
    expect(search).to_have_value("")
    expect(rows_of(page)).to_have_count(4)


def test_a_list_that_is_drawn_anew_leaves_the_drawer_over_it_in_the_address(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    campaign = elsewhere(make_ended)
    page = page_of(boss, at="/campaigns/")
    page.goto(f"/campaigns/{campaign.pk}/?tab=groups&by=name")
    drawer, held = page.locator("#group-drawer"), list[Route]()
    page.route(re.compile(r"/groups/\?"), lambda route: held.append(route))
    page.evaluate("htmx.trigger('#groups-tools', 'refresh')")
    page.locator("[data-opens-drawer]").first.press("Enter")
    expect(drawer).to_contain_text("3 hosts of campaign")

    with page.expect_response(re.compile(r"/groups/\?")):
        held[0].continue_()
    expect(page.locator(".htmx-request")).to_have_count(0)

    expect(page).to_have_url(re.compile("by=name.*&group="))
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("group="))


def test_a_list_that_was_being_drawn_anew_does_not_take_the_address_back(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    campaign = elsewhere(make_ended)
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/?tab=hosts")
    lines, held = page.locator("#hosts-list tbody tr"), list[Route]()
    page.select_option("#hosts-state", "failed")
    expect(lines).to_have_count(1)
    page.route(re.compile(r"/hosts/\?"), lambda route: held.append(route))
    with page.expect_request(re.compile(r"/hosts/\?")):
        page.evaluate("htmx.trigger('#hosts-tools', 'refresh')")

    with page.expect_request(re.compile(r"/hosts/\?")):
        page.go_back()
    for route in held:  # what was under way first
        route.continue_()
        expect(page.locator("form.htmx-request")).to_have_count(0)

    expect(lines).to_have_count(4)
    expect(page).to_have_url(re.compile("tab=hosts$"))
    page.unroute(re.compile(r"/hosts/\?"))
    page.go_forward()
    expect(lines).to_have_count(1)


def test_steps_go_through_tabs_and_the_filters_of_each(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    campaign = elsewhere(make_ended)
    page = page_of(boss, at="/campaigns/")
    page.goto(f"/campaigns/{campaign.pk}/?tab=errors")
    tab, lines = page.locator('[role=tab][aria-selected="true"]'), page.locator("#hosts-list tbody tr")

    page.get_by_role("tab", name="Errors").press("ArrowLeft")
    expect(lines).to_have_count(4)
    page.select_option("#hosts-state", "failed")
    expect(lines).to_have_count(1)
    page.locator("#hosts-search").press_sequentially("nowhere", delay=80)
    expect(lines).to_have_count(0)

    page.go_back()
    expect(lines).to_have_count(1)
    expect(page.locator("#hosts-search")).to_have_value("")
    page.go_back()
    expect(lines).to_have_count(4)
    expect(page.locator("#hosts-state")).to_have_value("")
    page.go_forward()
    expect(lines).to_have_count(1)
    page.go_back()
    page.go_back()
    expect(tab).to_contain_text("Errors")
    page.go_back()
    expect(page).to_have_url(re.compile("/campaigns/$"))
