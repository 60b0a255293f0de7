"""A real browser against a real server: the console's tier as it is deployed, over the test's Postgres and Redis.

The browser's driver keeps an event loop running in its thread, where neither Django's database layer nor the doorbell
may be used, and which would spoil every other test. So these tests run in a thread of the browser's, and what they do
on the server's side runs in another (`elsewhere`).
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

import pytest
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from playwright.sync_api import Browser, Page, expect, sync_playwright

from agents.board import keyspace, redis_client
from campaigns.console import assets
from tests.factories import make_user
from tests.ports import free_port

Answer = TypeVar("Answer")
READY_SECONDS = 120
PATIENCE_MS = 90_000  # what is slow on a busy machine is no failure
# The same engine without the windows around it, where it is there: a quarter of the processor time less.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)
# An address bar that nobody sees draws two pages of its own for each window: a second of processor time.
UNSEEN = ("WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup")
# Playwright's own list, in whose place ours comes.
OF_PLAYWRIGHT = (
    *("AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades", "LensOverlay"),
    *("HttpsFirstBalancedModeAutoEnable", "MediaRouter", "PaintHolding", "ThirdPartyStoragePartitioning"),
    *("AvoidCorsURLLoaderRestartOnRedirect", "OptimizationHints", "NetworkTimeServiceQuerying", "AimEnabled"),
    "PreconnectToSearch",
)
ARGUMENTS = [
    f"--disable-features={','.join((*OF_PLAYWRIGHT, *UNSEEN))}",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PASSWORD = "a long one for tests"
expect.set_options(timeout=PATIENCE_MS)
# What was done is said for twelve seconds (in_place.ts), and a busy machine may look later: it stays.
STAYS = """
const later = window.setTimeout;
window.setTimeout = (then, wait, ...given) => (wait === 12_000 ? 0 : later(then, wait, ...given));
"""
COMPLAINT = re.compile("Security Policy|^AG Grid: (error|warning)|on hx-.* returned no matches")


class Server:
    """The console's tier in a process of its own, which can be stopped and started again at the same port."""

    def __init__(self, database: str, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        parts = urlsplit(os.environ["DATABASE_URL"])
        url = urlunsplit(parts._replace(path=f"/{database}"))
        self._environment = {**os.environ, "DATABASE_URL": url, **settings}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [sys.executable, "-m", "fleet.serve", "console", "--port", str(self.port)]
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(command, env=self._environment, cwd=root)
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            assert self._process.poll() is None, "the server ended while it started"
            assert time.monotonic() < deadline, f"the server did not answer within {READY_SECONDS} s"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            urlopen(f"{self.url}/login/", timeout=5).close()  # noqa: S310 - our own address
        except HTTPError:
            return True
        except (URLError, OSError):
            return False
        return True

    def stop(self) -> None:
        """Kill it, as an outage does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")  # it has no gateway, which would tell of itself on the board that other tests look at
def _server(django_db_setup: None, django_db_blocker: Any) -> Iterator[Server]:
    with django_db_blocker.unblock():
        name = str(connection.settings_dict["NAME"])
    made = Server(name)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def server(_server: Server, transactional_db: None, board: None) -> Iterator[Server]:
    """Give the running server, over a whole and empty board, while all is well: no page begins with a banner."""
    redis = redis_client.client()
    later = keyspace.now_ms(redis) + 3_600_000
    redis.mset({keyspace.SWEPT: later, keyspace.WORKED: later})
    redis.hset(keyspace.GATEWAYS, "one", later)
    yield _server
    if not _server._answers():
        _server.start()


def write_sql(page: Page, text: str) -> None:
    """Write into the editor, instead of what is there."""
    editor = page.get_by_role("textbox", name="Ask in SQL")
    editor.press("Control+a")
    page.keyboard.insert_text(text)


def wait_until_true(page: Page, expression: str, arg: Any = None) -> None:
    """Wait as `Page.wait_for_function` does, whose second look is an eval, which the pages' policy forbids."""
    patient_until = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(expression, arg):
        assert time.monotonic() < patient_until, f"it never was: {expression}"
        page.wait_for_timeout(100)


def pause_clock(page: Page) -> None:
    """Let the page's time, its next five seconds apart, go by as the test says alone: the machine may be busy."""
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 5)


@pytest.fixture(scope="session", autouse=True)
def _assets() -> None:
    """Bundle what the pages run, unless it is there."""
    assets.build()


@pytest.fixture(scope="session")
def _browser_thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the tests of this folder in the browser's thread."""
    if pyfuncitem.get_closest_marker("browser") is None:
        return None
    thread = pyfuncitem.funcargs["_browser_thread"]
    given = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    thread.submit(pyfuncitem.obj, **given).result()
    return True


@pytest.fixture(scope="session")
def chromium(_browser_thread: ThreadPoolExecutor) -> Iterator[Browser]:
    """Give Debian's chromium, the shell of it where both are there. Without: skip at a desk, fail in CI."""
    if CHROMIUM is None:
        missing = pytest.fail if "CI" in os.environ else pytest.skip
        missing("chromium is not installed: apt-get install chromium-headless-shell")
    driver = _browser_thread.submit(lambda: sync_playwright().start()).result()
    browser = _browser_thread.submit(driver.chromium.launch, executable_path=CHROMIUM, args=ARGUMENTS).result()
    yield browser
    _browser_thread.submit(browser.close).result()
    _browser_thread.submit(driver.stop).result()


@pytest.fixture(scope="session")
def _server_side(django_db_setup: None) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool
        pool.submit(lambda: connection.close()).result()


@pytest.fixture
def elsewhere(_server_side: ThreadPoolExecutor) -> Callable[..., Any]:
    """Run a function on the server's side and give what it gives."""

    def run(function: Callable[..., Answer], *args: Any, **kwargs: Any) -> Answer:
        return _server_side.submit(function, *args, **kwargs).result()

    return run


@pytest.fixture
def boss(server: Server, elsewhere: Callable[..., Any]) -> User:
    """Give somebody who may do everything, and has the password."""

    def make() -> User:
        made = make_user("boss", admin=True)
        made.password = _hashed()
        made.save()
        return made

    found: User = elsewhere(make)
    return found


@cache
def _hashed() -> str:
    """Hash it once: that is made to take half a second."""
    return make_password(PASSWORD)


@pytest.fixture
def page_of(
    server: Server, chromium: Browser, elsewhere: Callable[..., Any], _browser_thread: ThreadPoolExecutor
) -> Iterator[Callable[..., Page]]:
    """Give pages of logged-in people; whatever a page complains about in its console fails the test."""
    contexts, complaints = [], []

    def signed_in(user: User) -> str:
        browser = Client()
        browser.force_login(user)
        return browser.cookies[settings.SESSION_COOKIE_NAME].value

    def log_in(user: User, at: str = "/ask/", **options: Any) -> Page:
        """Open the page as this person: by a session, since a password is made to take half a second to look at.

        What moves on pages stands still: it would be drawn anew sixty times a second, by a processor.
        """
        options = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options}
        session = {"name": settings.SESSION_COOKIE_NAME, "value": elsewhere(signed_in, user), "url": server.url}
        context = chromium.new_context(base_url=server.url, **options)
        contexts.append(context)
        context.add_init_script(STAYS)
        context.add_cookies([session])
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if COMPLAINT.search(said.text) else None)
        page.goto(at)
        return page

    yield log_in
    for context in contexts:
        _browser_thread.submit(context.close).result()
    assert complaints == []
