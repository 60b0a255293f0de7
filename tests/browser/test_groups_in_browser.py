"""Groups in a browser: they follow the answers, and their hosts are looked through, asked and labelled by keyboard."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from agents.models import Host, Label
from campaigns import doorbell
from campaigns.models import Campaign
from tests import factories
from tests.browser.conftest import Server
from tests.browser.test_every_page import faults_of

pytestmark = [pytest.mark.lengthy, pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Elsewhere = Callable[..., Any]
PageOf = Callable[..., Page]
ODD = "5.1<b>\u202e\u200b"


def answer(campaign: Campaign, hosts: list[Host], version: str) -> None:
    """Store answers of these hosts, and ring for who watches."""
    campaign.refresh_from_db()
    for host in hosts:
        factories.answer(campaign, host, {"name": "osqueryd", "version": version})
    doorbell.ring(campaign.pk)


@pytest.fixture
def hosts(server: Server, elsewhere: Elsewhere) -> list[Host]:
    """Give 130 hosts: more than a page of a group holds."""

    def make() -> list[Host]:
        return [factories.make_host(hostname=f"group-{number:03}") for number in range(130)]

    made: list[Host] = elsewhere(make)
    return made


@pytest.fixture
def campaign(hosts: list[Host], boss: User, elsewhere: Elsewhere) -> Campaign:
    """Give a running campaign over them, that nobody answered yet."""
    made: Campaign = elsewhere(factories.make_campaign, *hosts, by=boss, sql="SELECT name, version FROM x")
    return made


def test_groups_follow_the_answers_and_their_hosts_are_used(
    page_of: PageOf, boss: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    page = page_of(boss, f"/campaigns/{campaign.pk}/?tab=groups")
    counts = page.locator("[data-opens-drawer]")
    expect(page.locator("#groups-list")).to_contain_text("Nobody answered yet.")

    elsewhere(answer, campaign, hosts[:2], "5.0")
    expect(counts).to_have_text(["2"])
    page.locator("#groups-by summary").click()
    page.get_by_role("checkbox", name="version").check()
    elsewhere(answer, campaign, hosts[2:], ODD)
    expect(counts).to_have_text(["128", "2"])
    expect(page.locator("#groups-by-said")).to_contain_text("version")
    expect(page.locator("#groups-list .wide").first).to_have_text("5.1<b>⟨U+202E⟩⟨U+200B⟩")
    page.keyboard.press("Escape")

    page.locator("#groups-search").fill("5.0")
    expect(counts).to_have_text(["2"])
    page.locator("#groups-search").fill("")
    page.select_option("#groups-order", "hosts")
    expect(counts).to_have_text(["2", "128"])
    expect(page).to_have_url(re.compile("order=hosts"))
    expect(page).to_have_url(re.compile("by=version"))

    counts.nth(1).focus()
    page.keyboard.press("Enter")
    drawer = page.locator("#group-drawer")
    expect(drawer).to_be_visible()
    expect(page.locator("#group-search")).to_be_focused()
    drawer.get_by_role("button", name="Next →").click()
    expect(drawer.locator(".members li")).to_have_count(28)
    drawer.get_by_label("Pick group-129").check()
    page.locator("#group-search").press_sequentially("group-00")
    expect(drawer.locator(".members li")).to_have_count(8)
    drawer.get_by_label("Pick group-003").check()
    expect(drawer.locator("[data-picked-said]")).to_have_text("2 picked: only they are meant.")
    page.locator("#group-label").fill("picked ones")
    drawer.get_by_role("button", name="Label these hosts").click()
    expect(page.locator("#group-said")).to_contain_text("2 hosts put into the new label picked ones.")
    label = elsewhere(Label.objects.get, name="picked ones")
    assert elsewhere(lambda: set(label.hosts.all())) == {hosts[3], hosts[129]}
    assert faults_of(page) == []

    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(counts.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    drawer.get_by_role("button", name="Ask these hosts").click()
    page.wait_for_url("**/ask/?*")
    expect(page.locator("[name=kind][value=campaign]")).to_be_checked()
    expect(page.locator("#id_earlier")).to_have_value(str(campaign.pk))
    expect(page.locator("#run")).to_contain_text("128")


def test_an_earlier_run_is_chosen_to_compare_with(
    page_of: PageOf, boss: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    earlier = elsewhere(factories.make_campaign, *hosts[:9], by=boss, sql=campaign.sql)
    elsewhere(answer, earlier, hosts[:9], "5.0")
    elsewhere(answer, campaign, hosts[:9], ODD)
    page = page_of(boss, f"/campaigns/{campaign.pk}/?tab=groups&by=version")

    page.select_option("#groups-with", str(earlier.pk))

    changes = page.locator("#groups-list .change")
    expect(changes).to_have_count(2)
    assert sorted(changes.all_inner_texts()) == ["came +9", "went \u22129"]
    assert faults_of(page) == []
    page.locator("h1").click()
    page.keyboard.press("/")
    expect(page.locator("#groups-search")).to_be_focused()
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("[data-opens-drawer][title='Which hosts were it']").click()
    expect(page.locator("#group-title")).to_contain_text(f"9 hosts of campaign {earlier.pk}")
    page.goto(page.locator("#group-form").get_attribute("action").removesuffix("use/"))  # type: ignore[union-attr]
    expect(page.locator(".group-page .members li")).to_have_count(9)
    assert faults_of(page) == []
