"""What is typed outlives what takes its page away: sessions that end, questions who sits there, reloads, steps back."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from agents.models import ConfigDocument
from campaigns.models import Campaign, Query
from fleet import sessions
from tests.browser.conftest import PASSWORD, Server, write_sql
from tests.factories import answer, make_campaign, make_hosts, make_label

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SQL = "SELECT name FROM users WHERE name = 'typed for an hour'"
CONFIG = '{"options": {"logger_min_status": 1}}'


def log_in(page: Page) -> None:
    page.fill("#id_username", "boss")
    page.fill("#id_password", PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    page.wait_for_url(re.compile(r"^(?!.*/login/).*$"))


def sign_out(elsewhere: Callable[..., Any]) -> None:
    """End every session, as its owner does on another machine."""
    elsewhere(lambda: sessions.end(UserSession.objects.all()))


def kept(page: Page) -> Any:
    return page.locator("main .draft", has_text="What you typed here is back")


def test_a_question_outlives_the_session_in_which_it_was_typed(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    elsewhere(lambda: make_label("some", *make_hosts(2)) and [make_label(f"label {number}") for number in range(60)])
    page = page_of(boss)
    write_sql(page, SQL)
    page.get_by_role("searchbox", name="Find hosts, labels").fill("some")
    page.locator("#found-targets [data-pick=labels]").click()
    expect(page.locator("#run")).to_have_text("Run on 2 hosts")

    sign_out(elsewhere)
    page.get_by_label("Reason or ticket").fill("OPS-7")
    write_sql(page, f"{SQL} ")

    said = page.get_by_role("alert").filter(has_text="You are logged out")
    expect(said).to_be_visible()
    expect(page.locator("#estimate")).to_contain_text("You are logged out")
    expect(page.locator("#run")).to_be_disabled()
    said.get_by_role("link", name="Log in again").click()
    log_in(page)
    expect(kept(page)).to_be_visible()
    expect(page.get_by_role("textbox", name="Ask in SQL")).to_have_text(SQL)
    expect(page.get_by_label("Reason or ticket")).to_have_value("OPS-7")
    page.get_by_role("button", name="Run on 2 hosts").click()
    page.wait_for_url("**/campaigns/**")
    launched = elsewhere(Campaign.objects.get)
    assert (launched.sql.strip(), launched.reason, launched.target["labels"]) == (SQL, "OPS-7", ["some"])
    page.goto("/ask/")
    page.reload()
    expect(page.get_by_role("textbox", name="Ask in SQL")).not_to_contain_text("typed")
    expect(kept(page)).to_have_count(0)


def test_a_form_that_is_sent_without_a_session_comes_back_with_what_was_typed(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    page = page_of(boss, at="/settings/")
    field = page.locator("#id_document")
    field.fill(CONFIG)

    sign_out(elsewhere)
    page.get_by_role("button", name="Keep it").click()
    page.wait_for_url("**/login/**")
    page.fill("#id_username", "boss")
    page.fill("#id_password", "not this one")
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.get_by_role("alert")).to_be_visible()
    log_in(page)

    expect(kept(page)).to_be_visible()
    assert page.url.endswith("/settings/")
    expect(field).to_have_value(CONFIG)
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("status").filter(has_text="The config is kept")).to_be_visible()
    page.reload()
    expect(kept(page)).to_have_count(0)
    assert elsewhere(ConfigDocument.objects.get).document == {"options": {"logger_min_status": 1}}


def test_a_form_that_asks_who_sits_there_comes_back_with_what_was_typed(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    def be_long_ago() -> None:
        row = Session.objects.get(pk=UserSession.objects.get().session_key)
        store = row.get_session_store_class()(row.pk)
        store["confirmed_at"] = 1.0
        store.save()

    page = page_of(boss, at="/settings/")
    page.get_by_text("New enroll secret").click()
    page.get_by_label("Name").fill("typed")
    elsewhere(be_long_ago)

    page.get_by_role("button", name="Make it").click()
    page.get_by_label("Password of boss").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()

    expect(kept(page)).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("typed")


def test_a_form_of_the_session_before_leads_back_with_what_was_typed(page_of: Callable[..., Page], boss: User) -> None:
    page = page_of(boss, at="/queries/new/")
    page.get_by_label("Name").fill("typed")
    other = page.context.new_page()
    page.context.clear_cookies(name="sessionid")
    other.goto("/login/?next=/hosts/")
    log_in(other)

    page.get_by_role("button", name="Save it").click()
    expect(page.get_by_role("heading", name="Send it once more")).to_be_visible()
    page.get_by_role("link", name="Back to the form").click()

    expect(kept(page)).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("typed")


def test_a_question_of_the_session_before_says_so(page_of: Callable[..., Page], boss: User) -> None:
    page = page_of(boss)
    write_sql(page, SQL)
    other = page.context.new_page()
    page.context.clear_cookies(name="sessionid")
    other.goto("/login/?next=/hosts/")
    log_in(other)

    page.get_by_text("All hosts", exact=True).click()
    expect(page.locator("#estimate")).to_contain_text("The form does not belong to your session: you logged in or out")
    page.reload()

    expect(kept(page)).to_be_visible()
    expect(page.get_by_role("textbox", name="Ask in SQL")).to_have_text(SQL)
    expect(page.locator("#estimate")).not_to_contain_text("load it again")


def test_a_page_whose_session_ended_says_when_there_is_another(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    page = page_of(boss, at="/queries/new/")
    page.get_by_label("Name").fill("typed")
    sign_out(elsewhere)
    page.evaluate("htmx.trigger(document.getElementById('troubles'), 'load')")
    expect(page.get_by_role("alert")).to_contain_text("You are logged out. Log in again")
    expect(page.locator("#troubles")).not_to_contain_text("does not answer")

    other = page.context.new_page()
    other.goto("/login/?next=/hosts/")
    log_in(other)
    page.evaluate("htmx.trigger(document.getElementById('troubles'), 'load')")
    page.get_by_role("alert").get_by_role("button", name="Load the page again").click()

    expect(kept(page)).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("typed")


def test_a_campaign_says_once_that_one_is_logged_out(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    def make() -> Campaign:
        hosts = make_hosts(2)
        made = make_campaign(*hosts, by=boss, timeout=600)
        answer(made, hosts[0], {"name": "init"})
        return made

    campaign = elsewhere(make)
    page = page_of(boss, at=f"/campaigns/{campaign.pk}/")
    expect(page.locator("[data-live=connection]").first).to_have_text("live")

    sign_out(elsewhere)
    page.get_by_placeholder("Search all rows…").fill("x")

    expect(page.get_by_role("alert")).to_have_count(1)
    expect(page.get_by_role("alert")).to_contain_text("You are logged out. Log in again")
    expect(page.locator("[data-live=connection]").first).to_have_text("logged out")
    expect(page.locator("#panel-rows [data-live=shown]")).to_have_text("Rows not fetched: you are logged out.")
    page.get_by_role("link", name="Log in again").click()
    log_in(page)
    expect(page.locator("[data-live=connection]").first).to_have_text("live")


def test_a_reload_a_step_back_and_other_colours_keep_what_was_typed(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    page = page_of(boss, at="/queries/new/")
    name, sql = page.get_by_label("Name"), page.get_by_role("textbox", name="SQL")
    name.fill("typed")
    write_sql_here(page, sql)

    page.reload()
    expect(kept(page)).to_be_visible()
    page.goto("/hosts/")
    page.go_back()
    expect(kept(page)).to_be_visible()
    page.locator(".who summary").press("Enter")
    page.get_by_role("button", name="dark", exact=True).click()
    expect(page.locator("html[data-theme=dark]")).to_be_attached()

    expect(name).to_have_value("typed")
    expect(sql).to_have_text("SELECT 1")
    page.get_by_role("button", name="Start over").click()
    expect(name).to_have_value("")
    expect(kept(page)).to_have_count(0)
    name.fill("typed again")
    page.goto("/hosts/")
    page.goto("/queries/new/")
    expect(name).to_have_value("")  # who goes there by a link begins anew
    assert elsewhere(Query.objects.count) == 0


def write_sql_here(page: Page, editor: Any) -> None:
    editor.press("Control+a")
    page.keyboard.insert_text("SELECT 1")


def test_what_changed_meanwhile_is_not_written_over_unasked(
    page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    query = elsewhere(lambda: Query.objects.create(name="disks", sql="SELECT 1", created_by=boss))
    page = page_of(boss, at=f"/queries/{query.pk}/")
    name = page.get_by_label("Name")
    name.fill("disks of mine")
    elsewhere(lambda: Query.objects.filter(pk=query.pk).update(name="disks of others"))

    page.reload()

    expect(page.locator(".draft")).to_contain_text("has changed since")
    expect(name).to_have_value("disks of others")
    page.get_by_role("button", name="Put it back").click()
    expect(name).to_have_value("disks of mine")


def test_what_was_typed_is_forgotten_with_its_person_and_never_a_secret(
    page_of: Callable[..., Page], boss: User, server: Server
) -> None:
    page = page_of(boss, at="/queries/new/")
    page.get_by_label("Name").fill("typed")
    page.reload()
    assert "typed" in page.evaluate("JSON.stringify(sessionStorage)")

    page.locator(".who summary").press("Enter")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login/**")
    page.fill("#id_password", "half of a password")
    page.reload()
    assert "draft" not in page.evaluate("JSON.stringify(sessionStorage)")
    assert "password" not in page.evaluate("JSON.stringify(sessionStorage)")

    log_in(page)
    page.goto("/settings/hooks/")
    page.get_by_label("What it is for").fill("typed")
    page.get_by_label("Address").fill("slack://key/of/a/chat")
    page.reload()
    expect(kept(page)).to_be_visible()
    assert "chat" not in page.evaluate("JSON.stringify(sessionStorage)")
