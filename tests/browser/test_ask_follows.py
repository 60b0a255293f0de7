"""The Ask page follows what is typed and what the server allows: estimate and kill switch are of now."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, Route, expect

from agents.models import Host
from campaigns.launching import kill_switch
from campaigns.models import Query
from tests.browser.conftest import Server, write_sql
from tests.factories import learn, make_hosts, make_user

pytestmark = [pytest.mark.lengthy, pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PageOf = Callable[..., Page]
Elsewhere = Callable[..., Any]


@pytest.fixture
def hosts(server: Server, elsewhere: Elsewhere) -> list[Host]:
    made: list[Host] = elsewhere(make_hosts, 3, osquery_version="5.23.0")
    elsewhere(learn, "linux", "processes", "users")
    return made


def test_the_estimate_follows_the_sql(page_of: PageOf, operator: User, hosts: list[Host], elsewhere: Elsewhere) -> None:
    elsewhere(Query.objects.create, name="People", sql="SELECT name FROM users")
    page = page_of(operator)
    page.check("[name=kind][value=all]")
    estimate, run = page.locator("#estimate"), page.locator("#run")

    write_sql(page, "SELECT name FROM no_such_table")
    expect(estimate).to_contain_text("no_such_table")
    write_sql(page, "SELECT name FROM processes")
    expect(estimate).not_to_contain_text("no_such_table")
    expect(run).to_have_text("Run on 3 hosts")
    write_sql(page, "SELECT name FROM nothing_like_it")
    expect(estimate).to_contain_text("nothing_like_it")
    page.get_by_text("People").click()
    expect(estimate).not_to_contain_text("nothing_like_it")
    expect(run).to_be_enabled()


def test_an_answer_to_earlier_sql_never_replaces_a_later_one(
    page_of: PageOf, operator: User, hosts: list[Host]
) -> None:
    page = page_of(operator)
    page.check("[name=kind][value=all]")
    expect(page.locator("#run")).to_have_text("Run on 3 hosts")
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if "slow_one" in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.route("**/ask/estimate/", hold_the_first)
    with page.expect_request(lambda request: "slow_one" in (request.post_data or "")):
        write_sql(page, "SELECT 1 FROM slow_one")
    write_sql(page, "SELECT 1 FROM later_one")
    expect(page.locator("#estimate")).to_contain_text("later_one")
    for route in held:
        route.fulfill(body='<p data-targeted="77">77 hosts, slow_one</p>', content_type="text/html")
    page.evaluate("() => new Promise(requestAnimationFrame)")

    expect(page.locator("#estimate")).to_contain_text("later_one")
    expect(page.locator("#run")).to_have_text("Run on 3 hosts")


def test_the_kill_switch_shows_and_stops_the_button_while_the_page_is_open(
    page_of: PageOf, operator: User, hosts: list[Host], elsewhere: Elsewhere
) -> None:
    page, boss = page_of(operator), elsewhere(make_user, "boss", admin=True)
    write_sql(page, "SELECT name FROM users")
    page.check("[name=kind][value=all]")
    run = page.locator("#run")
    expect(run).to_be_enabled()

    elsewhere(kill_switch.turn, boss, "a bad query", on=False)
    expect(page.locator("#switch .banner")).to_have_text("Live queries were switched off by boss: a bad query.")
    expect(run).to_be_disabled()
    expect(page.locator("#run-off")).to_have_text("Live queries were switched off by boss: a bad query.")

    elsewhere(kill_switch.turn, boss, "", on=True)
    expect(page.locator("#switch .banner")).to_have_count(0)
    expect(run).to_be_enabled()
    expect(page.locator("#run-off")).to_be_hidden()
