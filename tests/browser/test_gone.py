"""A part of a page that follows something says when that was deleted, or may be seen no more, and asks no more."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone
from playwright.sync_api import Page, expect

from agents.models import Host
from campaigns.launching.models import Approval
from campaigns.models import Campaign
from tests.factories import answer, make_campaign, make_host

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PageOf = Callable[..., Page]
Elsewhere = Callable[..., Any]
DELETED = "This was deleted, or you may not look at it any more."
FORBIDDEN = "You may not look at this any more."


def ask(page: Page) -> None:
    editor = page.locator("#host-ask").get_by_role("textbox")
    editor.press("Control+a")
    page.keyboard.insert_text("SELECT 1")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".host-answer")).to_contain_text("the host is offline")


def asked_of_one(page: Page, host: Host, _: Campaign) -> str:
    page.goto(f"/hosts/{host.pk}/")
    ask(page)
    return ".host-answer"


def approval(page: Page, _: Host, campaign: Campaign) -> str:
    page.goto(f"/approvals/{campaign.pk}/")
    return "#approval"


def comparison(page: Page, _: Host, campaign: Campaign) -> str:
    page.goto(f"/campaigns/{campaign.pk}/compare/?with={campaign.pk - 1}")
    return "#compared"


def two_runs(host: Host) -> Campaign:
    make_campaign(host)
    campaign = make_campaign(host)
    Approval.objects.create(campaign=campaign, why=["any host at all"], digest="d", expires_at=timezone.now())
    answer(campaign, host, {"pid": "1"})
    return campaign


@pytest.mark.parametrize("follow", [asked_of_one, approval, comparison])
def test_what_was_deleted_is_said_once_and_what_was_seen_stays(
    follow: Callable[..., str], page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    host = elsewhere(make_host)
    page = page_of(boss, "/account/")
    page.clock.install()
    followed = page.locator(follow(page, host, elsewhere(two_runs, host)))
    seen = followed.inner_text()

    elsewhere(lambda: Campaign.objects.all().delete())

    expect(followed.get_by_role("alert")).to_contain_text(DELETED)
    assert followed.inner_text().endswith(seen.splitlines()[-1])
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(60_000)
    assert [url for url in asked if "troubles" not in url and "switch" not in url] == []


def test_a_part_that_its_page_has_no_more_is_not_taken_away_without_a_word(
    page_of: PageOf, boss: User, elsewhere: Elsewhere
) -> None:
    host = elsewhere(make_host)
    elsewhere(make_campaign, host, name="of somebody")
    page = page_of(boss, "/")
    under_way = page.locator("#under-way")
    expect(under_way).to_contain_text("of somebody")

    elsewhere(lambda: boss.user_permissions.add(Permission.objects.get(codename="view_host")))
    elsewhere(lambda: User.objects.filter(pk=boss.pk).update(is_superuser=False))

    expect(under_way.get_by_role("alert")).to_contain_text("This is not shown to you any more")
    expect(under_way).to_contain_text("of somebody")


def test_who_may_look_no_more_is_told(page_of: PageOf, boss: User, elsewhere: Elsewhere) -> None:
    host = elsewhere(make_host)
    page = page_of(boss, f"/hosts/{host.pk}/")
    ask(page)

    elsewhere(lambda: User.objects.filter(pk=boss.pk).update(is_superuser=False))

    expect(page.locator(".host-answer").get_by_role("alert")).to_contain_text(FORBIDDEN)
    expect(page.locator(".host-answer")).to_contain_text("SELECT 1")
