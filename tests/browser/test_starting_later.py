"""A start that is put off, in a browser: the page says when, it begins by itself, and it can be stopped before."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect

from campaigns.models import Campaign, Query
from campaigns.running.sweeps import sweep
from campaigns.running.targeting import write_range
from tests.browser.conftest import write_sql
from tests.browser.test_every_page import faults_of
from tests.factories import make_hosts

pytestmark = [pytest.mark.lengthy, pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def ask_later(page: Page) -> str:
    """Ask in two hours, as a person in Tokyo does; give the moment in UTC."""
    start = (timezone.now() + timedelta(hours=2)).replace(second=0, microsecond=0)
    typed = start.astimezone(ZoneInfo("Asia/Tokyo"))
    page.goto("/ask/")
    write_sql(page, "SELECT pid FROM processes")
    page.check("[name=kind][value=all]")
    page.get_by_text("Start later, and who may join").click()
    page.get_by_label("Start at", exact=True).fill(f"{typed:%Y-%m-%dT%H:%M}")
    expect(page.get_by_label("by the clock of")).to_have_value("Asia/Tokyo")
    expect(page.locator("#start-said")).to_contain_text(f"{typed:%H:%M} GMT+9, in 2 hours.")
    page.get_by_role("button", name="Run").click()
    page.wait_for_url("**/campaigns/*/")
    return f"{start:%Y-%m-%dT%H:%M}"


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
    page, status = page_of(operator, at="/", timezone_id="Asia/Tokyo"), "[data-live=status]"

    start = ask_later(page)
    campaign = elsewhere(Campaign.objects.get)
    expect(page.locator(status)).to_have_text("scheduled")
    told = page.locator("#standing .notice")
    expect(told).to_contain_text("It begins")
    expect(told).to_contain_text("GMT+9, in")
    assert told.locator("time").first.get_attribute("datetime") == f"{start}:00+00:00"
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


def test_a_schedule_is_filled_in_in_words_and_said_back_by_the_clock_of_who_fills_it_in(
    page_of: Callable[..., Page], admin_user: User, elsewhere: Callable[..., Any]
) -> None:
    query = elsewhere(Query.objects.create, name="up", sql="SELECT days FROM uptime", created_by=admin_user)
    page, said = page_of(admin_user, at="/", timezone_id="Asia/Tokyo"), ".schedule-times"
    page.goto(f"/queries/{query.pk}/schedules/new/")

    expect(page.locator(said)).to_contain_text("It runs at 09:00 every day in Asia/Tokyo.")
    page.get_by_label("Time of those days").fill("18:30")
    expect(page.locator(said)).to_contain_text(
        "at 18:30 on Monday, Tuesday, Wednesday, Thursday, and Friday in Asia/Tokyo."
    )
    expect(page.locator(f"{said} li")).to_have_count(3)
    page.get_by_role("textbox", name="Crontab").fill("0 8 * *")
    expect(page.locator(said)).to_contain_text("has 4 fields, expected are 5")
    page.get_by_label("How many").fill("45")
    expect(page.locator(said)).to_contain_text("It runs every 45 minutes.")
    assert faults_of(page) == []
    page.get_by_role("button", name="Let it run").click()
    page.wait_for_url("**/schedules/*/")
    expect(page.locator("h1 + .dim")).to_have_text("every 45 minutes")
