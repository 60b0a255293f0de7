"""Passkeys with a device of the browser's own: added, used and refused; what the browser does not give is said."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from playwright.sync_api import Page, expect

from tests.browser.conftest import PASSWORD, Server
from tests.browser.test_keyboard_alone import Keys

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
ADD = "/account/passkeys/add/"


class Device:
    """What holds passkeys, beside one page."""

    def __init__(self, page: Page) -> None:
        self._tools = page.context.new_cdp_session(page)
        self._tools.send("WebAuthn.enable", {"enableUI": False})
        self._id = {
            "authenticatorId": self._tools.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE})[
                "authenticatorId"
            ]
        }

    def set(self, *, knows_person: bool) -> None:
        """Let it know its person, or not: then it refuses, as it does when somebody breaks it off."""
        self._tools.send("WebAuthn.setUserVerified", {**self._id, "isUserVerified": knows_person})

    def forget(self) -> None:
        """Lose all of its passkeys."""
        self._tools.send("WebAuthn.clearCredentials", self._id)


@pytest.fixture
def demanding(server: Server, transactional_db: None) -> Iterator[Server]:
    """Give a server that demands a second factor of staff."""
    made = Server(str(connection.settings_dict["NAME"]), REQUIRE_SECOND_FACTOR="true")
    made.start()
    yield made
    made.stop()


def opened(server: Server, page_of: Callable[..., Page], boss: User) -> tuple[Page, Device]:
    """Give a page of the boss under the server's name, since no passkey is for a bare address, and a device."""
    page = page_of(boss, "/login/")
    session = next(cookie for cookie in page.context.cookies() if cookie["name"] == settings.SESSION_COOKIE_NAME)
    page.context.add_cookies([{"name": session["name"], "value": session["value"], "url": under_name(server)}])
    return page, Device(page)


def under_name(server: Server, path: str = "") -> str:
    return f"http://localhost:{server.port}{path}"


def is_said(page: Page, sentence: str) -> None:
    expect(page.get_by_role("alert").filter(has_text=sentence)).to_be_visible()


def log_in(page: Page, server: Server) -> None:
    page.context.clear_cookies()
    page.goto(under_name(server, "/login/?next=/labels/"))
    page.get_by_label("Username").fill("boss")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/second-factor/")


def test_a_passkey_is_added_and_used_by_the_keyboard_alone(
    server: Server, page_of: Callable[..., Page], boss: User
) -> None:
    page, _ = opened(server, page_of, boss)
    keys = Keys(page)

    page.goto(under_name(server, ADD))
    keys.write("Name, to tell", "my laptop")
    page.keyboard.press("Enter")
    page.wait_for_url("**/account/codes/")
    keys.is_told("The passkey was added.")
    log_in(page, server)
    keys.press("Use a passkey")
    page.wait_for_url("**/labels/")
    page.goto(under_name(server, "/account/"))

    expect(page.get_by_role("row", name="Passkey my laptop")).not_to_contain_text("never")


def test_what_the_browser_does_not_give_is_said(
    server: Server, page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    page, device = opened(server, page_of, boss)
    none_came = "No passkey came: it was broken off, it took too long, or none fits that is at hand."

    page.goto(f"{server.url}{ADD}")
    page.get_by_role("button", name="Add it").click()
    is_said(page, "Passkeys need a server with a name, and 127.0.0.1 is none")
    page.goto(under_name(server, ADD))
    device.set(knows_person=False)
    page.get_by_role("button", name="Add it").click()
    is_said(page, none_came)
    device.set(knows_person=True)
    page.get_by_role("button", name="Add it").click()
    page.wait_for_url("**/account/codes/")
    page.goto(under_name(server, ADD))
    page.get_by_role("button", name="Add it").click()
    is_said(page, "This device or key holds a passkey of your account already.")
    page.goto(under_name(server, "/confirm/"))
    device.set(knows_person=False)
    page.get_by_role("button", name="Use a passkey").click()
    is_said(page, none_came)
    log_in(page, server)
    device.forget()
    page.get_by_role("button", name="Use a passkey").click()
    is_said(page, none_came)

    assert elsewhere(Authenticator.objects.filter(type="webauthn").count) == 1


def test_a_passkey_that_was_removed_meanwhile_is_refused_by_the_server(
    server: Server, page_of: Callable[..., Page], boss: User, elsewhere: Callable[..., Any]
) -> None:
    page, _ = opened(server, page_of, boss)
    page.goto(under_name(server, ADD))
    page.get_by_role("button", name="Add it").click()
    page.wait_for_url("**/account/codes/")
    page.goto(under_name(server, "/confirm/"))

    elsewhere(Authenticator.objects.filter(type="webauthn").delete)
    page.get_by_role("button", name="Use a passkey").click()

    is_said(page, "This passkey was not accepted: it is none of your account")


def test_who_needs_a_second_factor_sets_one_up(demanding: Server, page_of: Callable[..., Page], boss: User) -> None:
    page, _ = opened(demanding, page_of, boss)
    page.goto(under_name(demanding, "/labels/"))
    page.wait_for_url("**/account/?second_factor=needed")
    page.get_by_role("link", name="Add a passkey").click()
    with page.expect_response("**/switch/") as polled:  # which every page asks again and again
        page.get_by_label("Name, to tell").fill("my laptop")

    assert polled.value.status == 204
    expect(page.get_by_label("Name, to tell")).to_have_value("my laptop")
    page.get_by_role("button", name="Add it").click()
    page.wait_for_url("**/account/codes/")
    page.goto(under_name(demanding, "/labels/"))
    expect(page.get_by_role("heading", name="Labels")).to_be_visible()
