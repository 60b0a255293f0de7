"""The rows of one host among hosts of its name: by a click on it, in the address, and exported as they are seen."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from agents.models import Host
from campaigns.models import Campaign
from tests.browser.test_console_in_browser import hosts_in, rows_of
from tests.factories import answer, make_campaign, make_host

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def make() -> tuple[Campaign, Host, Host]:
    one, other = make_host(hostname="twin"), make_host(hostname="twin")
    campaign = make_campaign(one, other, sql="SELECT pid FROM processes")
    answer(campaign, one, {"pid": "1"}, {"pid": "2"})
    answer(campaign, other, {"pid": "3"})
    return campaign, one, other


def test_a_host_that_is_clicked_is_meant_and_not_its_namesake(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    campaign, one, other = elsewhere(make)
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/")
    expect(rows_of(page)).to_have_count(3)

    hosts_in(page).first.locator(".dim").click()
    page.get_by_role("button", name="Only rows of this host").click()

    shown = page.locator("[data-live=shown]")
    expect(shown).to_have_text("2 of 3 rows match.")
    page.wait_for_url(f"**/?host={one.pk}")
    page.reload()
    expect(shown).to_have_text("2 of 3 rows match.")
    exported = page.locator("[data-rows-export]").get_attribute("href") or ""
    assert [line.split(",")[1:3] for line in page.request.get(exported).text().splitlines()[1:]] == [
        [str(one.pk), "1"],
        [str(one.pk), "2"],
    ]
    page.get_by_role("button", name=f"Remove the filter host = twin #{one.pk}").click()
    expect(rows_of(page)).to_have_count(3)

    page.goto(f"/campaigns/{campaign.pk}/?host={other.pk}&where=host:twin")
    expect(shown).to_have_text("1 of 3 rows match.")
    page.goto(f"/campaigns/{campaign.pk}/?host=twin")
    expect(page.locator("#panel-rows .banner.warn")).to_contain_text("host 'twin' is no number of a host")
    expect(rows_of(page)).to_have_count(3)
