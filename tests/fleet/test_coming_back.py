"""Where doors lead on to: a page of this server, from its root, which is no door itself; else where they always do."""

from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.fleet.openid_provider import CLIENT, SECRET, Provider
from tests.fleet.signing_in import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]
NOT_FOLLOWED = [
    *("campaigns/1", "..", "?a=b", "#rows", " /labels/"),  # would be read from where the door is
    *("//example.com", "%2F%2Fexample.com", "\\\\example.com", "/\\example.com", "/\t/example.com", "///example.com"),
    *(
        "https://example.com/",
        "https:///example.com",
        "javascript:alert(1)",
        "data:text/html,x",
        "mailto:x@example.com",
    ),
    "/" + "a" * 5_000,
]
DOORS = ["/login/", "/login/?next=/login/", "/admin/login/", "/logout/", "/admin/logout/", "/login/openid/"]


@pytest.fixture
def provider(settings: Any) -> Any:
    """Give a provider that lets in whoever comes."""
    settings.OIDC_ADOPT_ACCOUNTS = True
    running = Provider()
    settings.OIDC_ISSUER = running.issuer
    app = {"provider_id": "openid", "name": "keys", "client_id": CLIENT, "secret": SECRET}
    app["settings"] = {"server_url": running.issuer, "scope": ["openid"], "oauth_pkce_enabled": True}
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app]}}
    yield running
    running.stop()


def after_password(door: str, wanted: str) -> str:
    answer = Client().post(door, {"username": "kim", "password": PASSWORD, "next": wanted})
    return str(answer["Location"])


def already_in(door: str, wanted: str) -> str:
    browser = Client()
    browser.force_login(User.objects.get())
    return str(browser.get(door, {"next": wanted})["Location"])


def out_again(wanted: str) -> str:
    browser = Client()
    browser.force_login(User.objects.get())
    return str(browser.post("/logout/", {"next": wanted})["Location"])


def shown_again(wanted: str) -> str:
    browser = Client()
    browser.force_login(User.objects.get())
    return str(browser.post("/confirm/", {"password": PASSWORD, "next": wanted})["Location"])


def by_openid(provider: Provider, wanted: str) -> str:
    browser = Client()
    away = browser.get("/login/openid/", {"next": wanted})["Location"]
    back = httpx.get(away, timeout=90).headers["Location"]
    return str(browser.get(back)["Location"])


def led_to(provider: Provider, wanted: str) -> dict[str, str]:
    return {
        "password": after_password("/login/", wanted),
        "password of the admin": after_password("/admin/login/", wanted),
        "in already": already_in("/login/", wanted),
        "in already, at the admin's": already_in("/admin/login/", wanted),
        "out": out_again(wanted),
        "again": shown_again(wanted),
        "openid": by_openid(provider, wanted),
    }


def test_a_door_leads_to_a_page_of_this_server_and_nowhere_else(kim: User, provider: Provider) -> None:
    provider.claims["preferred_username"] = "kim"
    usual = {
        "password": "/",
        "password of the admin": "/admin/",
        "in already": "/",
        "in already, at the admin's": "/admin/",
        "out": "/login/",
        "again": "/account/",
        "openid": "/",
    }
    wanted = "/hosts/?q=a%20b&online=1"

    assert led_to(provider, wanted) == dict.fromkeys(usual, wanted)
    assert led_to(provider, "") == usual
    assert [(odd, led) for odd in NOT_FOLLOWED + DOORS if (led := led_to(provider, odd)) != usual] == []
