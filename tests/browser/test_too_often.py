"""Who asks too often is told so where he stands, and when it goes again; what he typed stays, and it goes on."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, Route, WebSocket, expect

from agents.board import keyspace, redis_client
from campaigns.models import Campaign
from campaigns.throttles import WINDOW
from tests.browser.conftest import Server, pause_clock
from tests.browser.test_without_sockets import wait_for
from tests.factories import answer, end, learn, make_campaign, make_host, make_hosts

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

MANY = 1_000_000


def keys_of(user: User, kind: str) -> list[str]:
    now = int(time.time()) // WINDOW
    return [keyspace.throttle_key(f"{kind}:person:{user.pk}", now + later) for later in range(5)]


def ask_too_often(user: User, kind: str = "request") -> None:
    """Let so much have been asked, in this minute and those that come, that requests (or sockets) are refused."""
    redis_client.client().mset(dict.fromkeys(keys_of(user, kind), MANY))


def have_asked_little(user: User, kind: str = "request") -> None:
    redis_client.client().delete(*keys_of(user, kind))


def test_rows_and_analyses_say_when_they_go_again(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    def make() -> Campaign:
        host = make_host()
        made = make_campaign(host, by=boss, sql="SELECT name FROM processes")
        answer(made, host, {"name": "init"}, {"name": "cron"})
        return made

    campaign = elsewhere(make)
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/")
    page.locator(".ag-cell", has_text="init").first.wait_for()
    page.clock.install()
    elsewhere(ask_too_often, boss)

    search, said = page.get_by_placeholder("Search all rows…"), page.locator("#panel-rows [data-live=shown]")
    search.fill("cron")
    page.clock.run_for(1_000)
    expect(said).to_contain_text("Rows not fetched: you asked too often, again in")
    expect(search).to_have_value("cron")
    elsewhere(have_asked_little, boss)
    page.clock.run_for(61_000)
    expect(said).to_have_text("1 of 2 rows match.")


def test_a_file_that_is_refused_is_a_sentence_beside_its_link(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any], server: Server
) -> None:
    def make() -> Campaign:
        host = make_host()
        made = make_campaign(host, by=boss, sql="SELECT name FROM processes")
        answer(made, host, {"name": "init"})
        return end(made)

    def taken(refused: str) -> None:
        export.click()
        expect(said).to_contain_text(refused)

    campaign = elsewhere(make)
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/")
    export, said = page.get_by_role("link", name="Export as seen"), page.locator("#panel-rows .not-exported")
    page.locator(".ag-cell", has_text="init").first.wait_for()

    elsewhere(ask_too_often, boss)
    taken("Not exported: you asked too often, again in ")
    page.get_by_text("Export", exact=True).click()
    page.locator("a[download]", has_text="NDJSON").first.press("Enter")
    expect(page.locator(".actions summary", has_text="Export")).to_be_focused()
    expect(page.locator(".actions .not-exported")).to_contain_text("Not exported: you asked too often, again in ")
    elsewhere(have_asked_little, boss)
    with page.expect_download() as download:
        export.click()
    assert download.value.suggested_filename == f"campaign-{campaign.pk}.csv"
    expect(said).to_have_text("")
    elsewhere(lambda: User.objects.filter(pk=boss.pk).update(is_superuser=False))
    elsewhere(lambda: Campaign.objects.update(created_by=None))
    taken("Not exported: you may not do this any more.")
    elsewhere(lambda: User.objects.filter(pk=boss.pk).update(is_superuser=True))
    server.stop()
    taken("Not exported: the server does not answer, try again.")
    server.start()
    elsewhere(lambda: Campaign.objects.all().delete())
    taken("Not exported: it was deleted, or you may not look at it any more.")
    elsewhere(Session.objects.all().delete)
    taken("Not exported: you are logged out.")
    expect(page.locator("#logged-out")).to_contain_text("You are logged out. Log in again")


def test_tables_are_fetched_once_one_may_ask_again(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    elsewhere(learn, "linux", "processes")
    elsewhere(ask_too_often, boss)
    page = page_of(boss, at="/hosts/")
    page.clock.install()
    page.goto("/ask/")

    tables = page.locator("#table-list")
    expect(tables).to_contain_text("The tables could not be fetched: you asked too often, again in")
    elsewhere(have_asked_little, boss)
    page.clock.run_for(61_000)
    expect(tables).to_contain_text("processes")


def test_tables_that_are_refused_for_good_are_asked_for_once(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    asked = []

    def end_the_session_before(route: Route) -> None:
        asked.append(route.request.url)
        elsewhere(Session.objects.all().delete)
        route.continue_()

    page = page_of(boss, at="/hosts/")
    page.clock.install()
    page.route("**/api/v1/schema/", end_the_session_before)
    page.goto("/ask/")

    expect(page.locator("#table-list")).to_have_text("The tables could not be fetched: load the page again.")
    page.clock.run_for(60_000)
    page.goto("/login/")
    assert len(asked) == 1


def test_who_opened_too_many_sockets_sees_by_asking_what_comes_and_opens_one_a_minute_later(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    hosts = elsewhere(make_hosts, 2)
    campaign = elsewhere(lambda: make_campaign(*hosts, by=boss))
    opened: list[WebSocket] = []
    page = page_of(boss, at="/hosts/")
    page.clock.install()
    pause_clock(page)
    page.on("websocket", lambda socket: opened.append(socket))
    elsewhere(ask_too_often, boss, "socket")
    page.goto(f"/campaigns/{campaign.pk}/")
    while not (opened and opened[0].is_closed()):
        page.evaluate("1")

    wait_for(page, "connection", "no live connection: asked every 2 s", seconds=10)
    elsewhere(answer, campaign, hosts[0], {"pid": "1"})
    page.clock.run_for(4_000)
    expect(page.locator("[data-live=answered]").first).to_have_text("1")
    page.evaluate("dispatchEvent(new Event('online'))")  # nor does it hurry then
    page.clock.run_for(40_000)
    assert len(opened) == 1

    elsewhere(have_asked_little, boss, "socket")
    while len(opened) == 1:
        page.clock.run_for(1_000)
    expect(page.locator("[data-live=connection]").first).to_have_text("live")
    assert len(opened) == 2
