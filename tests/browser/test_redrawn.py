"""Parts of pages that are drawn anew by themselves take nothing out of their reader's hands."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from agents.models import Host
from campaigns.launching import approvals
from campaigns.launching.launch import Order, launch
from campaigns.launching.models import ApprovalRule
from campaigns.models import Campaign
from campaigns.running.targeting import write_range
from campaigns.states import State
from tests.browser.test_campaign_head import CANARY
from tests.browser.test_gone import ask
from tests.factories import answer, end, make_campaign, make_hosts, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PageOf = Callable[..., Page]
Elsewhere = Callable[..., Any]
Change = Callable[[], Any]


class World:
    """A campaign of which two hosts answered and one failed, one that ended before it, and one that waits for a yes."""

    def __init__(self, boss: User) -> None:
        self.hosts: list[Host] = make_hosts(9)
        self.before = make_campaign(*self.hosts[:8], by=boss)
        answer(self.before, self.hosts[0], {"pid": "2"})
        end(self.before)
        self.campaign = make_campaign(*self.hosts[:8], by=boss, sql="SELECT pid FROM processes", rollout=CANARY)
        self.campaign.warnings = ["a long sentence that warns of something " * 6, "another one"]
        self.campaign.save(update_fields=["warnings"])
        answer(self.campaign, self.hosts[0], {"pid": "1"}, wall_ms=5, user_ms=5)
        answer(self.campaign, self.hosts[1], {"pid": "2"}, wall_ms=5, user_ms=5)
        answer(self.campaign, self.hosts[2], state=State.FAILED, error="no such table: processes")
        self._left = iter(self.hosts[3:])
        ApprovalRule.objects.create(group=None, hosts_above=8)
        self.waits = launch(Order("SELECT 1", {"all": True}), boss)
        self._bob = make_user("bob", admin=True)

    def go_on(self) -> None:
        """Let another host answer, with rows of its own, and another fail as one did."""
        answer(self.campaign, next(self._left), {"pid": "1"}, wall_ms=9, user_ms=9)
        answer(self.campaign, next(self._left), state=State.FAILED, error="no such table: processes")

    def decide(self) -> None:
        """Let somebody else say no to what waits."""
        approvals.reject(self.waits.pk, self._bob, "too many")


PLACES: dict[str, tuple[str, str]] = {
    "/": ("#under-way", "a >> nth=0"),
    "/campaigns/": ("#history", "a.row >> nth=1"),
    "/campaigns/{campaign}/compare/?with={before}": ("#compared", "td a >> nth=0"),
    "/approvals/{waits}/": ("#approval", "pre[aria-label=SQL]"),
    "/campaigns/{campaign}/": ("#control", "summary"),
    "/campaigns/{campaign}/?tab=groups": ("#panel-groups", "#groups-list a >> nth=0"),
    "/campaigns/{campaign}/?tab=hosts": ("#panel-hosts", "tbody th a >> nth=0"),
    "/campaigns/{campaign}/?tab=errors": ("#panel-errors", ".error-text"),
    "/campaigns/{campaign}/?tab=cost": ("#panel-cost", "li a >> nth=0"),
    "/campaigns/{campaign}/?tab=about": ("#panel-about", "[aria-label=Audit]"),
}


WHAT = (
    "part => [part.localName, part.getAttribute('href') ?? part.getAttribute('aria-label') ?? part.textContent.trim()]"
)


def wait_until_drawn_anew(page: Page, old: Any) -> None:
    """Let the page's time go by until what was there is not there any more."""
    for _ in range(20):
        page.clock.run_for(1_000)
        if not old.count():
            return
    expect(old).to_have_count(0)


@pytest.mark.parametrize("address", PLACES)
def test_the_keyboard_stays_where_it_stood(address: str, page_of: PageOf, boss: User, elsewhere: Elsewhere) -> None:
    world = elsewhere(World, boss)
    page = page_of(boss, "/account/")
    page.clock.install()
    page.goto(address.format(campaign=world.campaign.pk, before=world.before.pk, waits=world.waits.pk))
    part, which = PLACES[address]
    here = page.locator(part).locator(which)
    here.focus()
    before = here.evaluate(WHAT)
    here.evaluate("part => part.classList.add('old')")

    elsewhere(world.decide if "approvals" in address else world.go_on)
    wait_until_drawn_anew(page, page.locator(".old"))

    now = page.evaluate_handle("document.activeElement")
    assert now.evaluate(WHAT) == before


def test_the_keyboard_stays_beside_an_answer_that_is_waited_for(
    page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    host = elsewhere(make_hosts, 1)[0]
    page = page_of(boss, f"/hosts/{host.pk}/")
    ask(page)
    elsewhere(lambda: write_range(Campaign.objects.get().pk, 0))
    link = page.locator(".host-answer").get_by_role("link", name="ask the fleet this")
    link.focus()
    page.evaluate("""() => {
        window.drawn = 0;
        new MutationObserver(() => window.drawn++).observe(document.getElementById("host-answers"), {childList: true});
    }""")

    for _ in range(3):
        with page.expect_response("**/hosts/*/ask/*/"):
            pass
    page.evaluate("1")
    assert page.evaluate("window.drawn") == 0  # or who hears the page is told twice a second

    elsewhere(lambda: answer(Campaign.objects.get(), host, {"1": "1"}))
    expect(page.locator(".host-answer")).to_contain_text("1 row")
    expect(link).to_be_focused()


def test_what_is_typed_ticked_and_unfolded_stays(page_of: PageOf, boss: User, elsewhere: Elsewhere) -> None:
    world = elsewhere(World, boss)
    page = page_of(boss, "/account/")
    page.clock.install()
    page.goto(f"/campaigns/{world.campaign.pk}/")
    page.locator("#notices summary").press("Enter")
    page.locator("#widen-count").fill("5")
    page.locator("#widen-count").press("Tab")
    expect(page.locator("#widen")).to_be_focused()
    page.locator("#standing > *").first.evaluate("part => part.classList.add('old')")

    wait_until_drawn_anew(page, page.locator(".old"))

    expect(page.locator("#widen-count")).to_have_value("5")
    expect(page.locator("#widen")).to_be_focused()
    expect(page.locator("#notices")).to_have_attribute("open", "")
    page.locator("#widen").press("Enter")
    expect(page.locator("#control-said")).to_have_text("Widened: 5 hosts in all may be asked.")
    expect(page.locator("#widen-count")).to_have_value("")


def test_what_is_pressed_as_soon_as_it_is_drawn_is_done_in_place(
    page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    world = elsewhere(World, boss)
    page = page_of(boss, "/account/")
    page.clock.install()
    page.goto(f"/campaigns/{world.campaign.pk}/")
    page.locator("#widen-count").fill("5")
    page.locator("#widen-count").press("Tab")
    page.locator("#standing form").evaluate("part => part.classList.add('old')")
    page.evaluate("""() => new MutationObserver((_, observer) => {
        if (document.querySelector("#standing .old")) return;
        observer.disconnect();
        document.getElementById("widen").click();
    }).observe(document.getElementById("standing").parentElement, {childList: true, subtree: true})""")

    wait_until_drawn_anew(page, page.locator(".old"))

    expect(page.locator("#control-said")).to_have_text("Widened: 5 hosts in all may be asked.")


def test_a_reason_that_is_being_typed_outlives_what_others_do(
    page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    world = elsewhere(World, make_user_of(elsewhere))
    page = page_of(boss, "/account/")
    page.clock.install()
    page.goto(f"/approvals/{world.waits.pk}/")
    page.locator("#id_reason").fill("not on a Friday")
    page.locator("#approval h1").evaluate("part => part.classList.add('old')")
    page.locator("#approval-seen").evaluate("field => field.value = 'something else'")

    wait_until_drawn_anew(page, page.locator(".old"))

    expect(page.locator("#id_reason")).to_have_value("not on a Friday")
    expect(page.locator("#id_reason")).to_be_focused()


def make_user_of(elsewhere: Elsewhere) -> User:
    made: User = elsewhere(make_user, "ana", admin=True)
    return made
