"""What a phone shows of forms: every choice, none cut off."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from agents.models import EnrollSecret
from campaigns.hooks.models import Hook
from campaigns.tokens import ApiToken
from tests.browser.test_every_page import PHONE
from tests.factories import make_label

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

NARROW = 320  # pixels: a page enlarged four times on a desk
IN_SIGHT = """it => {
    const box = it.getBoundingClientRect(), y = box.top + box.height / 2;
    return [box.left + 3, box.right - 3].every(x => it.contains(document.elementFromPoint(x, y)));
}"""
CUT_OFF = "boxes => boxes.filter(box => box.scrollHeight > box.clientHeight).length"


def test_a_handful_of_choices_is_seen_whole(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    hook = elsewhere(lambda: Hook.objects.create(name="siem", address="https://1.1.1.1/", owner=boss))
    elsewhere(lambda: [make_label(f"a label that is number {number}") for number in range(6)])
    page = page_of(boss, at="/account/")
    page.set_viewport_size(PHONE)

    for address in (f"/settings/hooks/{hook.pk}/", "/tokens/"):
        page.goto(address)
        expect(page.locator(".checks").first).to_be_visible()
        assert page.locator(".checks").evaluate_all(CUT_OFF) == 0, address


@pytest.mark.parametrize("width", [PHONE["width"], NARROW])
def test_what_is_to_be_done_with_a_line_is_in_sight(
    width: int, page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    elsewhere(lambda: EnrollSecret.objects.offer("of the office", "a secret of sixteen"))
    elsewhere(lambda: ApiToken.objects.create(user=boss, name="of a program"))
    page = page_of(boss, at="/account/")
    page.set_viewport_size({**PHONE, "width": width})

    for address, does in (("/account/", "Set up an app"), ("/tokens/", "Revoke"), ("/settings/", "Revoke")):
        page.goto(address)
        doing = page.locator("td:last-child").get_by_text(does).first
        doing.scroll_into_view_if_needed()
        page.locator(".scroll").evaluate_all("them => them.forEach(it => it.scrollTo(0, 0))")  # as one finds it
        assert doing.evaluate(IN_SIGHT), address
    page.goto("/sessions/")
    assert page.get_by_role("button", name="End all").first.inner_text().endswith(" of boss")  # with a blank before it
