"""The head of a campaign's page: rows begin early whatever must be said, and its controls answer in place."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, Route, expect

from campaigns.launching import control
from campaigns.models import Campaign
from tests.browser.conftest import PATIENCE_MS, Server, pause_clock, wait_until_true
from tests.browser.test_every_page import DESK, PHONE
from tests.factories import answer, end, make_campaign, make_hosts

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PageOf = Callable[..., Page]
Elsewhere = Callable[..., Any]
ROW = ".rows-grid .ag-row"
CANARY = {"canary": {"count": 2}, "then": "ask"}
# A yes, and in the same moment the buttons come, drawn anew.
AGREE_WHILE_IT_IS_DRAWN = """async (address) => {
  const drawn = await (await fetch(address)).text();
  document.querySelector("#confirm-dialog .danger").click();
  const target = document.getElementById("control");
  htmx.swap(target, drawn, {swapStyle: "innerHTML", swapDelay: 0, settleDelay: 0}, {eventInfo: {target}});
}"""
# htmx draws, and knows what it drew some hundredths of a second later.
PRESS_WHAT_HTMX_DOES_NOT_KNOW = """(id) => {
  const form = document.getElementById(id).form;
  form.outerHTML = form.outerHTML;
  document.getElementById(id).focus();
  document.getElementById(id).click();
}"""
EARLY = "([selector, bottom]) => document.querySelector(selector)?.getBoundingClientRect().top <= bottom"
LATEST, BOTTOM = 350, 844 - 30  # px: of the first row at a desk; what a phone shows of the page's beginning
MOVES = """() => {
  window.moved = [];
  const place = (id) => Math.round(document.getElementById(id)?.getBoundingClientRect().x ?? -1);
  const places = () => ["pause", "stop"].map(place).join();
  const before = places();
  new MutationObserver(() => places() !== before && window.moved.push(places()))
    .observe(document.querySelector(".campaign-head"), {subtree: true, childList: true, attributes: true});
}"""


def make_begun(boss: User) -> Campaign:
    """Give a campaign that asks two hosts first; one answered. Three things are to be said of it."""
    hosts = make_hosts(8)
    campaign = make_campaign(*hosts, by=boss, sql="SELECT pid FROM processes", rollout=CANARY)
    campaign.warnings = ["a long sentence that warns of something " * 6, "another one"]
    campaign.save(update_fields=["warnings"])
    answer(campaign, hosts[0], *[{"pid": f"{number}"} for number in range(30)])
    return campaign


def test_controls_answer_in_place_and_rows_begin_early_whatever_is_said(
    page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    campaign = elsewhere(make_begun, boss)
    page = page_of(boss, at="/campaigns/")
    page.on("dialog", lambda dialog: pytest.fail(f"the browser asked {dialog.message}"))
    page.set_viewport_size(DESK)
    page.goto(f"/campaigns/{campaign.pk}/")
    expect(page.locator("[data-live=connection]")).to_have_text("live")
    page.evaluate(MOVES)

    page.locator("#pause").press("Enter")
    expect(page.locator("#control-said")).to_have_text("Paused. Nobody is handed the SQL until it is resumed.")
    expect(page.locator("#pause")).to_have_text("Resume")
    expect(page.locator("#pause")).to_be_focused()
    expect(page.locator("#standing .first")).to_contain_text("Paused by boss. Nobody is handed the SQL")
    assert page.locator("#standing").inner_text().lower().count("paused") == 1
    assert page.evaluate("window.moved") == []
    for size, bottom in ((PHONE, BOTTOM), (DESK, LATEST)):
        page.set_viewport_size(size)
        page.goto(f"/campaigns/{campaign.pk}/")
        page.locator(ROW).first.wait_for()
        wait_until_true(page, EARLY, [ROW, bottom])
    page.evaluate("window.stays = true")

    page.locator("#notices summary").press("Enter")
    expect(page.get_by_text("another one")).to_be_visible()
    with page.expect_response(lambda response: response.url.endswith("/control/")):
        pass
    expect(page.get_by_text("another one")).to_be_visible()
    page.locator("#pause").press("Enter")
    expect(page.locator("#control-said")).to_have_text("Resumed: hosts are handed the SQL again.")

    page.fill("#widen-count", "1")
    page.locator("#widen").evaluate("(button) => (button.form.noValidate = true)")
    page.locator("#widen-count").press("Enter")
    expect(page.locator("#control-said")).to_have_text("1 host is not more than the 2 it is released to.")
    expect(page.locator("#widen-count")).to_have_value("1")
    page.locator("#release-all").press("Enter")
    dialog = page.get_by_role("dialog", name="Release it to all 8 hosts?")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#release-all")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    page.evaluate(AGREE_WHILE_IT_IS_DRAWN, f"/campaigns/{campaign.pk}/control/")
    expect(page.locator("#control-said")).to_have_text("Released to all hosts.")
    assert page.evaluate("window.stays")


def test_what_is_for_good_is_asked_first_though_its_button_was_drawn_this_moment(
    page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    campaign = elsewhere(make_begun, boss)
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/")
    expect(page.locator("[data-live=connection]")).to_have_text("live")

    page.evaluate(PRESS_WHAT_HTMX_DOES_NOT_KNOW, "release-all")

    expect(page.get_by_role("dialog", name="Release it to all 8 hosts?")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#release-all")).to_be_focused()
    page.reload()
    expect(page.locator("[data-live=released]")).to_have_text("2")


@pytest.mark.parametrize(
    ("control", "address", "said"),
    [
        ("#pause", "/pause/", "Paused. Nobody is handed the SQL until it is resumed."),
        ("#release-all", "/widen/", "Released to all hosts."),
    ],
)
def test_what_was_done_is_said_though_the_buttons_are_drawn_anew_before(
    control: str, address: str, said: str, page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    campaign = elsewhere(make_begun, boss)
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/")
    done = list[tuple[Route, Any]]()
    page.route(re.compile(f"{address}$"), lambda route: done.append((route, route.fetch())))

    with page.expect_request(re.compile(f"{address}$")):
        page.locator(control).press("Enter")
        if control == "#release-all":
            page.locator("#confirm-dialog .danger").press("Enter")
    for _ in range(3):  # the first may have been asked for before it was done, the second may not be drawn yet
        with page.expect_response(re.compile("/control/$")):
            pass
    route, answered = done[0]
    route.fulfill(response=answered)

    expect(page.locator("#control-said")).to_have_text(said)


def test_a_server_that_is_away_is_said_beside_the_control_and_asked_again(
    server: Server, page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    campaign = elsewhere(make_begun, boss)
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/")
    expect(page.locator("[data-live=connection]")).to_have_text("live")

    server.stop()
    page.locator("#pause").click()
    expect(page.locator("#control-said")).to_contain_text("The server does not answer. Nothing is lost")
    page.locator("#stop").press("Enter")
    page.fill("#stop-reason", "the wrong table")
    page.get_by_role("button", name="Stop the campaign").click()
    expect(page.locator("#stop-said")).to_contain_text("The server does not answer.")
    expect(page.locator("#stop-reason")).to_have_value("the wrong table")
    server.start()
    page.locator("#stop-said").get_by_role("button", name="Try again").click()

    expect(page.locator("#stop-dialog")).to_be_hidden()
    expect(page.locator("[data-live=ending]").first).to_contain_text("Stopping by boss: the wrong table")
    elsewhere(campaign.refresh_from_db)
    assert (campaign.ended_by, campaign.ended_reason) == ("boss", "the wrong table")


def wait_until_told(page: Page, told: list[str], status: str) -> None:
    patient_until = time.monotonic() + PATIENCE_MS / 1000
    while not any(f'"status":"{status}"' in frame for frame in told):
        assert time.monotonic() < patient_until, told
        page.wait_for_timeout(50)


def test_what_others_do_is_drawn_by_itself_and_at_once(page_of: PageOf, boss: User, elsewhere: Elsewhere) -> None:
    campaign = elsewhere(make_begun, boss)
    page = page_of(boss, at="/campaigns/")
    told: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: told.append(str(frame))))
    page.clock.install()
    page.goto(f"/campaigns/{campaign.pk}/")

    expect(page.locator("[data-live=connection]")).to_have_text("live")
    status, left = page.locator("[data-live=status]"), page.locator("[data-live=left]")
    pause_clock(page)  # no timer runs any more: the socket alone tells

    elsewhere(control.pause, campaign.pk, "somebody else")
    expect(page.locator("#standing .first")).to_contain_text("Paused by somebody else.")
    expect(status).to_have_text("paused")
    expect(page.locator("#pause")).to_have_text("Resume")
    wait_until_told(page, told, "paused")  # a pause that the socket did not see is resumed without a word of it
    elsewhere(control.resume, campaign.pk, "somebody else")
    expect(page.locator("#pause")).to_have_text("Pause")
    elsewhere(control.pause, campaign.pk, "somebody else")
    elsewhere(control.stop, campaign.pk, "somebody else", "enough")

    expect(page.locator("#standing .first")).to_contain_text("Stopping by somebody else: enough.")
    expect(status).to_have_text("stopping")
    expect(left).to_be_hidden()
    expect(page.locator("#stop")).to_have_count(0)


def test_a_campaign_that_is_deleted_while_it_is_looked_at_is_said(
    page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    campaign = elsewhere(lambda: end(make_begun(boss)))
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/")
    expect(page.locator("[data-live=connection]")).to_have_text("ended")

    elsewhere(campaign.delete)
    page.get_by_role("tab", name="Groups").click()

    expect(page.get_by_role("alert")).to_have_text(
        "This campaign was deleted, or you may not look at it any more: what is shown is old."
    )
    expect(page.locator("#again-menu")).to_have_count(0)
