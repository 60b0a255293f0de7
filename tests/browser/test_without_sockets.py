"""What the page says while its socket is blocked, dead, silent or behind: what is true, by asking every two seconds."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from agents.models import Host
from campaigns.launching import approvals
from campaigns.launching.launch import Order, launch
from campaigns.launching.models import Approval, ApprovalRule
from campaigns.models import Campaign
from campaigns.running.targeting import write_range
from tests.browser.conftest import Server, pause_clock
from tests.browser.test_console_in_browser import answer, finish, rows_of
from tests.factories import make_campaign, make_hosts, make_user

pytestmark = [pytest.mark.lengthy, pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PageOf = Callable[..., Page]
Elsewhere = Callable[..., Any]
ASKED = "no live connection: asked every 2 s"
SOCKETS = "**/ws/campaigns/**"


@pytest.fixture
def hosts(server: Server, elsewhere: Elsewhere) -> list[Host]:
    made: list[Host] = elsewhere(make_hosts, 5)
    return made


@pytest.fixture
def campaign(hosts: list[Host], elsewhere: Elsewhere) -> Campaign:
    made: Campaign = elsewhere(make_campaign, *hosts, sql="SELECT pid FROM processes")
    return made


def close(socket: WebSocketRoute) -> None:
    """Refuse, as a proxy without upgrades does."""
    socket.close(code=1011)


def say_nothing(socket: WebSocketRoute) -> None:
    """Take the socket, and keep back what comes, as a proxy that buffers does."""


class Cut:
    """A line that works until it is cut: nobody is told, nothing passes."""

    def __init__(self) -> None:
        self.works = True

    def __call__(self, socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        server.on_message(lambda message: socket.send(message) if self.works else None)


class Outage:
    """A server that goes away and comes back, as its page sees it: sockets close, and what is asked fails."""

    def __init__(self, page: Page) -> None:
        self.is_away = self.is_in_trouble = False
        self.asked = self._seen = 0
        page.route_web_socket(SOCKETS, self._open)
        page.route("**/api/v1/campaigns/*/", self._answer)

    def is_asked(self) -> bool:
        """Say whether it was asked since this was asked before."""
        asked, self._seen = self.asked > self._seen, self.asked
        return asked

    def begin(self) -> None:
        self.is_away = True
        self._socket.close(code=1011)

    def _open(self, socket: WebSocketRoute) -> None:
        if self.is_away:
            socket.close(code=1011)
            return
        self._socket = socket
        socket.connect_to_server()

    def _answer(self, route: Route) -> None:
        self.asked += self.is_away
        if self.is_in_trouble:
            route.fulfill(status=503, json={"error": "the database is away"})
        elif self.is_away:
            route.abort()
        else:
            route.continue_()


def says(page: Page, name: str) -> Any:
    return page.locator(f"[data-live={name}]").first


def wait_for(page: Page, name: str, words: str, seconds: int) -> None:
    """Let so much of the page's own time go by, until it says this."""
    for _ in range(seconds):
        page.clock.run_for(1_000)
        with suppress(AssertionError):
            return expect(says(page, name)).to_have_text(words, timeout=200)
    return expect(says(page, name)).to_have_text(words)


@pytest.mark.parametrize("block", [close, say_nothing])
def test_without_a_socket_counts_rows_and_end_come_by_asking(
    page_of: PageOf, operator: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere, block: Any
) -> None:
    page = page_of(operator, "/campaigns/")
    page.route_web_socket(SOCKETS, block)
    page.goto(f"/campaigns/{campaign.pk}/")
    expect(says(page, "connection")).to_have_text(ASKED)

    elsewhere(answer, campaign, hosts[:2], [{"pid": "1"}])
    expect(says(page, "answered")).to_have_text("2")
    expect(rows_of(page)).to_have_count(2)
    expect(says(page, "shown")).to_have_text("2 rows.")
    expect(says(page, "connection")).to_have_text(ASKED)

    elsewhere(answer, campaign, hosts[2:], [{"pid": "2"}])
    elsewhere(finish, campaign)
    expect(says(page, "status")).to_have_text("completed")
    assert says(page, "answered").inner_text() == "5"
    expect(rows_of(page)).to_have_count(5)
    expect(says(page, "connection")).to_have_text("ended")


@pytest.mark.parametrize("block", [close, say_nothing])
@pytest.mark.parametrize("says_yes", [True, False])
def test_without_a_socket_a_campaign_that_waits_for_a_yes_begins_or_ends_by_asking(
    page_of: PageOf, operator: User, hosts: list[Host], elsewhere: Elsewhere, block: Any, says_yes: bool
) -> None:
    def launched() -> tuple[User, Campaign]:
        ApprovalRule.objects.create(group=None, hosts_above=2)
        return make_user("bob", admin=True), launch(Order("SELECT pid FROM processes", {"all": True}), operator)

    def decide() -> None:
        if says_yes:
            approvals.approve(campaign.pk, bob, Approval.objects.get(campaign=campaign).digest)
            write_range(campaign.pk, 0)
        else:
            approvals.reject(campaign.pk, bob, "too many")

    bob, campaign = elsewhere(launched)
    page = page_of(operator, "/campaigns/")
    page.context.route_web_socket(SOCKETS, block)
    page.goto(f"/campaigns/{campaign.pk}/")
    request, admin = page.context.new_page(), page_of(bob, "/campaigns/")
    admin.route_web_socket(SOCKETS, block)
    request.goto(f"/approvals/{campaign.pk}/")
    admin.goto(f"/admin/campaigns/campaign/{campaign.pk}/change/")
    for one in (page, admin):
        expect(says(one, "status")).to_have_text("waits for approval")
        expect(says(one, "connection")).to_have_text(ASKED)
    expect(request.locator("h1")).to_have_text("May this be asked?")

    elsewhere(decide)

    status = "running" if says_yes else "stopped"
    for one in (page, admin):
        expect(says(one, "status")).to_have_text(status)
        expect(says(one, "connection")).to_have_text(ASKED if says_yes else "ended")
    expect(page.locator("#waits-for")).to_have_count(0)
    expect(request.locator("#approval-state")).to_contain_text("approved by bob" if says_yes else "rejected by bob")
    if says_yes:
        elsewhere(campaign.refresh_from_db)
        elsewhere(answer, campaign, hosts[:2], [{"pid": "1"}])
        for one in (page, admin):
            expect(says(one, "answered")).to_have_text("2")
            expect(rows_of(one)).to_have_count(2)


def test_a_campaign_that_was_empty_when_the_page_was_made_never_completes_with_0_of_0(
    page_of: PageOf, operator: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    elsewhere(Campaign.objects.filter(pk=campaign.pk).update, count_targeted=0, count_waiting=0)
    page = page_of(operator, "/campaigns/")
    page.route_web_socket(SOCKETS, close)
    page.add_init_script("""
        window.lies = [];
        const text = (name) => document.querySelector(`[data-live=${name}]`)?.textContent.trim();
        new MutationObserver(() => {
          if (text("status") === "completed" && text("answered") !== "5") window.lies.push(text("answered"));
        }).observe(document, { subtree: true, childList: true, characterData: true });
    """)
    page.goto(f"/campaigns/{campaign.pk}/")
    expect(says(page, "targeted")).to_have_text("0")

    elsewhere(Campaign.objects.filter(pk=campaign.pk).update, count_targeted=5, count_waiting=5)
    elsewhere(answer, campaign, hosts, [{"pid": "1"}])
    elsewhere(finish, campaign)

    expect(says(page, "status")).to_have_text("completed")
    expect(says(page, "targeted")).to_have_text("5")
    assert page.evaluate("window.lies") == []


def test_a_socket_that_dies_without_a_word_is_noticed_and_replaced(
    page_of: PageOf, operator: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    cut = Cut()
    page = page_of(operator, "/campaigns/")
    page.clock.install()
    page.route_web_socket(SOCKETS, cut)
    page.goto(f"/campaigns/{campaign.pk}/")
    expect(says(page, "connection")).to_have_text("live")

    cut.works = False
    elsewhere(answer, campaign, hosts[:2], [{"pid": "1"}])
    wait_for(page, "answered", "2", seconds=20)
    wait_for(page, "connection", ASKED, seconds=5)
    expect(rows_of(page)).to_have_count(2)

    cut.works = True
    wait_for(page, "connection", "live", seconds=30)
    elsewhere(answer, campaign, hosts[2:3], [{"pid": "2"}])
    expect(rows_of(page)).to_have_count(3)


def test_the_end_is_told_with_its_counts_while_the_socket_is_dead(
    page_of: PageOf, operator: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    cut = Cut()
    page = page_of(operator, "/campaigns/")
    page.route_web_socket(SOCKETS, cut)
    page.goto(f"/campaigns/{campaign.pk}/")
    expect(says(page, "connection")).to_have_text("live")

    cut.works = False
    elsewhere(answer, campaign, hosts, [{"pid": "1"}])
    elsewhere(finish, campaign)

    expect(says(page, "status")).to_have_text("completed")
    assert says(page, "answered").inner_text() == "5"


def test_while_the_server_is_away_nothing_claims_to_be_asked(
    server: Server, page_of: PageOf, operator: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    page = page_of(operator, "/campaigns/")
    page.route_web_socket(SOCKETS, close)
    page.goto(f"/campaigns/{campaign.pk}/")
    expect(says(page, "connection")).to_have_text(ASKED)

    server.stop()
    expect(says(page, "connection")).to_have_text("reconnecting…")
    elsewhere(answer, campaign, hosts, [{"pid": "1"}])
    elsewhere(finish, campaign)
    server.start()

    expect(says(page, "status")).to_have_text("completed")
    assert says(page, "answered").inner_text() == "5"
    expect(rows_of(page)).to_have_count(5)


def looked_at(page: Page, campaign: Campaign) -> Outage:
    """Give what may befall the server of a page that is live, and goes by a clock of its own."""
    page.clock.install()
    outage = Outage(page)
    page.goto(f"/campaigns/{campaign.pk}/")
    expect(says(page, "connection")).to_have_text("live")
    return outage


def test_a_server_that_is_away_is_noticed_in_its_first_second_and_not_hammered_for_hours(
    page_of: PageOf, operator: User, campaign: Campaign
) -> None:
    page = page_of(operator)
    outage = looked_at(page, campaign)

    def fail_for(seconds: int) -> int:
        """Let time go by until somebody has just asked in vain; give how often it was asked."""
        before = outage.asked
        for _ in range(seconds):
            page.clock.run_for(1_000)
        with page.expect_event("requestfailed"):
            for _ in range(15):
                page.clock.run_for(1_000)
        return outage.asked - before

    for minutes in (0, 1, 3):
        outage.begin()
        expect(says(page, "connection")).to_have_text("reconnecting…")
        fail_for(3)
        page.clock.fast_forward(minutes * 60_000)
        fail_for(1)

        outage.is_away = False
        page.clock.run_for(1_000)
        expect(says(page, "connection")).to_have_text("live")

    outage.begin()
    fail_for(3)
    page.clock.fast_forward(5 * 3_600_000)
    fail_for(1)
    pause_clock(page)
    assert fail_for(105) < 120 / 7 + 2


def test_a_server_that_says_itself_that_it_is_in_trouble_is_asked_no_more_often(
    page_of: PageOf, operator: User, campaign: Campaign
) -> None:
    page = page_of(operator)
    outage = looked_at(page, campaign)

    outage.is_in_trouble = True
    page.route("**/campaigns/*/control/", lambda route: route.abort())  # which looks as well when it is there
    outage.begin()
    expect(says(page, "connection")).to_have_text("reconnecting…")
    pause_clock(page)
    outage.is_asked()
    for _ in range(5):
        with page.expect_event("requestfinished", lambda request: "/api/v1/campaigns/" in request.url):
            while not outage.is_asked():
                page.clock.run_for(250)
        page.clock.run_for(900)  # of the two seconds until it asks again
        page.evaluate("1")
        assert not outage.is_asked()

    outage.is_away = outage.is_in_trouble = False
    page.clock.run_for(3_000)
    expect(says(page, "connection")).to_have_text("live")


# --- sentences about rows ------------------------------------------------------------------------------------------


def test_a_filter_speaks_of_all_rows(
    page_of: PageOf, operator: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    for number, host in enumerate(hosts[:3]):
        rows = [{"pid": str(pid), "name": f"of {number}"} for pid in range(60)]
        elsewhere(answer, campaign, [host], rows)
    page = page_of(operator, f"/campaigns/{campaign.pk}/")
    expect(says(page, "shown")).to_have_text("180 rows.")

    page.fill("[data-rows-search]", "no such thing")
    expect(says(page, "shown")).to_have_text("0 of 180 rows match.")
    page.fill("[data-rows-search]", "of ")
    expect(says(page, "shown")).to_have_text("More than 100 of 180 rows match.")
    page.fill("[data-rows-search]", "of 2")
    expect(says(page, "shown")).to_have_text("60 of 180 rows match.")
    page.fill("[data-rows-search]", "")
    expect(says(page, "shown")).to_have_text("180 rows.")


def test_rows_that_could_not_be_fetched_are_said_and_fetched_again(
    page_of: PageOf, operator: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    elsewhere(answer, campaign, hosts, [{"pid": "1"}])
    page = page_of(operator)
    page.route("**/rows/?*", lambda route: route.fulfill(status=503))

    def top_of_grid() -> list[float]:
        """Give where the grid begins on a desk and on a phone."""
        tops = []
        for width in (1360, 390):
            page.set_viewport_size({"width": width, "height": 900})
            tops.append(page.locator(".rows-grid").bounding_box()["y"])  # type: ignore[index]
        return tops

    page.goto(f"/campaigns/{campaign.pk}/")
    expect(says(page, "shown")).to_have_text("Rows not fetched: trying again…")
    before = top_of_grid()

    page.unroute("**/rows/?*")
    expect(says(page, "shown")).to_have_text("5 rows.")
    expect(rows_of(page)).to_have_count(5)
    assert top_of_grid() == before
