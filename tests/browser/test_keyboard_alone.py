"""Schedules, labels, secrets, the kill switch, hooks and tokens without a mouse: all is said, nobody loses the place.

Where a form leads back to its page, the keyboard stands at what was refused, at what was pressed, or at what took its
place; what is for good is never what Enter meets first.
"""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from agents.models import EnrollSecret, Label
from campaigns.hooks.models import Hook
from campaigns.launching import kill_switch
from campaigns.models import Query
from campaigns.recurring.models import Schedule
from campaigns.tokens import ApiToken
from tests.browser.test_keyboard import tab_to
from tests.factories import make_host

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

HAS_FOCUS = ":focus"


class Keys:
    """Somebody without a mouse."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def press(self, words: str) -> None:
        """Go by Tab to what begins with these words, and press Enter there."""
        tab_to(self._page, lambda focused: focused["words"].startswith(words))
        self._page.keyboard.press("Enter")

    def write(self, words: str, text: str) -> None:
        """Go by Tab to the field, and write into it instead of what is there."""
        tab_to(self._page, lambda focused: focused["words"].startswith(words))
        self._page.keyboard.press("Control+a")
        self._page.keyboard.insert_text(text)

    def send(self, words: str = "") -> None:
        """Press Enter there, or where the keyboard stands, and be on the page that it leads to."""
        if words:
            tab_to(self._page, lambda focused: focused["words"].startswith(words))
        with self._page.expect_navigation():
            self._page.keyboard.press("Enter")

    def is_told(self, sentence: str, role: Any = "status") -> None:
        """See a sentence that is told to ears as well."""
        expect(self._page.get_by_role(role).filter(has_text=sentence).first).to_be_visible()

    def stands_at(self, words: str) -> None:
        """See what has the focus."""
        focused = self._page.locator(HAS_FOCUS)
        expect(focused).to_have_accessible_name(words)

    def mend(self, name: str, text: str, words: str = "") -> None:
        """Stand at the field that was refused, write into it instead of what is there, and send it again."""
        self.stands_at(name)
        self._page.keyboard.press("Control+a")
        self._page.keyboard.insert_text(text)
        self.send(words)

    def is_asked(self, question: str, first: str) -> None:
        """See a dialog, in which the keyboard stands at what leaves all as it is; Escape gives it back."""
        dialog = self._page.get_by_role("dialog", name=question)
        expect(dialog).to_be_visible()
        self.stands_at(first)
        opener = self._page.evaluate("() => document.activeElement.closest('dialog').id")
        self._page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        if opener != "confirm-dialog":
            expect(self._page.locator(HAS_FOCUS)).to_have_attribute("data-open-dialog", opener)
        self._page.keyboard.press("Enter")
        expect(dialog).to_be_visible()


@pytest.fixture(params=[1440, 390])
def by_keys(request: Any, page_of: Callable[..., Page], boss: User) -> Callable[[str], tuple[Page, Keys]]:
    """Give a page at a width, and the keyboard in front of it."""

    def open_at(address: str) -> tuple[Page, Keys]:
        page = page_of(boss, at=address)
        page.set_viewport_size({"width": request.param, "height": 844})
        return page, Keys(page)

    return open_at


def test_a_schedule_is_made_changed_paused_and_deleted(
    by_keys: Callable[[str], tuple[Page, Keys]], boss: User, elsewhere: Callable[..., Any]
) -> None:
    query = elsewhere(lambda: Query.objects.create(name="disks", sql="SELECT 1 AS a", created_by=boss))
    page, keys = by_keys(f"/queries/{query.pk}/")
    keys.send("Let it run by itself")
    keys.write("Crontab", "61 * * * *")
    keys.is_told("Bad minute", "alert")
    keys.send()
    keys.is_told("Bad minute", "alert")
    keys.mend("Crontab", "1 * * * *")
    keys.is_told("The query disks runs by itself now.")

    keys.send("Disable")
    keys.is_told("It is disabled")
    keys.stands_at("Enable")
    keys.send()
    keys.is_told("It runs by itself again")
    keys.stands_at("Disable")
    keys.write("Seconds each run may take", "5")
    keys.send()
    keys.is_told("below the minimum of 10 seconds", "alert")
    keys.mend("Seconds each run may take", "300")
    keys.is_told("The schedule is kept.")
    keys.stands_at("Seconds each run may take")

    keys.press("Delete…")
    keys.is_asked("Delete this schedule?", "Leave it")
    page.keyboard.press("Enter")
    keys.stands_at("Delete…")
    page.keyboard.press("Enter")
    keys.send("Delete")
    keys.is_told("The schedule is deleted.")
    assert not elsewhere(Schedule.objects.exists)


def test_labels_are_made_by_hand_and_by_sql_and_hosts_go_in_and_out(
    by_keys: Callable[[str], tuple[Page, Keys]], elsewhere: Callable[..., Any]
) -> None:
    elsewhere(lambda: [make_host(hostname=name) for name in ("alpha", "beta", "gamma")])
    page, keys = by_keys("/labels/")
    keys.send("New label")
    keys.write("Name", "by hand")
    keys.write("Put hosts in", "alpha, nobody")
    keys.send("Make it")
    keys.is_told("unknown host: 'nobody'", "alert")
    keys.mend("Put hosts in optional", "alpha, beta, gamma", "Make it")
    keys.is_told("The label by hand is kept.")

    keys.send("Take out alpha")
    keys.is_told("Taken out of the label by hand: alpha.")
    keys.stands_at("Take out beta")
    tab_to(page, lambda focused: focused["words"] == "Take out gamma")
    keys.send()
    keys.is_told("Taken out of the label by hand: gamma.")
    keys.stands_at("Take out beta")
    keys.send()
    expect(page.locator(HAS_FOCUS)).to_have_text("Taken out of the label by hand: beta.")
    keys.press("Change it, or put hosts in")
    keys.write("Put hosts in", "beta")
    keys.send("Keep it")
    keys.is_told("The label by hand is kept.")
    keys.stands_at("Change it, or put hosts in")
    keys.press("Delete…")
    keys.is_asked("Delete the label by hand?", "Leave it")
    keys.send("Delete")
    keys.is_told("The label by hand is deleted.")

    keys.send("New label")
    keys.write("Name", "by SQL")
    keys.write("SQL on Linux", "SELEC 1")
    keys.send("Make it")
    keys.is_told("syntax error", "alert")
    keys.mend("SQL on Linux optional", "SELECT 1", "Make it")
    keys.is_told("The label by SQL is kept.")
    assert elsewhere(lambda: Label.objects.get(name="by SQL").queries.count()) == 1


def test_a_secret_and_the_kill_switch(
    by_keys: Callable[[str], tuple[Page, Keys]], elsewhere: Callable[..., Any]
) -> None:
    page, keys = by_keys("/settings/")
    keys.press("New enroll secret")
    keys.send("Make it")
    keys.is_told("This field is required.", "alert")
    keys.stands_at("Name")
    page.keyboard.type("laptops")
    keys.send()
    keys.is_told("The enroll secret laptops is made.")
    keys.press("Copy")
    expect(page.locator(HAS_FOCUS)).to_have_attribute("aria-live", "polite")
    keys.press("Revoke")
    keys.is_asked("Revoke the enroll secret laptops?", "Leave it")
    keys.send("Revoke")
    keys.is_told("Revoked the enroll secret laptops.")
    expect(page.locator(HAS_FOCUS)).to_contain_text("Revoked the enroll secret laptops.")
    assert elsewhere(EnrollSecret.objects.get).revoked_at is not None

    tab_to(page, lambda focused: focused["words"].startswith("Switch all live"))
    for _ in range(3):
        page.keyboard.down("Enter")  # held, which opens a dialog and sends nothing
    page.keyboard.up("Enter")
    keys.is_asked("Switch all live queries off?", "Why (shown to whoever launches)")
    assert not elsewhere(kill_switch.sentence)
    page.keyboard.type("a fire")
    keys.send()
    keys.is_told("Live queries are off")
    keys.stands_at("Switch live queries on again")
    keys.send()
    keys.is_told("Live queries are on.")
    keys.stands_at("Switch all live queries off…")


def test_a_hook_and_a_token(by_keys: Callable[[str], tuple[Page, Keys]], elsewhere: Callable[..., Any]) -> None:
    page, keys = by_keys("/settings/hooks/")
    keys.send("Make it")
    keys.stands_at("What it is for")
    page.keyboard.type("tickets")
    keys.write("Address", "https://93.184.216.34/")
    keys.send()
    keys.is_told("The hook tickets is made.")
    keys.is_told("It is shown this once")
    keys.send("Stop")
    keys.is_told("The hook tickets is stopped")
    keys.stands_at("Start")
    keys.send()
    keys.is_told("The hook tickets is told again")
    keys.stands_at("Stop")
    keys.send("New secret")
    keys.is_told("It is shown this once")
    keys.stands_at("New secret")
    keys.press("Delete…")
    keys.is_asked("Delete the hook tickets?", "Leave it")
    keys.send("Delete")
    keys.is_told("The hook tickets is deleted.")
    assert not elsewhere(Hook.objects.exists)

    page.goto("/tokens/")
    keys.send("Make a token")
    keys.stands_at("What it is for")
    page.keyboard.type("reports")
    keys.send()
    keys.is_told("It is shown this once")
    keys.press("Revoke reports")
    keys.is_asked("Revoke the token reports?", "Leave it")
    keys.send("Revoke")
    keys.is_told("The token is revoked")
    expect(page.locator(HAS_FOCUS)).to_contain_text("The token is revoked")
    assert not elsewhere(ApiToken.objects.exists)
