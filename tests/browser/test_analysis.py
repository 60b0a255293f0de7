"""The tab Analyse in a browser: typed, run, drawn, sent, kept with the query; and two runs side by side."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from agents.models import Host
from campaigns.answers.models import QueryView
from campaigns.models import Campaign, Query
from tests.browser.conftest import Server, wait_until_true
from tests.factories import answer, end, make_campaign, make_hosts, make_user

pytestmark = [pytest.mark.lengthy, pytest.mark.browser, pytest.mark.django_db(transaction=True)]
SQL = "SELECT version, count(*) AS hosts FROM answers GROUP BY 1 ORDER BY 2 DESC"
CHART = "Chart.getChart(document.querySelector('[data-chart] canvas'))"


def make_two_runs() -> tuple[Campaign, Campaign]:
    """Give two runs of a saved query, of which the second found another version on one of three hosts."""
    query, hosts, runs = Query.objects.create(name="ssl", sql="SELECT 1"), make_hosts(3), []
    for newest in ("3.0.18", "3.0.19"):
        campaign = make_campaign(*hosts)
        Campaign.objects.filter(pk=campaign.pk).update(query=query)
        for host, version in zip(hosts, (newest, "3.0.18", "3.0.18"), strict=True):
            answer(campaign, host, {"name": "openssl", "version": version, "big": "9007199254740993", "host": "x"})
        runs.append(end(campaign))
    return runs[0], runs[1]


def make_running() -> tuple[Host, Campaign]:
    """Give a host, and a run of a query with a view which nobody has answered yet."""
    query, host = Query.objects.create(name="ssl", sql="SELECT 1"), make_hosts(1)[0]
    query.views.create(name="versions", sql=SQL)
    campaign = make_campaign(host, timeout=600)
    Campaign.objects.filter(pk=campaign.pk).update(query=query)
    return host, Campaign.objects.get(pk=campaign.pk)


def ask(page: Page, sql: str) -> None:
    """Run SQL over what came back."""
    editor = page.get_by_role("textbox", name="SQL over what came back")
    editor.press("Control+a")
    page.keyboard.insert_text(sql)
    editor.press("Control+Enter")


def test_an_analysis_is_typed_drawn_sent_and_kept(
    page_of: Callable[..., Page], server: Server, elsewhere: Callable[..., Any]
) -> None:
    boss: User = elsewhere(make_user, "boss", admin=True)
    before, after = elsewhere(make_two_runs)
    page = page_of(boss, at=f"/campaigns/{after.pk}/")
    panel, said = page.locator("#panel-analyse"), page.locator("#panel-analyse [data-said]")

    page.locator("#tab-analyse").click()
    expect(said).to_contain_text("3 rows in")
    expect(panel.locator(".ag-row").first).to_contain_text("9007199254740993")
    editor = panel.get_by_role("textbox", name="SQL over what came back")
    ask(page, "SELECT nope FROM answers")
    expect(said).to_contain_text('Referenced column "nope" not found')
    editor.press("Control+a")
    page.keyboard.type("SELECT answers.hos")
    page.locator(".cm-tooltip-autocomplete").get_by_text("row.host", exact=True).click()
    expect(editor).to_have_text('SELECT answers."row.host"')
    ask(page, SQL)
    expect(said).to_contain_text("2 rows in")
    expect(panel.locator(".ag-row").first).to_contain_text("3.0.18")
    expect(panel.locator("[data-chart]")).to_be_visible()
    sent = page.url
    panel.get_by_label("Name of the view").fill("versions")
    panel.get_by_role("button", name="Keep as a view").click()
    expect(said).to_contain_text("Kept as versions")

    page.goto(sent)
    expect(said).to_contain_text("2 rows in")
    page.goto(f"/campaigns/{before.pk}/?tab=analyse")  # another run shows the view at once
    expect(said).to_contain_text("1 row in")
    assert elsewhere(lambda: QueryView.objects.get().sql) == SQL
    page.goto(f"/campaigns/{after.pk}/")
    page.get_by_role("link", name="Compare…").click()
    expect(page.locator("table.compare ins")).to_have_text("3.0.19")
    expect(page.locator("table.compare del")).to_have_text("3.0.18")

    page.goto(f"/queries/{elsewhere(Query.objects.get).pk}/")
    page.get_by_role("button", name="Delete…").last.click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("The view versions is deleted")).to_be_visible()
    assert not elsewhere(QueryView.objects.exists)

    page.get_by_role("link", name="Last known answers").click()
    page.get_by_text("Ask them in SQL").click()
    expect(page.locator("[data-said]")).to_contain_text("3 rows in")
    expect(page.locator(".ag-row").first).to_contain_text("9007199254740993")
    page.get_by_label("One line for each").select_option("version")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name="3.0.18").click()
    expect(page.locator("table.groups tbody tr")).to_have_count(2)


def test_what_is_no_number_is_not_drawn_as_one(
    page_of: Callable[..., Page], server: Server, elsewhere: Callable[..., Any]
) -> None:
    boss: User = elsewhere(make_user, "boss", admin=True)
    _, after = elsewhere(make_two_runs)
    page = page_of(boss, at=f"/campaigns/{after.pk}/?tab=analyse")
    panel, said = page.locator("#panel-analyse"), page.locator("#panel-analyse [data-said]")
    canvas = panel.locator("[data-chart]")
    expect(said).to_contain_text("3 rows in")

    ask(
        page,
        "FROM (VALUES ('a', INTERVAL 1 DAY, [1], {'n': 1}), ('b', INTERVAL 2 DAY, [2], {'n': 2})) AS told (k, i, l, s)",
    )
    expect(said).to_contain_text("2 rows in")
    expect(panel.locator(".ag-row").first).to_contain_text("1 day")
    expect(canvas).to_be_hidden()

    days = ", ".join(f"(DATE '2026-01-0{day}', {many})" for day, many in ((1, "2"), (2, "NULL"), (3, "4")))
    ask(page, f"FROM (VALUES {days}) AS told (day, n)")
    expect(said).to_contain_text("3 rows in")
    expect(canvas).to_be_visible()
    wait_until_true(page, f"window.Chart && Boolean({CHART})")
    assert page.evaluate(f"{CHART}.data.datasets[0].data") == [2, None, 4]


def test_what_an_earlier_question_gave_is_pale_while_a_newer_one_fails(
    page_of: Callable[..., Page], server: Server, elsewhere: Callable[..., Any]
) -> None:
    boss: User = elsewhere(make_user, "boss", admin=True)
    _, after = elsewhere(make_two_runs)
    page = page_of(boss, at=f"/campaigns/{after.pk}/?tab=analyse")
    panel, said = page.locator("#panel-analyse"), page.locator("#panel-analyse [data-said]")
    editor = panel.get_by_role("textbox", name="SQL over what came back")
    expect(said).to_contain_text("3 rows in")

    ask(page, "SELECT nope FROM answers")
    expect(said).to_contain_text("Below is still what the question before gave.")
    expect(panel.locator("[data-grid]")).to_have_css("opacity", "0.4")

    editor.press("Control+a")
    page.keyboard.insert_text(SQL)
    editor.press("Control+Enter")
    expect(said).to_contain_text("2 rows in")
    expect(panel.locator("[data-grid]")).to_have_css("opacity", "1")


def test_a_view_is_right_as_soon_as_its_columns_come(
    page_of: Callable[..., Page], server: Server, elsewhere: Callable[..., Any]
) -> None:
    boss: User = elsewhere(make_user, "boss", admin=True)
    host, campaign = elsewhere(make_running)

    page = page_of(boss, at=f"/campaigns/{campaign.pk}/?tab=analyse")
    said = page.locator("#panel-analyse [data-said]")
    expect(said).to_contain_text("they come with the first row")
    editor = page.locator("#panel-analyse").get_by_role("textbox", name="SQL over what came back")
    editor.press("Control+a")
    page.keyboard.insert_text("SELECT unfinished")
    elsewhere(answer, campaign, host, {"version": "3.0.18"})

    expect(said).to_contain_text("1 row in")
