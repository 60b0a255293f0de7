"""Days and moments that are typed, by the clock that was chosen: the address names the moments themselves."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from agents.models import EnrollSecret
from campaigns.models import Campaign
from tests.browser.test_every_page import PHONE, WIDER
from tests.factories import make_campaign, make_host

pytestmark = [pytest.mark.lengthy, pytest.mark.browser, pytest.mark.django_db(transaction=True)]

# Clocks in Berlin were put forward on 2026-03-29, which lasted 23 hours; in Beirut at its very midnight.
BEFORE, BEGINS, LATE, AFTER = (
    "2026-03-28T22:59:59Z", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z",
)  # fmt: skip


def campaigns_at(*moments: str) -> None:
    """Make campaigns that were launched then, and are called so."""
    host = make_host()
    for moment in moments:
        made = make_campaign(host, name=moment)
        Campaign.objects.filter(pk=made.pk).update(created_at=datetime.fromisoformat(moment))


def asked(page: Page) -> dict[str, str]:
    """Give the moments in the address."""
    given = parse_qs(urlsplit(page.url).query)
    return {name: given[name][0] for name in ("since", "until") if name in given}


def look_for(page: Page, address: str, since: str, until: str) -> None:
    """Type since when and until when, and look."""
    page.goto(address)
    page.get_by_label("since").fill(since)
    page.get_by_label("until").fill(until)
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**since=**")


def test_days_are_those_of_the_clock_that_was_chosen_and_the_address_means_the_same_to_everybody(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    elsewhere(campaigns_at, BEFORE, BEGINS, LATE, AFTER)
    page = page_of(boss, at="/campaigns/", timezone_id="Europe/Berlin")
    names = page.locator("#history .what b")

    look_for(page, "/campaigns/", "2026-03-29", "2026-03-29")
    assert asked(page) == {"since": BEGINS, "until": AFTER}
    expect(names).to_have_text([LATE, BEGINS])
    for label in ("since", "until"):
        expect(page.get_by_label(label)).to_have_value("2026-03-29")
    expect(page.get_by_text("since (Berlin)")).to_be_visible()
    address = page.url
    with page.expect_navigation():
        page.get_by_role("button", name="Search").click()  # what was not touched stays as it is
    assert asked(page) == {"since": BEGINS, "until": AFTER}

    page.locator(".who summary").press("Enter")
    with page.expect_navigation():
        page.get_by_role("button", name="UTC", exact=True).press("Enter")
    assert asked(page) == {"since": BEGINS, "until": AFTER}
    expect(page.get_by_text("since (UTC)")).to_be_visible()
    expect(page.get_by_label("since")).to_have_value("2026-03-28T23:00")  # no day of UTC begins then
    expect(names).to_have_text([LATE, BEGINS])
    look_for(page, "/campaigns/", "2026-03-28", "2026-03-28")
    assert asked(page) == {"since": "2026-03-28T00:00:00Z", "until": "2026-03-29T00:00:00Z"}

    beirut = page_of(boss, at="/", timezone_id="Asia/Beirut")
    beirut.goto(address)
    expect(beirut.locator("#history .what b")).to_have_text([LATE, BEGINS])
    look_for(beirut, "/campaigns/", "2026-03-29", "2026-03-29")  # its first moment is 01:00
    assert asked(beirut) == {"since": "2026-03-28T22:00:00Z", "until": "2026-03-29T21:00:00Z"}
    expect(beirut.get_by_label("since")).to_have_value("2026-03-29")

    plain = page_of(boss, at="/", timezone_id="Europe/Berlin", java_script_enabled=False)
    plain.goto(address)
    assert plain.get_by_label("since (UTC)").input_value() == "2026-03-28T23:00"
    expect(plain.locator("#history .what b")).to_have_text([LATE, BEGINS])
    with plain.expect_navigation():
        plain.get_by_role("button", name="Search").click()
    expect(plain.locator("#history .what b")).to_have_text([LATE, BEGINS])


def test_minutes_of_the_audit_and_of_secrets_are_those_of_the_clock_that_was_chosen(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    page = page_of(boss, at="/audit/", timezone_id="America/Argentina/Buenos_Aires")

    look_for(page, "/audit/", "2026-01-02T03:04", "2999-01-01T00:00")
    assert asked(page) == {"since": "2026-01-02T06:04:00Z", "until": "2999-01-01T03:00:00Z"}
    expect(page.get_by_label("since")).to_have_value("2026-01-02T03:04")
    assert "2026-01-02T06%3A04%3A00" in str(page.get_by_role("link", name="NDJSON").get_attribute("href"))
    page.goto("/audit/?since=2026-01-02T06:04:05.5Z")
    expect(page.get_by_label("since")).to_have_value("2026-01-02T03:04:05")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**text=**")
    assert asked(page)["since"] == "2026-01-02T06:04:05.500000Z"

    page.set_viewport_size(PHONE)
    assert not page.evaluate(WIDER)

    page.goto("/settings/")
    page.get_by_text("New enroll secret").click()
    page.get_by_label("Name").fill("of there")
    page.get_by_label("Valid until (Buenos Aires)").fill("2999-01-01T00:00")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_text("is made")).to_be_visible()
    made = elsewhere(EnrollSecret.objects.get, name="of there")
    assert made.valid_until == datetime(2999, 1, 1, 3, tzinfo=UTC)
