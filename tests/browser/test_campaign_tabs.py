"""The tabs of a campaign's page beside its rows: hosts are found, chosen and acted on, errors lead to their hosts."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from agents.models import Host, Label
from campaigns.models import Campaign
from campaigns.states import State
from tests.browser.conftest import Server
from tests.factories import answer, end, make_campaign, make_hosts, make_label

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PageOf = Callable[..., Page]
Elsewhere = Callable[..., Any]
MANY, FAILED = 120, 60


def make_ended() -> Campaign:
    """Give an ended campaign of more hosts than a page shows; the first of them failed."""
    hosts = make_hosts(MANY)
    campaign = make_campaign(*hosts, sql="SELECT pid FROM processes")
    for number, host in enumerate(hosts[:FAILED], 1):
        answer(campaign, host, state=State.FAILED, error="no such table: x", wall_ms=number)
    for number, host in enumerate(hosts[FAILED:], FAILED + 1):
        answer(campaign, host, {"pid": f"{number}"}, wall_ms=number, user_ms=1, system_ms=1, memory_bytes=number * 1024)
    make_label("web")
    return end(campaign)


def lines_of(page: Page) -> Any:
    return page.locator("#hosts-list tbody tr")


def test_hosts_are_sorted_paged_chosen_and_labelled_by_keyboard(
    page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    campaign = elsewhere(make_ended)
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/?tab=hosts")
    expect(lines_of(page)).to_have_count(50)
    expect(page.locator("#chosen-label")).to_be_disabled()

    page.locator("#sort-wall").press("Enter")
    expect(page.locator("th[aria-sort=descending]")).to_have_text("took ↓")
    expect(lines_of(page).first).to_contain_text(f"{MANY} ms")
    expect(page.locator("#sort-wall")).to_be_focused()
    lines_of(page).first.locator("[data-pick]").press("Space")
    page.locator("#page-last").press("Enter")
    expect(lines_of(page)).to_have_count(MANY % 50)
    page.locator("[data-pick-page]").press("Space")
    expect(page.locator("[data-chosen]")).to_have_text(f"{1 + MANY % 50} chosen")
    expect(page).to_have_url(re.compile("order=-wall&page=3"))

    page.locator("#chosen-label").press("Enter")
    expect(page.locator("#chosen-label-name")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#chosen-label")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.type("web")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.locator("#chosen-said")).to_have_text(f"{1 + MANY % 50} hosts put into the label web.")
    expect(page.locator("[data-chosen]")).to_have_text("")
    labelled = elsewhere(lambda: list(Label.objects.get(name="web").hosts.order_by("pk").values_list("pk", flat=True)))
    hosts = elsewhere(lambda: list(Host.objects.order_by("pk").values_list("pk", flat=True)))
    assert labelled == [*hosts[: MANY % 50], hosts[-1]]


def test_all_that_match_are_asked_again_after_the_products_own_question(
    page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    campaign = elsewhere(make_ended)
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/?tab=hosts")
    page.on("dialog", lambda dialog: pytest.fail(f"the browser asked {dialog.message}"))

    page.select_option("#hosts-state", "failed")
    expect(page.locator(".all-of-them")).to_have_text(f"all {FAILED} that match")
    page.locator("#pick-all").press("Space")
    expect(page.locator("[data-pick]:checked")).to_have_count(50)
    page.locator("#chosen-again").press("Enter")
    dialog = page.get_by_role("dialog", name="Ask all hosts that match again?")
    expect(dialog.get_by_role("button", name="Leave it")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Tab")
        assert page.evaluate("document.querySelector('#confirm-dialog').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(page.locator("#chosen-again")).to_be_focused()
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Ask again").press("Enter")

    page.wait_for_url(lambda url: f"/campaigns/{campaign.pk}/" not in url)
    child = elsewhere(Campaign.objects.latest, "pk")
    assert (child.parent_id, child.expected) == (campaign.pk, FAILED)
    expect(page.get_by_text(f"this is what campaign {campaign.pk} asked")).to_be_visible()


def test_a_server_that_is_away_loses_neither_page_nor_choice(
    server: Server, page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    campaign = elsewhere(make_ended)
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/?tab=hosts")
    lines_of(page).nth(2).locator("[data-pick]").check()
    page.locator("#chosen-label").click()
    page.fill("#chosen-label-name", "web")

    server.stop()
    page.get_by_role("button", name="Label them").click()
    expect(page.locator("#label-said")).to_contain_text("The server does not answer. Nothing is lost")
    expect(page.locator("#chosen-label-name")).to_have_value("web")
    server.start()
    page.get_by_role("button", name="Try again").click()

    expect(page.locator("#chosen-said")).to_have_text("1 host put into the label web.")


def test_an_error_leads_to_its_hosts_without_leaving_the_page(
    page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    campaign = elsewhere(make_ended)
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/")
    page.evaluate("window.stays = true")

    page.get_by_role("tab", name="Errors").click()
    group = page.locator(".error-group")
    expect(group).to_have_count(1)
    expect(group.locator(".names a[href^='/hosts/']")).to_have_count(8)
    group.get_by_role("link", name=f"{FAILED} hosts").press("Enter")

    expect(page.get_by_role("tab", name="Hosts")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#hosts-list .at-end")).to_have_text(f"1 to 50 of {FAILED} hosts")
    expect(page.locator("#hosts-tools .chip")).to_contain_text("no such table: x")
    expect(page).to_have_url(re.compile("error="))
    page.locator("#hosts-tools .chip").click()
    expect(page.locator("#hosts-list .at-end")).to_have_text(f"1 to 50 of {FAILED} hosts")
    page.get_by_role("tab", name="Errors").click()
    group.get_by_role("button", name="Ask these again").click()
    page.get_by_role("dialog").get_by_role("button", name="Ask again").click()
    page.wait_for_url(lambda url: f"/campaigns/{campaign.pk}/" not in url)
    assert elsewhere(Campaign.objects.latest, "pk").expected == FAILED


def test_whatever_is_fetched_while_the_server_is_away_is_said_and_nothing_else(
    server: Server, page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    campaign = elsewhere(make_ended)
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/?tab=groups")
    drawers = page.locator("[data-opens-drawer]")
    drawers.first.wait_for()

    server.stop()
    drawers.first.click()
    expect(page.locator("#group-drawer")).to_contain_text("The server does not answer")
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Analyse").click()
    page.locator("#panel-analyse .cm-content").click()
    page.keyboard.type("SELECT 1")
    page.locator("#panel-analyse").get_by_role("button", name="Run").click()

    expect(page.locator("#panel-analyse [data-said]")).to_contain_text("The server did not answer")
