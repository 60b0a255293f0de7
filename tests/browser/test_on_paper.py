"""Pages on paper: legible whatever colours are chosen, without what is clicked, and true of what they leave out."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from campaigns.models import Campaign
from tests.factories import answer, end, make_campaign, make_host

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LIGHTNESS = """() => {
  const pixel = document.createElement("canvas").getContext("2d");
  pixel.fillStyle = getComputedStyle(document.body).color;
  pixel.fillRect(0, 0, 1, 1);
  return Math.max(...pixel.getImageData(0, 0, 1, 1).data.slice(0, 3));
}"""
CLICKED = "nav a:visible, button:visible, a.button:visible, summary.button:visible, .ag-floating-filter:visible"


@pytest.fixture
def campaign(boss: User, elsewhere: Callable[..., Any]) -> Campaign:
    """Give a campaign that has ended with an answer."""

    def make() -> Campaign:
        host = make_host()
        made = make_campaign(host, by=boss, sql="SELECT name FROM processes")
        answer(made, host, {"name": "init"})
        return end(made)

    return elsewhere(make)


def test_paper_is_legible_and_says_which_rows_it_has(
    page_of: Callable[..., Page], boss: User, campaign: Campaign
) -> None:
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/")
    page.locator(".ag-cell", has_text="init").wait_for()
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    partly = page.get_by_text("On paper are the rows that were on the screen.")
    moment = page.locator(".about time[title]").first
    said = "() => getComputedStyle(document.querySelector('.about time[title]'), '::after').content"

    assert page.evaluate(LIGHTNESS) > 200
    assert page.locator(CLICKED).count() > 5
    expect(partly).to_be_hidden()
    page.emulate_media(media="print")

    assert page.evaluate(LIGHTNESS) < 60
    assert page.locator(CLICKED).count() == 0
    expect(partly).to_be_visible()
    expect(page.locator(".ag-cell", has_text="init")).to_be_visible()
    assert page.evaluate(said) == f'" ({moment.get_attribute("title")})"'


def test_no_page_prints_what_is_to_be_clicked(page_of: Callable[..., Page], boss: User, campaign: Campaign) -> None:
    page = page_of(boss, at="/account/")
    page.emulate_media(media="print")
    faults = []
    for address in ("/", "/hosts/", "/campaigns/", "/labels/", "/queries/", "/audit/", "/nothing/"):
        page.goto(address)
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        faults += [f"{address}: {words}" for words in page.locator(CLICKED).all_inner_texts()]
        if page.evaluate(LIGHTNESS) > 60:
            faults.append(f"{address}: light words on white")

    assert faults == []
