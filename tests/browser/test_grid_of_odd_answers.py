"""The grid over answers as odd as hosts can send them: hundreds of columns, giants, names that hide or move."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from agents.models import Host
from campaigns.models import Campaign
from tests.browser.test_console_in_browser import Elsewhere, PageOf, answer, cells_in, headings, rows_of
from tests.browser.test_every_page import faults_of
from tests.factories import make_campaign, make_host, make_hosts

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
MOST_ELEMENTS = 3_000
COLUMNS = [f"column {number:03}" for number in range(497)]
NOVEL = "It was a bright cold day in April " * 7
ODD = ["<img src=x onerror=document.title=1>", "\u202eevil\u200b", NOVEL.strip()[:256]]
GIANT = "<b>giant</b>" + "x" * 2**20


def elements(page: Page) -> int:
    count: int = page.evaluate("document.querySelectorAll('*').length")
    return count


@pytest.fixture
def campaign(server: object, operator: User, elsewhere: Elsewhere) -> Campaign:
    """Give a campaign that three hosts answered with 500 columns, two of them of one name."""

    def make() -> Campaign:
        hosts: list[Host] = [make_host(hostname="twin"), make_host(hostname="twin"), *make_hosts(1, hostname="\u202ex")]
        made = make_campaign(*hosts, by=operator, sql="SELECT * FROM everything")
        row = {name: f"value of {name}" for name in [*COLUMNS, *ODD]}
        answer(made, hosts, [{**row, COLUMNS[0]: GIANT}, row])
        return made

    made: Campaign = elsewhere(make)
    return made


def test_five_hundred_columns_are_a_grid_like_any_other(
    page_of: PageOf, operator: User, campaign: Campaign, elsewhere: Callable[..., Any]
) -> None:
    page = page_of(operator, f"/campaigns/{campaign.pk}/")
    expect(rows_of(page)).to_have_count(6)
    title = page.title().rpartition("% · ")[2]  # before it the script says how far it is, once it runs
    assert elements(page) < MOST_ELEMENTS
    assert len(cells_in(rows_of(page).first).first.inner_text()) < 400

    menu = page.locator("[data-rows-columns]")
    menu.locator("summary").click()
    expect(menu).to_contain_text("and 400 more: type a part of their name")
    assert elements(page) < MOST_ELEMENTS
    menu.get_by_role("button", name="Hide all").click()
    expect(headings(page)).to_have_text(["host"])
    find = menu.get_by_label("Find columns")
    find.fill("column 496")
    menu.get_by_role("button", name="Show all").click()
    expect(headings(page)).to_have_text(["host", COLUMNS[496]])
    find.fill("bright cold")
    menu.get_by_role("checkbox").check()
    find.fill("evil")
    menu.get_by_role("checkbox").check()
    find.fill("<img")
    menu.get_by_role("checkbox").check()
    expect(headings(page).filter(has_text="⟨U+202E⟩evil⟨U+200B⟩")).to_have_count(1)
    assert len(page.url) < 2_000
    assert faults_of(page) == []

    page.reload()
    expect(rows_of(page)).to_have_count(6)
    expect(headings(page).nth(1)).to_contain_text(COLUMNS[496])
    expect(headings(page).first).to_have_text("host")
    assert page.title().endswith(title)
    expect(page.locator(".rows-grid img, .rows-grid b")).to_have_count(0)
    expect(page.locator(".rows-grid [col-id='host of the row'] a").last).to_have_text("⟨U+202E⟩x")
    bar_over_the_rows = page.locator(".rows-grid .ag-scrollbar-invisible .ag-body-vertical-scroll-viewport")
    expect(bar_over_the_rows).to_have_css("background-color", "rgba(0, 0, 0, 0)")


def test_five_hundred_columns_cost_a_page_nothing_that_begins_with_another_tab(
    page_of: PageOf, operator: User, campaign: Campaign
) -> None:
    page = page_of(operator, f"/campaigns/{campaign.pk}/?tab=hosts")
    expect(page.locator("#panel-rows [data-live=shown]")).to_have_text("6 rows.")
    assert elements(page) < MOST_ELEMENTS

    page.get_by_role("tab", name="Answers").click()
    expect(rows_of(page)).to_have_count(6)
    expect(headings(page).first).to_have_text("host")
    expect(rows_of(page).last).to_contain_text(f"value of {COLUMNS[0]}")
    assert elements(page) < MOST_ELEMENTS


def test_a_cell_of_a_megabyte_is_cut_and_opened_whole(page_of: PageOf, operator: User, campaign: Campaign) -> None:
    page = page_of(operator, f"/campaigns/{campaign.pk}/?shown={COLUMNS[0]}")
    cells_in(rows_of(page).first).first.click()

    whole = page.locator(".cell-dialog pre")
    expect(whole).to_contain_text("<b>giant</b>x")
    assert whole.evaluate("(part) => part.textContent") == GIANT
    assert elements(page) < MOST_ELEMENTS


def test_who_copies_rows_hears_that_long_cells_are_cut(page_of: PageOf, operator: User, campaign: Campaign) -> None:
    page = page_of(operator, f"/campaigns/{campaign.pk}/?shown={COLUMNS[0]}", permissions=["clipboard-write"])
    expect(rows_of(page)).to_have_count(6)
    said = page.locator("[data-rows-said]")
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(said).to_have_text("6 rows were copied, of long cells 10,000 characters; the export has all.")

    page.goto(f"/campaigns/{campaign.pk}/?shown={COLUMNS[1]}")
    expect(rows_of(page)).to_have_count(6)
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(said).to_have_text("6 rows were copied.")


def test_columns_called_as_what_every_object_has_are_columns(
    page_of: PageOf, operator: User, server: object, elsewhere: Callable[..., Any]
) -> None:
    odd = ["constructor", "toString", "__proto__", "hasOwnProperty"]

    def make() -> Campaign:
        hosts = make_hosts(2)
        made = make_campaign(*hosts, by=operator)
        answer(made, hosts[:1], [{"name": "plain"}])
        answer(made, hosts[1:], [{"name": "odd", **{column: f"cell of {column}" for column in odd}}])
        return made

    page = page_of(operator, f"/campaigns/{elsewhere(make).pk}/")

    expect(rows_of(page)).to_have_count(2)
    expect(page.locator("#panel-rows [data-live=shown]")).to_have_text("2 rows.")
    for column in odd:
        cells = page.locator(f".rows-grid .ag-row [col-id='column:{column}']")
        expect(cells).to_have_text(["", f"cell of {column}"])
    rows_of(page).first.locator("[col-id='column:constructor']").click()
    expect(page.locator(".cell-dialog pre")).to_have_text("")


def test_hosts_are_found_by_name_beside_a_column_of_that_name(
    page_of: PageOf, operator: User, server: object, elsewhere: Callable[..., Any]
) -> None:
    def make() -> Campaign:
        hosts = [make_host(hostname="web-1"), make_host(hostname="db-1")]
        made = make_campaign(*hosts, by=operator, sql="SELECT host FROM logged_in_users")
        answer(made, hosts, [{"host": "10.0.0.1"}, {"host": "10.0.0.2"}])
        return made

    page = page_of(operator, f"/campaigns/{elsewhere(make).pk}/")
    shown = page.locator("#panel-rows [data-live=shown]")
    expect(shown).to_have_text("4 rows.")
    expect(headings(page)).to_have_text(["host", "row.host"])

    hosts, columns = page.get_by_role("textbox", name="Filter Input").all()
    hosts.fill("web")
    expect(shown).to_have_text("2 of 4 rows match.")
    columns.fill("0.2")
    expect(shown).to_have_text("1 of 4 rows match.")
    expect(page.locator(".chip")).to_have_text(["host contains web ✕", "row.host contains 0.2 ✕"])
    headings(page).first.click()
    expect(page).to_have_url(re.compile("order=host.hostname"))
    page.reload()
    expect(shown).to_have_text("1 of 4 rows match.")
    expect(rows_of(page)).to_contain_text(["10.0.0.2"])


def test_a_filtered_view_waits_for_the_columns_of_the_first_answer(
    page_of: PageOf, operator: User, server: object, elsewhere: Callable[..., Any]
) -> None:
    def make() -> tuple[Campaign, list[Host]]:
        hosts = make_hosts(2)
        return make_campaign(*hosts, by=operator), hosts

    made, hosts = elsewhere(make)
    view = "contains=name:sys&where=nowhere:1&order=-pid&hidden=size"
    page = page_of(operator, f"/campaigns/{made.pk}/?{view}")
    chips, shown = page.locator(".chip"), page.locator("#panel-rows [data-live=shown]")
    expect(chips).to_have_text(["nowhere:1 (no such column yet) ✕", "name:sys (no such column yet) ✕"])
    assert page.url.endswith(f"?{view}")

    rows = [{"pid": str(pid), "name": name, "size": "1"} for pid, name in ((9, "systemd"), (10, "sysstat"), (7, "sh"))]
    elsewhere(answer, made, hosts[:1], rows)

    expect(shown).to_have_text("2 of 3 rows match.")
    expect(chips).to_have_text(["name contains sys ✕", "nowhere:1 (no such column) ✕"])
    expect(page.locator(".rows-grid .ag-row [col-id='column:pid']")).to_have_text(["10", "9"])
    expect(headings(page)).to_have_text(["host", "pid", "name"])
    chips.last.click()
    expect(chips).to_have_count(1)
    expect(page).not_to_have_url(re.compile("nowhere"))
    expect(page).to_have_url(re.compile("hidden=size"))


def test_json_in_a_cell_is_laid_out_as_it_was_written(
    page_of: PageOf, operator: User, server: object, elsewhere: Callable[..., Any]
) -> None:
    """Numbers of more than 53 bits, and names that stand twice, would be others once read and written anew."""
    text = '{"id": 12345678901234567890, "one": [1.0, {}, [ ]], "one": "a\\"b:,["}'

    def make() -> Campaign:
        hosts = make_hosts(1)
        made = make_campaign(*hosts, by=operator)
        answer(made, hosts, [{"cell": text}])
        return made

    page = page_of(operator, f"/campaigns/{elsewhere(make).pk}/")
    cells_in(rows_of(page).first).first.click()

    lines = ["{", '  "id": 12345678901234567890,', '  "one": [', "    1.0,", "    {},", "    []", "  ],"]
    laid_out = page.locator(".cell-dialog pre").evaluate("(part) => part.textContent")
    assert laid_out.split("\n") == [*lines, '  "one": "a\\"b:,["', "}"]


def test_a_cell_that_comes_late_is_not_shown_as_another(page_of: PageOf, operator: User, campaign: Campaign) -> None:
    page = page_of(operator, f"/campaigns/{campaign.pk}/?shown={COLUMNS[0]}")
    one_cell = re.compile(r"/rows/\d+/\d+/")
    page.route(one_cell, lambda _: None)  # it stays under way
    giant, plain = cells_in(rows_of(page).nth(0)).first, cells_in(rows_of(page).nth(1)).first
    with page.expect_request(one_cell):
        giant.click()
    page.keyboard.press("Escape")

    with page.expect_event("requestfailed", lambda request: bool(one_cell.search(request.url))):
        plain.click()

    expect(page.locator(".cell-dialog pre")).to_have_text(f"value of {COLUMNS[0]}")
    expect(page.locator(".cell-dialog [role=status]")).to_have_text("")


def test_hosts_of_one_name_are_told_apart_in_the_grid(page_of: PageOf, operator: User, campaign: Campaign) -> None:
    page = page_of(operator, f"/campaigns/{campaign.pk}/")
    expect(rows_of(page)).to_have_count(6)

    cells = page.locator(".rows-grid .ag-row [col-id='host of the row']")
    expect(cells.filter(has_text=re.compile("."))).to_have_count(6)
    names = cells.all_inner_texts()

    twins = {name for name in names if name.startswith("twin")}
    assert len(twins) == 2
    assert all(re.fullmatch(r"twin #\d+", name) for name in twins)
    assert "⟨U+202E⟩x" in names
