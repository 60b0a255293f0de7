"""The policies of the admin and of the API's docs, in chromium: nothing that they need is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from playwright.sync_api import Page

from tests.factories import make_host, make_user

pytestmark = pytest.mark.browser


def admins_pages() -> list[str]:
    """Give the admin's start page, the list of every model, and some forms."""
    models = [f"{model._meta.app_label}/{model._meta.model_name}/" for model in admin.site._registry]
    added = [f"{model}/add/" for model in ("auth/user", "auth/group", "agents/label", "campaigns/query")]
    return ["", "password_change/", *models, *added]


def test_admin_and_docs_run_under_their_policies(page_of: Callable[..., Page], elsewhere: Callable[..., Any]) -> None:
    elsewhere(make_host)
    page = page_of(elsewhere(make_user, "boss", admin=True))
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{page.url} {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(f"{page.url} {error}"))

    for address in admins_pages():
        page.goto(f"/admin/{address}")
    page.goto("/admin/agents/host/")
    page.locator("td input[type=checkbox]").first.check()
    page.locator("#changelist-actions[style*=width]").wait_for()  # Alpine gives it the list's
    page.goto("/api/docs/")
    page.get_by_text("/api/v1/campaigns/", exact=True).first.wait_for()
    page.wait_for_load_state("networkidle")
    page.locator("#operations-status-status_retrieve .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".responses-inner .microlight").first.wait_for()
    page.get_by_role("button", name="Schema").first.click()
    page.get_by_role("button", name="Authorize").first.click()
    page.locator(".dialog-ux").wait_for()

    assert said == []
