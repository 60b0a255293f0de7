"""The main path without a mouse: log in, ask, run, see rows, stop. What has the focus is seen at every step."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect

from agents.models import EnrollSecret, Host
from campaigns import doorbell
from campaigns.models import Campaign
from campaigns.running.targeting import write_range
from tests.browser.conftest import PASSWORD, Server
from tests.factories import answer, make_campaign, make_hosts, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

MOST_TABS = 80
FOCUSED = """() => {
  const part = document.activeElement;
  const around = [part, part.closest(".cm-editor"), part.closest("label"), part.nextElementSibling].filter(Boolean);
  const seen = around.map((shown) => getComputedStyle(shown)).some(({outlineStyle, outlineWidth}) =>
    outlineStyle !== "none" && parseFloat(outlineWidth) > 0);
  const words = part.labels?.[0]?.textContent ?? part.getAttribute("aria-label") ?? part.textContent;
  return {words: words.trim().replace(/\\s+/g, " "), name: part.name ?? "", value: part.value ?? "", seen,
          isBody: part === document.body, isEditor: part.matches(".cm-content")};
}"""


def tab_to(page: Page, is_it: Callable[[dict[str, Any]], bool]) -> None:
    """Press Tab until the right thing has the focus; on the way everything that has it shows that it has."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        assert focused["seen"] or focused["isBody"], f"nobody sees that {focused} has the focus"
        if is_it(focused):
            return
    pytest.fail(f"{MOST_TABS} times Tab and it was not reached")


def make_operator() -> User:
    user = make_user("boss", admin=True)
    user.set_password(PASSWORD)
    user.save()
    make_hosts(3)
    return user


def answer_one() -> None:
    """Write the targets, as the worker would, and let one of the hosts answer."""
    campaign = Campaign.objects.latest("pk")
    for number in list(campaign.ranges.values_list("number", flat=True)):
        write_range(campaign.pk, number)
    campaign.refresh_from_db()
    answer(campaign, Host.objects.earliest("pk"), {"name": "the-only-row"})
    doorbell.ring(campaign.pk)


def test_the_main_path_needs_no_mouse(server: Server, chromium: Browser, elsewhere: Callable[..., Any]) -> None:
    elsewhere(make_operator)
    context = chromium.new_context(base_url=server.url, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto("/login/?next=/ask/")
    page.keyboard.type("boss")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/ask/")

    page.get_by_role("textbox", name="Ask in SQL").wait_for()
    tab_to(page, lambda focused: focused["isEditor"])
    page.keyboard.insert_text("SELECT name FROM processes")
    expect(page.locator("#id_sql")).to_have_value("SELECT name FROM processes")
    page.keyboard.press("Escape")
    tab_to(page, lambda focused: focused["name"] == "kind")
    page.keyboard.press("Space")
    expect(page.locator("#run")).to_be_enabled()
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/campaigns/*/")

    elsewhere(answer_one)
    expect(page.get_by_text("the-only-row").first).to_be_visible()

    tab_to(page, lambda focused: focused["words"].startswith("Stop"))
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    tab_to(page, lambda focused: focused["words"].startswith("Stop"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("Stopping by boss").first).to_be_visible()
    assert elsewhere(Campaign.objects.latest, "pk").ended_by == "boss"
    context.close()


def test_menus_and_questions_give_the_focus_back(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    elsewhere(EnrollSecret.objects.offer, "a | b", "a secret for this test")
    page = page_of(boss, at="/settings/")
    menu, opened = page.locator(".who > summary"), page.locator(".who[open]")

    menu.press("Enter")
    tab_to(page, lambda focused: focused["words"] == "dark")
    page.keyboard.press("Escape")
    expect(opened).to_have_count(0)
    expect(menu).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, lambda focused: focused["words"] == "Log out")
    page.keyboard.press("Tab")
    expect(opened).to_have_count(0)

    revoke = page.get_by_role("button", name="Revoke", exact=True)
    revoke.press("Enter")
    question = page.get_by_role("dialog", name="Revoke the enroll secret a | b?")
    expect(question).to_contain_text("No machine joins with it any more")
    expect(question.get_by_role("button", name="Leave it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(revoke).to_be_focused()
    assert elsewhere(EnrollSecret.objects.get).revoked_at is None


def test_tab_passes_the_grid_and_arrows_walk_in_it(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    def make() -> Campaign:
        campaign = make_campaign(*make_hosts(1), sql="SELECT pid, name FROM processes")
        answer(campaign, Host.objects.get(), *[{"pid": f"{pid}", "name": "init"} for pid in range(50)])
        return campaign

    page = page_of(boss, at=f"/campaigns/{elsewhere(make).pk}/")
    page.locator(".rows-grid [col-id='column:pid']").get_by_text("3", exact=True).wait_for()

    page.get_by_role("link", name="Export as seen").focus()
    tab_to(page, lambda focused: focused["words"] == "host")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    focused = page.evaluate(FOCUSED)
    assert (focused["words"], focused["seen"]) == ("0", True)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="pid")).to_be_visible()
    page.keyboard.press("Escape")
    assert page.evaluate(FOCUSED)["words"] == "0"
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED)["words"] == "What the states mean"
