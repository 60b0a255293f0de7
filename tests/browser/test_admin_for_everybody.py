"""The admin's pages, looked at by axe in both themes: all but what Django's and Unfold's own parts leave."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page

from campaigns.console import assets
from tests.browser.test_every_page import things

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
AXE = Path(assets.FRONTEND) / "node_modules" / "axe-core" / "axe.min.js"
# What is not ours to mend: the help of Django's field for choosing many, drawn by its script, and the column of
# Unfold's tables of members in which rows are deleted.
THEIRS = {"aria-prohibited-attr: .help-tooltip", "empty-table-header: th"}
PAGES = (
    "",
    "agents/host/",
    "agents/host/{host_id}/change/",
    "agents/label/add/",
    "campaigns/campaign/",
    "campaigns/campaign/{campaign_id}/change/",
    "campaigns/result/",
    "campaigns/query/{query_id}/change/",
    "auth/user/",
    "auth/group/add/",
)
VIOLATIONS = """(rules) =>
  axe.run(document, {resultTypes: ["violations"], ...(rules && {runOnly: rules})}).then(({violations}) =>
  violations.flatMap(({id, nodes}) => nodes.map(({target, html}) => html.includes("help-tooltip")
    ? `${id}: .help-tooltip` : html.startsWith("<th") ? `${id}: th` : `${id}: ${target}`)))"""


def test_the_admin_is_for_everybody(page_of: Callable[..., Page], elsewhere: Callable[..., Any]) -> None:
    ids = elsewhere(things)
    page = page_of(elsewhere(User.objects.get, username="boss"), at="/")

    faults = set()
    for path in PAGES:
        page.goto(f"/admin/{path.format(**ids)}")
        page.evaluate(AXE.read_text())
        for theme, rules in (("light", None), ("dark", ["color-contrast"])):
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
            found = page.evaluate(VIOLATIONS, rules)
            faults |= {f"{fault} at {path} {theme}" for fault in found if fault not in THEIRS}

    assert faults == set(), "\n".join(sorted(faults))
