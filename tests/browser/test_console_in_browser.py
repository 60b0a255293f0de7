"""The console as people use it: choose, run, watch, come back, stop. In Debian's chromium."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, Route, expect

from agents.models import Host, TableSchema
from campaigns import doorbell
from campaigns.models import Campaign, Query, Result, Target
from campaigns.states import State, Status
from campaigns.tokens import Access, ApiToken, Wanted
from tests.browser.conftest import Server, write_sql
from tests.factories import make_campaign, make_hosts, make_label, make_person, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PageOf = Callable[..., Page]
Elsewhere = Callable[..., Any]


def answer(
    campaign: Campaign,
    hosts: list[Host],
    rows: list[dict[str, Any]],
    state: State = State.ANSWERED,
    left: State = State.WAITING,
) -> None:
    """Store answers as the collector leaves them, and ring."""
    campaign.refresh_from_db()
    error = "" if state == State.ANSWERED else "no such table: processes"
    for host in hosts:
        campaign.last_seq += 1
        Result.objects.create(
            campaign=campaign,
            host=host,
            hostname=host.hostname,
            seq=campaign.last_seq,
            state=state,
            rows=rows,
            row_count=len(rows),
            error=error,
            received_at=timezone.now(),
        )
    Target.objects.filter(campaign=campaign, host__in=hosts).update(state=state, error=error, row_count=len(rows))
    campaign.move(left, state, len(hosts))
    campaign.count_rows += len(rows) * len(hosts)
    campaign.columns = list(dict.fromkeys([*campaign.columns, *(name for row in rows for name in row)]))
    campaign.save_counts("last_seq", "columns")
    doorbell.ring(campaign.pk)


def finish(campaign: Campaign) -> None:
    Campaign.objects.filter(pk=campaign.pk).update(status=Status.COMPLETED, ended_at=timezone.now())
    doorbell.ring(campaign.pk)


def rows_of(page: Page) -> Any:
    """Give the grid's lines; those that are still on their way do not count."""
    return page.locator(".rows-grid .ag-row:has([col-id='host of the row'] :is(a, bdi))")


def hosts_in(page: Page) -> Any:
    return rows_of(page).locator("[col-id='host of the row']")


def cells_in(row: Any) -> Any:
    return row.locator("[col-id^='column:']")


def headings(page: Page) -> Any:
    return page.locator(".rows-grid .ag-header-cell-text")


@pytest.fixture
def hosts(server: Server, elsewhere: Elsewhere) -> list[Host]:
    """Give five hosts, two of them in a label."""

    def make() -> list[Host]:
        made = make_hosts(5)
        make_label("web", *made[:2])
        return made

    made: list[Host] = elsewhere(make)
    return made


@pytest.fixture
def campaign(hosts: list[Host], operator: User, elsewhere: Elsewhere) -> Campaign:
    """Give a running campaign over the five."""
    made: Campaign = elsewhere(make_campaign, *hosts, by=operator, name="pids", sql="SELECT pid FROM processes")
    return made


def test_one_chooses_runs_and_watches(page_of: PageOf, operator: User, hosts: list[Host], elsewhere: Elsewhere) -> None:
    page = page_of(operator)
    run = page.locator("#run")
    expect(run).to_be_disabled()
    write_sql(page, "SELECT pid FROM processes")
    expect(run).to_be_disabled()

    page.check("[name=kind][value=labels]")
    expect(run).to_be_disabled()
    page.check("[name=labels][value=web]")
    expect(run).to_have_text("Run on 2 hosts")
    page.keyboard.press("Control+Enter")

    page.wait_for_url("**/campaigns/*/")
    expect(page.locator("[data-live=connection]")).to_have_text("live")
    expect(page.locator(".about")).to_contain_text("hosts labelled web")
    assert elsewhere(Campaign.objects.count) == 1


def test_who_may_run_flagged_queries_only_asks_a_host_those_again(
    page_of: PageOf, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    def make() -> User:
        for name in ("a", "b"):
            Query.objects.create(name=name, sql=f"SELECT '{name}'", observer_can_run=True)
        for text in ("SELECT 'b'", "SELECT 'other'"):
            answer(make_campaign(hosts[0], sql=text), hosts[:1], [{"x": "1"}])
        rights = ("campaigns.launch_flagged", "campaigns.view_campaign", "campaigns.view_query", "agents.view_host")
        return make_person(*rights)

    page = page_of(elsewhere(make), f"/hosts/{hosts[0].pk}/")
    field = page.locator("#host-sql")
    expect(field).to_have_value("SELECT 'a'")

    page.get_by_role("button", name="Ask again").click()  # there is one: the other SQL is not flagged
    expect(field).to_have_value("SELECT 'b'")
    field.press("Control+Enter")

    expect(page.locator(".host-answer code").first).to_have_text("SELECT 'b'")
    elsewhere(Query.objects.all().delete)
    page.reload()
    expect(page.get_by_text("there is none yet")).to_be_visible()
    expect(page.get_by_role("button", name="Run")).to_have_count(0)


def test_what_is_wrong_is_said_beside_the_field(page_of: PageOf, operator: User, hosts: list[Host]) -> None:
    page = page_of(operator)
    write_sql(page, "SELEC 1")
    page.check("[name=kind][value=all]")
    page.click("#run:enabled")

    expect(page.locator("#id_sql_error")).to_contain_text("syntax error")
    expect(page.locator("#id_sql")).to_have_value("SELEC 1")
    expect(page.locator("#run")).to_have_text("Run on 5 hosts")


def test_tables_and_columns_are_completed(page_of: PageOf, operator: User, elsewhere: Elsewhere) -> None:
    columns = [["pid", "BIGINT", False], ["parent", "BIGINT", False], ["passwords", "TEXT", True]]
    elsewhere(
        TableSchema.objects.create,
        platform="linux",
        osquery_version="5.23.0",
        tables={"processes": columns, "process_open_sockets": columns},
        learned_at=timezone.now(),
    )
    page = page_of(operator)

    write_sql(page, "SELECT 1 FROM proc")
    page.keyboard.type("e")
    offered = page.locator(".cm-tooltip-autocomplete li")
    expect(offered).to_have_text(["processesLinux", "process_open_socketsLinux"])
    offered.first.click()
    page.keyboard.type(" WHERE pa")
    expect(offered.first).to_have_text("parentprocesses · bigint")
    offered.first.click()

    expect(page.locator("#id_sql")).to_have_value("SELECT 1 FROM processes WHERE parent")
    expect(offered).to_have_count(0)
    page.keyboard.type(" AND pa")
    expect(offered.first).to_be_visible()
    page.keyboard.press("Control+Enter")
    expect(offered).to_have_count(0)  # nothing lies over what comes of it


def test_what_was_typed_before_the_tables_came_is_completed(
    page_of: PageOf, operator: User, elsewhere: Elsewhere
) -> None:
    tables = {"processes": [["pid", "BIGINT", False]]}
    elsewhere(TableSchema.objects.create, platform="linux", tables=tables, learned_at=timezone.now())
    page = page_of(operator, at="/account/")
    held = list[Route]()
    page.route("**/api/v1/schema/", lambda route: held.append(route))
    with page.expect_request("**/api/v1/schema/"):
        page.goto("/ask/")

    write_sql(page, "SELECT 1 FROM proce")
    with page.expect_response("**/api/v1/schema/"):
        for route in held:
            route.continue_()

    expect(page.locator(".cm-tooltip-autocomplete li")).to_have_text(["processesLinux"])


def test_a_saved_query_and_hosts_are_picked(
    page_of: PageOf, operator: User, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    elsewhere(Query.objects.create, name="Listening ports", sql="SELECT port FROM listening_ports")
    page = page_of(operator)

    page.get_by_text("Listening ports").click()
    page.locator("#find-targets").press_sequentially(hosts[3].hostname)
    page.locator(f"[data-add-host='{hosts[3].hostname}']").click()

    expect(page.locator("#id_sql")).to_have_value("SELECT port FROM listening_ports")
    expect(page.locator("#run")).to_have_text("Run on 1 host")


def test_answers_appear_as_they_arrive(
    page_of: PageOf, operator: User, observer: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    first, second = page_of(operator), page_of(observer)
    for page in (first, second):
        page.goto(f"/campaigns/{campaign.pk}/")
        expect(page.locator("[data-live=connection]")).to_have_text("live")

    elsewhere(answer, campaign, hosts[:2], [{"pid": "1", "name": "<img src=x onerror=alert(1)>"}])
    elsewhere(answer, campaign, hosts[2:3], [], State.FAILED)

    for page in (first, second):
        expect(rows_of(page)).to_have_count(2)
        expect(rows_of(page).first).to_contain_text("<img src=x")
        expect(page.locator("b[data-live=answered]").first).to_have_text("2")
        expect(page.locator(".tabs .count")).to_have_text("1")
        expect(page.locator("[data-live=open]")).to_have_text("2")
    first.reload()
    expect(rows_of(first)).to_have_count(2)
    expect(headings(first)).to_have_text(["host", "pid", "name"])


def test_columns_stand_in_the_order_of_the_sql(
    page_of: PageOf, operator: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    page = page_of(operator, f"/campaigns/{campaign.pk}/")
    expect(page.locator("[data-live=connection]")).to_have_text("live")

    elsewhere(answer, campaign, hosts[:1], [{"path": "/sbin/init", "pid": "1", "on_disk": "1"}])
    elsewhere(answer, campaign, hosts[1:2], [{"a": "late column", "path": "/bin/sh", "pid": "22"}])

    expect(rows_of(page)).to_have_count(2)
    expect(headings(page)).to_have_text(["host", "path", "pid", "on_disk", "a"])
    expect(cells_in(rows_of(page).first)).to_have_text(["/sbin/init", "1", "1", ""])
    expect(cells_in(rows_of(page).last)).to_have_text(["/bin/sh", "22", "", "late column"])


def test_a_viewer_that_lost_the_server_misses_nothing(
    server: Server, page_of: PageOf, operator: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    page = page_of(operator, f"/campaigns/{campaign.pk}/")
    elsewhere(answer, campaign, hosts[:1], [{"pid": "1"}])
    expect(rows_of(page)).to_have_count(1)

    server.stop()
    expect(page.locator("[data-live=connection]")).to_have_text("reconnecting…")
    elsewhere(answer, campaign, hosts[1:4], [{"pid": "2"}])
    server.start()

    expect(page.locator("[data-live=connection]")).to_have_text("live")
    expect(rows_of(page)).to_have_count(4)
    expect(hosts_in(page)).to_have_text([host.hostname for host in hosts[:4]])


def test_the_end_is_told_and_can_be_looked_at_later(
    page_of: PageOf, operator: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    page = page_of(operator, f"/campaigns/{campaign.pk}/")
    elsewhere(answer, campaign, hosts, [{"pid": "1"}])
    elsewhere(finish, campaign)

    expect(page.locator("[data-live=connection]")).to_have_text("ended")
    expect(page.locator("[data-live=status]")).to_have_text("completed")
    expect(page.get_by_role("link", name="Stop", exact=True)).to_be_hidden()
    page.reload()
    expect(page.locator("[data-live=connection]")).to_have_text("ended")
    expect(rows_of(page)).to_have_count(5)


def test_an_answer_that_comes_after_the_end_joins_the_page_that_is_open(
    page_of: PageOf, operator: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    page = page_of(operator, "/campaigns/")
    page.clock.install()
    page.goto(f"/campaigns/{campaign.pk}/")
    elsewhere(campaign.move, State.WAITING, State.STOPPED, 2)
    elsewhere(campaign.save_counts)
    elsewhere(answer, campaign, hosts[:3], [{"pid": "1"}])
    elsewhere(finish, campaign)
    expect(page.locator("[data-live=connection]")).to_have_text("ended")
    expect(page.locator("[data-live=answered]").first).to_have_text("3")

    elsewhere(answer, campaign, hosts[3:4], [{"pid": "2", "late": "yes"}], left=State.STOPPED)

    page.clock.run_for(11_000)
    expect(page.locator("[data-live=answered]").first).to_have_text("4")
    page.clock.run_for(3_000)
    expect(rows_of(page)).to_have_count(4)
    expect(headings(page)).to_contain_text(["late"])


def test_all_rows_are_there_by_scrolling_while_the_page_stays_small(
    page_of: PageOf, operator: User, server: Server, elsewhere: Elsewhere
) -> None:
    def make() -> Campaign:
        many = make_hosts(2_500)
        made = make_campaign(*many, by=operator)
        answer(made, many, [{"pid": "7"}, {"pid": "8"}])
        finish(made)
        return made

    campaign = elsewhere(make)
    page = page_of(operator, f"/campaigns/{campaign.pk}/")
    expect(page.locator("[data-live=shown]")).to_have_text("5,000 rows.")
    expect(rows_of(page).first).to_contain_text("7")

    page.locator(".rows-grid .ag-row [col-id='column:pid']").first.click(modifiers=["Shift"])
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("Control+End")

    expect(page.locator(".rows-grid .ag-row[row-index='4999']")).to_contain_text("8")
    expect(page.locator(".rows-grid [row-index='4999'] [col-id='column:pid']")).to_be_focused()
    assert page.evaluate("document.querySelectorAll('*').length") < 3_000


def test_rows_are_searched_sorted_and_filtered_on_the_server_and_the_address_keeps_it(
    page_of: PageOf, operator: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    for number, host in enumerate(hosts):
        elsewhere(answer, campaign, [host], [{"pid": str(9 + number), "name": "even" if number % 2 == 0 else "odd"}])
    page = page_of(operator, f"/campaigns/{campaign.pk}/")
    expect(rows_of(page)).to_have_count(5)

    page.fill("[data-rows-search]", "even")
    expect(page.locator("[data-live=shown]")).to_have_text("3 of 5 rows match.")
    headings(page).get_by_text("pid").click()
    headings(page).get_by_text("pid").click()
    expect(cells_in(rows_of(page)).filter(has_not_text="even")).to_have_text(["13", "11", "9"])
    page.wait_for_url("**/?search=even&order=-pid")
    page.reload()
    expect(cells_in(rows_of(page)).filter(has_not_text="even")).to_have_text(["13", "11", "9"])

    page.locator(".ag-row [col-id='column:pid']").first.click()
    page.get_by_role("button", name="Only rows with this value").click()
    expect(page.locator("[data-live=shown]")).to_have_text("1 of 5 rows match.")
    expect(page).to_have_url(re.compile("where=pid%3A13"))
    exported = page.locator("[data-rows-export]").get_attribute("href") or ""
    assert page.request.get(exported).text().splitlines()[1:] == [
        f"{hosts[4].hostname},{hosts[4].pk},13,even,false,false"
    ]
    page.get_by_role("button", name="Remove the filter pid = 13").click()
    expect(rows_of(page)).to_have_count(3)


def test_a_cell_is_opened_and_copied_by_keyboard_with_marks_for_what_cannot_be_seen(
    page_of: PageOf, operator: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    hostile = "<b>x</b>\u202e\u200b" + "y" * 100_000
    elsewhere(answer, campaign, hosts[:1], [{"json": '{"a": [1]}', "text": hostile, "": "no name"}])
    page = page_of(operator, f"/campaigns/{campaign.pk}/")
    cells = cells_in(rows_of(page).first)
    expect(cells.nth(1)).to_contain_text("<b>x</b>⟨U+202E⟩⟨U+200B⟩y")
    assert len(cells.nth(1).inner_text()) < 400
    expect(headings(page)).to_have_text(["host", "json", "text", "(no name)"])

    hosts_in(page).first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    value = page.locator(".cell-dialog pre")
    expect(value).to_be_focused()
    assert len(value.inner_text()) > 100_000
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(value).to_contain_text('"a": [')


def test_hosts_are_found_by_state_and_name(
    page_of: PageOf, operator: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    elsewhere(answer, campaign, hosts[:1], [], State.FAILED)
    page = page_of(operator, f"/campaigns/{campaign.pk}/")
    lines = page.locator("#panel-hosts tbody tr")

    page.locator("[data-show-state=failed]").click()
    expect(lines).to_have_count(1)
    page.select_option("#hosts-state", "")
    expect(lines).to_have_count(5)
    page.locator("#hosts-search").press_sequentially(hosts[4].hostname)
    expect(lines).to_have_count(1)
    elsewhere(answer, campaign, hosts[4:], [])
    expect(lines.first).to_contain_text("answered")
    expect(page.locator("#hosts-search")).to_have_value(hosts[4].hostname)

    page.get_by_role("tab", name="Errors").click()
    page.locator("#panel-errors").get_by_role("link", name="1 host", exact=True).click()
    expect(lines).to_have_count(1)
    expect(lines.first).to_contain_text(hosts[0].hostname)


def test_stop_asks_first(page_of: PageOf, operator: User, campaign: Campaign, elsewhere: Elsewhere) -> None:
    page = page_of(operator, f"/campaigns/{campaign.pk}/")

    page.get_by_role("link", name="Stop", exact=True).click()
    page.get_by_role("button", name="Keep it running").click()
    page.get_by_role("link", name="Stop", exact=True).click()
    page.fill("#stop-reason", "wrong table")
    page.get_by_role("button", name="Stop the campaign").click()

    expect(page.locator("[data-live=ending]").first).to_contain_text("Stopping by operator: wrong table")
    expect(page.get_by_role("link", name="Stop", exact=True)).to_have_count(0)
    elsewhere(campaign.refresh_from_db)
    assert campaign.ended_by == "operator"


def test_rights_that_are_taken_away_end_the_view(
    page_of: PageOf, observer: User, campaign: Campaign, elsewhere: Elsewhere
) -> None:
    page = page_of(observer, f"/campaigns/{campaign.pk}/")
    expect(page.locator("[data-live=connection]")).to_have_text("live")

    elsewhere(observer.user_permissions.clear)

    expect(page.locator("[data-live=connection]")).to_contain_text("you may not look")


def test_the_admin_follows_the_same_campaign(
    page_of: PageOf, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    page = page_of(elsewhere(make_user, "boss", admin=True))
    page.goto(f"/admin/campaigns/campaign/{campaign.pk}/change/")
    expect(page.locator("[data-live=connection]")).to_have_text("live")

    elsewhere(answer, campaign, hosts[:3], [{"pid": "1"}])

    expect(rows_of(page)).to_have_count(3)
    expect(page.locator("b[data-live=answered]").first).to_have_text("3")


def test_a_campaign_can_be_read_without_scripts(
    page_of: PageOf, operator: User, campaign: Campaign, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    elsewhere(answer, campaign, hosts[:2], [{"pid": "1"}])
    page = page_of(operator, java_script_enabled=False)
    page.goto(f"/campaigns/{campaign.pk}/")

    expect(page.locator("table.rows tbody tr")).to_have_count(2)
    page.get_by_role("tab", name="Hosts").click()
    expect(page.locator("#panel-hosts tbody tr")).to_have_count(5)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_the_window(
    page_of: PageOf,
    operator: User,
    campaign: Campaign,
    hosts: list[Host],
    elsewhere: Elsewhere,
    width: int,
    scheme: str,
) -> None:
    elsewhere(answer, campaign, hosts[:2], [{"cmdline": "x" * 400, "a_column_with_a_long_name": "1" * 90}])
    wanted = Wanted("a program of ours with a long name", access=Access.READ)
    elsewhere(ApiToken.objects.make, operator, wanted)
    page = page_of(operator, color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 844})

    tabs = [f"/campaigns/{campaign.pk}/?tab={tab}" for tab in ("rows", "hosts", "errors")]
    for path in ["/", "/ask/", "/hosts/", "/campaigns/", "/tokens/", *tabs, f"/campaigns/{campaign.pk}/stop/"]:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
