"""What an operator does by hand: makes columns wider, leaves the palette, and is asked before what is for good."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from campaigns.models import Campaign
from campaigns.tokens import ApiToken
from tests.factories import answer, make_campaign, make_host, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def make_things() -> tuple[User, Campaign]:
    boss = make_user("boss", admin=True)
    host = make_host()
    campaign = make_campaign(host, by=boss, sql="SELECT name, path FROM processes")
    answer(campaign, host, {"name": "init", "path": "/sbin/init"})
    return boss, campaign


def test_columns_stay_as_wide_the_palette_is_left_at_once_and_what_is_for_good_is_asked_first(
    page_of: Callable[..., Page], elsewhere: Callable[..., Any]
) -> None:
    boss, campaign = elsewhere(make_things)
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/")
    heading = page.locator(".ag-header-cell", has_text="name")
    page.locator(".ag-cell", has_text="init").first.wait_for()

    before = width_of(heading)
    edge = heading.locator(".ag-header-cell-resize").bounding_box()
    assert edge is not None
    page.mouse.move(edge["x"] + edge["width"] / 2, edge["y"] + 5)
    page.mouse.down()
    page.mouse.move(edge["x"] + 120, edge["y"] + 5, steps=6)
    page.mouse.up()
    wide = width_of(heading)
    heading.focus()
    page.keyboard.press("Alt+ArrowRight")
    wider = width_of(heading)
    page.reload()
    page.locator(".ag-cell", has_text="init").first.wait_for()

    assert before + 80 < wide < wider
    assert abs(width_of(heading) - wide) <= 3  # a step of the keyboard

    page.keyboard.press("Control+k")
    page.keyboard.type("boss")
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()

    elsewhere(lambda: ApiToken.objects.create(user=User.objects.get(pk=boss.pk), name="reports"))
    page.goto("/tokens/")
    page.get_by_role("button", name="Revoke reports").click()
    expect(page.get_by_role("dialog", name="Revoke the token reports?")).to_be_visible()
    page.get_by_role("button", name="Leave it").click()
    expect(page.get_by_role("button", name="Revoke reports")).to_be_focused()
    assert elsewhere(ApiToken.objects.count) == 1
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("You have no token.")).to_be_visible()
    assert elsewhere(ApiToken.objects.count) == 0


def width_of(part: Any) -> float:
    return float(part.bounding_box()["width"])
