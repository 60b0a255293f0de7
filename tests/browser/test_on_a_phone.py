"""What a phone shows of forms: every choice, none cut off."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from campaigns.hooks.models import Hook
from tests.browser.test_every_page import PHONE
from tests.factories import make_label

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

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
