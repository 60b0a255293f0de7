"""A start that is put off, in a browser: the page says when, it begins by itself, and it can be stopped before."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect

from campaigns.models import Campaign
from campaigns.running.sweeps import sweep
from campaigns.running.targeting import write_range
from tests.browser.conftest import write_sql
from tests.browser.test_every_page import faults_of
from tests.factories import make_hosts

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def ask_later(page: Page) -> str:
    """Ask in two hours, as a person does; give the moment as it was typed."""
    start = (timezone.now() + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M")
    page.goto("/ask/")
    write_sql(page, "SELECT pid FROM processes")
    page.check("[name=kind][value=all]")
    page.get_by_text("Start later, and who may join").click()
    page.get_by_label("Start later, at (UTC)").fill(start)
    page.get_by_role("button", name="Run").click()
    page.wait_for_url("**/campaigns/*/")
    return start


def let_it_begin(campaign: Campaign) -> None:
    """Turn the clock, and let the sweep find it."""
    Campaign.objects.filter(pk=campaign.pk).update(start_at=timezone.now())
    sweep()
    for number in list(campaign.ranges.values_list("number", flat=True)):
        write_range(campaign.pk, number)


def test_a_start_that_is_put_off_is_told_begins_by_itself_and_can_be_stopped_before(
    page_of: Callable[..., Page], operator: User, elsewhere: Callable[..., Any]
) -> None:
    elsewhere(make_hosts, 3)
    page, status = page_of(operator, at="/"), "[data-live=status]"

    start = ask_later(page)
    campaign = elsewhere(Campaign.objects.get)
    expect(page.locator(status)).to_have_text("scheduled")
    told = page.locator("#standing .notice")
    expect(told).to_contain_text("It begins")
    assert told.locator("time").get_attribute("datetime") == f"{start}:00+00:00"
    assert faults_of(page) == []
    elsewhere(let_it_begin, campaign)
    expect(page.locator(status)).to_have_text("running")
    expect(page.locator("#standing")).not_to_contain_text("It begins")

    ask_later(page)
    page.locator("#stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    expect(page.locator(status)).to_have_text("stopped")
    second = elsewhere(Campaign.objects.latest, "pk")
    elsewhere(let_it_begin, second)
    elsewhere(second.refresh_from_db)
    assert (second.status, second.started_at, second.count_targeted) == ("stopped", None, 0)
    page.goto("/campaigns/?status=stopped")
    expect(page.locator("main")).to_contain_text("processes")
