"""What asks again and again: no more once nobody may hear it, and not before the server says that it may."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, WebSocketRoute, expect

from agents.models import Host
from campaigns.models import Campaign
from tests.browser.conftest import pause_clock
from tests.browser.test_gone import ask, two_runs
from tests.browser.test_too_often import ask_too_often, have_asked_little
from tests.factories import make_host

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PageOf = Callable[..., Page]
Elsewhere = Callable[..., Any]
ASKED = "no live connection: asked every 2 s"
OF_EVERY_PAGE = re.compile(r"/(switch|troubles)/$")


def refuse(socket: WebSocketRoute) -> None:
    """Refuse, as a proxy without upgrades does."""
    socket.close(code=1011)


def home(page: Page, _: Host, __: Campaign) -> None:
    page.goto("/")
    expect(page.locator("#under-way")).to_contain_text("answered")


def history(page: Page, _: Host, __: Campaign) -> None:
    page.goto("/campaigns/")


def comparison(page: Page, _: Host, campaign: Campaign) -> None:
    page.goto(f"/campaigns/{campaign.pk}/compare/?with={campaign.pk - 1}")


def approval(page: Page, _: Host, campaign: Campaign) -> None:
    page.goto(f"/approvals/{campaign.pk}/")


def console_of_one(page: Page, host: Host, _: Campaign) -> None:
    page.goto(f"/hosts/{host.pk}/")
    ask(page)


def campaign_live(page: Page, _: Host, campaign: Campaign) -> None:
    with page.expect_response("**/rows/?*"):  # it asks for the first ones, seen or not
        page.goto(f"/campaigns/{campaign.pk}/?tab=hosts")
    expect(page.locator("[data-live=connection]")).to_have_text("live")


def campaign_polled(page: Page, _: Host, campaign: Campaign) -> None:
    page.route_web_socket("**/ws/campaigns/**", refuse)
    page.goto(f"/campaigns/{campaign.pk}/")
    expect(page.locator("[data-live=connection]")).to_have_text(ASKED)


def asked_within_a_minute(page: Page) -> set[str]:
    """Give what the page asks for by itself within a minute of its clock."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for _ in range(60):
        page.clock.run_for(1_000)
    page.evaluate("1")
    return {url for url in asked if not OF_EVERY_PAGE.search(url)}


def wait_for(page: Page, place: Any) -> None:
    """Let the page's time go by until the place is there."""
    for _ in range(15):
        page.clock.run_for(1_000)
        if place.count():
            return
    expect(place).not_to_have_count(0)


@pytest.mark.parametrize(
    "follow", [home, history, comparison, approval, console_of_one, campaign_live, campaign_polled]
)
def test_a_page_whose_session_ended_asks_no_more_until_somebody_logs_in(
    follow: Callable[..., None], page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    host = elsewhere(make_host)
    page = page_of(boss, "/account/")
    page.clock.install()
    follow(page, host, elsewhere(two_runs, host))

    elsewhere(Session.objects.all().delete)

    wait_for(page, page.locator("#logged-out"))
    expect(page.locator("#logged-out")).to_contain_text("You are logged out. Log in again")
    assert asked_within_a_minute(page) == set()


@pytest.mark.parametrize(
    ("follow", "lose"), [(campaign_live, "right"), (campaign_polled, "right"), (campaign_polled, "campaign")]
)
def test_a_campaign_that_may_be_seen_no_more_is_asked_for_no_more(
    follow: Callable[..., None], lose: str, page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    host = elsewhere(make_host)
    page = page_of(boss, "/account/")
    page.clock.install()
    follow(page, host, elsewhere(two_runs, host))

    if lose == "right":
        elsewhere(lambda: User.objects.filter(pk=boss.pk).update(is_superuser=False))
        said = "You may not look at this campaign any more."
    else:
        elsewhere(lambda: Campaign.objects.all().delete())
        said = "This campaign was deleted, or you may not look at it any more: what is shown is old."

    expect(page.locator("#control-said")).to_have_text(said)
    assert asked_within_a_minute(page) == set()


def test_a_campaign_that_is_asked_for_too_often_says_when_it_is_again(
    page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    host = elsewhere(make_host)
    page = page_of(boss, "/account/")
    page.clock.install()
    campaign_polled(page, host, elsewhere(two_runs, host))
    connection = page.locator("[data-live=connection]")

    elsewhere(ask_too_often, boss)

    expect(connection).to_have_text(re.compile(r"^you asked too often: again in \d+ s$"))
    pause_clock(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    wait = int(re.sub(r"\D", "", connection.inner_text()))
    page.clock.run_for(max(0, wait - 2) * 1_000)
    page.evaluate("1")
    assert [url for url in asked if "/api/" in url] == []
    elsewhere(have_asked_little, boss)
    page.clock.run_for(61_000)
    page.clock.resume()
    expect(connection).to_have_text(ASKED)


def test_what_is_polled_too_often_says_so_and_waits(page_of: PageOf, boss: User, elsewhere: Elsewhere) -> None:
    host = elsewhere(make_host)
    page = page_of(boss, "/account/")
    page.clock.install()
    comparison(page, host, elsewhere(two_runs, host))
    pause_clock(page)
    asked = []

    def refuse_once(route: Any) -> None:
        asked.append(route.request.url)
        route.fulfill(status=429, headers={"Retry-After": "35"}, content_type="text/plain", body="too many")

    page.route("**/compare/*", refuse_once)
    wait_for(page, page.locator("#compared [data-too-often]"))
    expect(page.locator("#compared [data-too-often]")).to_contain_text("asked for too often, again in 35 s.")
    page.clock.run_for(25_000)
    page.evaluate("1")
    assert len(asked) == 1
    page.unroute("**/compare/*")
    page.clock.run_for(10_000)
    page.clock.resume()
    expect(page.locator("#compared [data-too-often]")).to_have_count(0)
    expect(page.locator("#compared")).to_contain_text("changed")
