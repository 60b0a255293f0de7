"""The Ask page in a browser: checked at the place of the error, tables beside it, targets picked, queries kept."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from playwright.sync_api import Page, Route, expect

from agents.models import Host
from campaigns.models import Campaign, PinnedQuery, Query
from tests.browser.conftest import Server, write_sql
from tests.factories import learn, make_campaign, make_host, make_hosts, make_label

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PageOf = Callable[..., Page]
Elsewhere = Callable[..., Any]


@pytest.fixture
def hosts(server: Server, elsewhere: Elsewhere) -> list[Host]:
    def make() -> list[Host]:
        made = make_hosts(3, osquery_version="5.23.0")
        made += [make_host(hostname="twin", osquery_version="5.23.0") for _ in range(2)]
        make_label("web", *made[:2])
        for number in range(60):
            make_label(f"label {number}")
        learn("linux", "processes", "users")
        return made

    made: list[Host] = elsewhere(make)
    return made


def test_what_is_wrong_is_shown_at_its_place_while_one_types(
    page_of: PageOf, operator: User, hosts: list[Host]
) -> None:
    page = page_of(operator)
    write_sql(page, "SELECT 'ü', name\nFROM processes WHERE nope = 1")

    wrong = page.locator(".cm-lintRange-error")
    expect(wrong).to_have_text("nope")
    expect(page.locator("#sql-said")).to_have_text("Line 2, column 22: no such column: nope")
    wrong.hover()
    expect(page.locator(".cm-tooltip-lint")).to_contain_text("no such column: nope")

    write_sql(page, "SELECT name FROM processes")
    expect(page.locator(".cm-lintRange")).to_have_count(0)
    expect(page.locator("#sql-said")).to_be_empty()
    write_sql(page, "SELECT name, path, user FROM processes")  # columns are no words of SQL
    weights = [page.locator(".cm-line span", has_text=word).count() for word in ("SELECT", "FROM", "path", "user")]
    assert weights == [1, 1, 0, 0]


def test_text_over_a_selection_breaks_no_policy(page_of: PageOf, operator: User, hosts: list[Host]) -> None:
    page = page_of(operator)
    editor = page.get_by_role("textbox", name="Ask in SQL")
    write_sql(page, "SELECT 'some text' FROM processes -- why")
    write_sql(page, "SELECT 1")
    editor.press("Control+a")
    page.keyboard.type("SELECT 'x")

    expect(page.locator("#id_sql")).to_have_value("SELECT 'x'")
    editor.press("Control+a")
    page.keyboard.type("(")
    expect(page.locator("#id_sql")).to_have_value("(SELECT 'x')")
    editor.press("Control+z")
    expect(page.locator("#id_sql")).to_have_value("SELECT 'x'")
    assert page.locator(".cm-content [style]").count() == 0


def test_sql_is_laid_out(page_of: PageOf, operator: User, hosts: list[Host]) -> None:
    page = page_of(operator)
    write_sql(page, "select name, pid from processes where pid = 1")

    page.click("#format")
    expect(page.locator("#id_sql")).to_have_value("SELECT\n    name,\n    pid\nFROM\n    processes\nWHERE\n    pid = 1")
    checks = list[Route]()
    page.route("**/ask/check/", lambda route: checks.append(route))  # its sentence would come in this one's place
    write_sql(page, "select ((( from")
    page.get_by_role("textbox", name="Ask in SQL").press("Shift+Alt+f")
    expect(page.locator("#sql-said")).to_contain_text("cannot be formatted")
    expect(page.locator("#id_sql")).to_have_value("select ((( from")


def test_tables_are_looked_through_and_asked(page_of: PageOf, operator: User, hosts: list[Host]) -> None:
    page = page_of(operator)
    tables = page.locator("#table-list details")
    expect(tables).to_have_count(2)

    page.fill("#find-tables", "proc")
    expect(tables).to_have_count(1)
    expect(tables).to_contain_text("Linux")
    page.click("text=Ask for 20 rows")
    expect(page.locator("#id_sql")).to_have_value(re.compile(r"^SELECT .*name.*\nFROM processes\nLIMIT 20$"))
    page.locator(".column", has_text="name").first.click()
    expect(page.locator("#id_sql")).to_have_value(re.compile("name$|^name"))
    page.fill("#find-tables", "no such thing")
    expect(page.locator("#table-list")).to_have_text("No table and no column is like this.")


def test_targets_are_found_and_picked(page_of: PageOf, operator: User, hosts: list[Host]) -> None:
    page = page_of(operator)
    run, search = page.locator("#run"), page.locator("#find-targets")
    write_sql(page, "SELECT name FROM processes")

    search.fill("web")
    page.locator("[data-pick=labels]").click()
    expect(run).to_have_text("Run on 2 hosts")
    search.fill("linux")
    page.locator("[data-pick=platforms]").click()
    expect(page.locator("[name=kind][value=labels]")).to_be_checked()
    expect(page.locator("[name=platforms][value=linux]")).to_be_checked()
    search.fill("twin")
    expect(page.locator("[data-pick=hosts]")).to_have_count(2)
    page.locator("[data-pick=hosts]").first.click()
    expect(run).to_have_text("Run on 1 host")
    expect(page.locator("#estimate .named")).to_contain_text(f"#{hosts[3].pk}")
    page.locator("[data-pick=hosts]").last.click()
    expect(run).to_have_text("Run on 2 hosts")


def test_ticked_labels_stay_while_others_are_looked_for(page_of: PageOf, operator: User, hosts: list[Host]) -> None:
    page = page_of(operator)
    page.check("[name=kind][value=labels]")
    page.fill("#find-labels", "web")
    page.check("[name=labels][value=web]")
    page.fill("#find-labels", "label 59")
    page.check("[name=labels][value='label 59']")

    expect(page.locator("[name=labels]:checked")).to_have_count(2)
    expect(page.locator("#estimate")).to_contain_text("2 hosts")


def test_the_cost_follows_every_change_of_the_target(page_of: PageOf, operator: User, hosts: list[Host]) -> None:
    page = page_of(operator)
    write_sql(page, "SELECT name FROM processes")
    page.check("[name=kind][value=all]")
    run = page.locator("#run")
    expect(run).to_have_text("Run on 5 hosts")

    page.click("summary:has-text('Leave labels out')")
    page.fill("#find-exclude_labels", "web")
    page.check("[name=exclude_labels][value=web]")
    expect(run).to_have_text("Run on 3 hosts")
    page.fill("#id_sample", "2")
    page.select_option("#id_sample_unit", "count")
    expect(run).to_have_text("Run on 2 hosts")
    page.check("#id_online")
    expect(page.locator("#estimate .figure")).to_have_text("0")
    expect(run).to_be_disabled()


def test_sql_is_saved_pinned_and_taken_over(
    page_of: PageOf, operator: User, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    def allow() -> None:
        operator.user_permissions.add(Permission.objects.get(codename="add_query"))
        Query.objects.create(name="Another", sql="SELECT name FROM users")

    elsewhere(allow)
    page = page_of(operator)
    write_sql(page, "SELECT name FROM processes")

    page.click("#save-as")
    page.fill("#save-name", "Processes")
    page.click("#save-form button[type=submit]")
    expect(page.locator("#save-body")).to_contain_text("Saved as Processes")
    page.click("#save-body >> text=Close")
    queries = page.locator("#query-list .pick")
    expect(queries).to_have_count(2)
    page.get_by_role("button", name="Pin Processes").click()
    expect(queries.first).to_contain_text("Processes")
    assert elsewhere(PinnedQuery.objects.count) == 1

    page.locator("#query-list a", has_text="Another").click()
    expect(page.locator("#id_sql")).to_have_value("SELECT name FROM users")
    assert page.url.endswith("/ask/")


def test_ask_again_runs_on_the_same_hosts(
    page_of: PageOf, operator: User, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    def earlier() -> Campaign:
        made = make_campaign(*hosts[:2], by=operator, sql="SELECT name FROM processes")
        made.target = {"labels": ["web"], "hosts": [hosts[3].pk]}
        made.save()
        return made

    campaign = elsewhere(earlier)
    page = page_of(operator, at=f"/ask/?campaign={campaign.pk}")

    expect(page.locator("[data-kind=kept]")).to_contain_text(f"hosts labelled web and host #{hosts[3].pk}")
    expect(page.locator("#run")).to_have_text("Run on 3 hosts")
    page.get_by_role("textbox", name="Ask in SQL").press("Control+Enter")
    page.wait_for_url("**/campaigns/*/")
    assert elsewhere(Campaign.objects.latest, "pk").target == {"labels": ["web"], "hosts": [hosts[3].pk]}


def test_one_asks_without_scripts(page_of: PageOf, operator: User, hosts: list[Host], elsewhere: Elsewhere) -> None:
    page = page_of(operator, java_script_enabled=False)
    expect(page.locator("#find-targets")).to_be_hidden()
    page.fill("#id_sql", "SELECT name FROM processes")
    page.check("[name=kind][value=labels]")
    page.fill("[name=more_labels]", "web")
    page.click("#run")

    page.wait_for_url("**/campaigns/*/")
    assert elsewhere(Campaign.objects.get).target == {"labels": ["web"]}
