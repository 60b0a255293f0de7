"""The console of one host, with a host that answers: the whole demo, and its own machine as the host."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.end_to_end.conftest import RunningFleet, wait_for
from tests.servers import open_folder

pytestmark = [pytest.mark.browser, pytest.mark.processes]


@pytest.fixture(scope="module")
def fleet() -> Iterator[RunningFleet]:
    """Give a running demo with two pretend hosts, which have enrolled."""
    running = RunningFleet(open_folder(), "--hosts", "2")
    wait_for(lambda: running.hosts() >= 2, 90)
    yield running
    running.stop()


@pytest.fixture
def page(fleet: RunningFleet, chromium: Browser, _browser_thread: ThreadPoolExecutor) -> Iterator[Page]:
    """Give a page of the demo's administrator."""

    def log_in() -> Page:
        context = chromium.new_context(base_url=fleet.facts["console"], ignore_https_errors=True)
        shown = context.new_page()
        shown.goto("/login/")
        shown.fill("#id_username", fleet.facts["username"])
        shown.fill("#id_password", fleet.facts["password"])
        shown.click("button[type=submit]")
        return shown

    shown = _browser_thread.submit(log_in).result()
    yield shown
    _browser_thread.submit(shown.context.close).result()


def test_a_host_is_asked_and_its_rows_appear(page: Page, fleet: RunningFleet) -> None:
    number = fleet.http.get("/api/v1/hosts/?limit=1").json()["results"][0]["id"]
    page.goto(f"/hosts/{number}/")
    editor = page.locator("#host-ask").get_by_role("textbox")

    editor.press("Control+a")
    page.keyboard.insert_text("SELECT 6 * 7 AS answer")
    page.keyboard.press("Control+Enter")

    shown = page.locator(".host-answer").first
    expect(shown.locator("td")).to_have_text("42")
    expect(shown.locator("thead th")).to_have_text("answer")
    expect(shown).to_contain_text("1 row")
    fleet_link = shown.get_by_role("link", name="ask the fleet this")
    fleet_link.click()
    expect(page.locator("#id_sql")).to_have_value("SELECT 6 * 7 AS answer")


def test_what_the_host_cannot_run_is_said_beside_the_question(page: Page, fleet: RunningFleet) -> None:
    number = fleet.http.get("/api/v1/hosts/?limit=1").json()["results"][0]["id"]
    page.goto(f"/hosts/{number}/")

    page.locator("#host-ask").get_by_role("textbox").press("Control+a")
    page.keyboard.insert_text("SELEC 1")
    page.keyboard.press("Control+Enter")

    expect(page.locator(".host-answer [role=alert]").first).to_contain_text("syntax error")
