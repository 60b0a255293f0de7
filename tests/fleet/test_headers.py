"""Every address, asked by a stranger and by an administrator: whatever comes of it bears the headers of all answers."""

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from secrets import token_urlsafe
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve
from django.utils import timezone
from django.utils.regex_helper import normalize

from agents.models import EnrollSecret, Presence
from campaigns.models import Query
from campaigns.tokens import ApiToken
from tests.factories import answer, end, make_campaign, make_host, make_label, make_user

pytestmark = [
    *(pytest.mark.lengthy, pytest.mark.django_db(transaction=True)),
    pytest.mark.usefixtures("board", "plain_pages"),
]
ONE_OF_MANY = {"app_label": "auth", "format": "json", "path": "x", "url": "x"}
OTHERS = (
    "/nothing/",
    "/api/nothing/",
    "/admin/nothing/",
    "/static/nothing.js",
    "/%ff",
    "/?x=%ff%00",
    "/login",
    "/api/v1",
)


def addresses(patterns: list[URLPattern | URLResolver], begin: str = "") -> Iterator[str]:
    """Give an address of every route, the number 1 standing for each id."""
    for pattern in patterns:
        route = begin + _filled(pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, route)
        else:
            yield f"/{route}"


def _filled(pattern: URLPattern | URLResolver) -> str:
    """Write a route with its parameters filled in, whether it is a path or a regular expression."""
    route = str(pattern.pattern)
    if hasattr(pattern.pattern, "_route"):
        for name, converter in pattern.pattern.converters.items():
            value = ONE_OF_MANY.get(name, "1")
            kind = type(converter).__name__.removesuffix("Converter").lower().replace("string", "str")
            route = route.replace(f"<{kind}:{name}>", value).replace(f"<{name}>", value)
        return route
    form, names = normalize(pattern.pattern.regex.pattern)[0]
    return form % {name: ONE_OF_MANY.get(name, "1") for name in names}


ADDRESSES = sorted({*addresses(get_resolver().url_patterns), *OTHERS})
PEOPLES = [address for address in ADDRESSES if "/osquery/" not in address]


@pytest.fixture
def things() -> User:
    """Give an administrator who launched a campaign, and a row of everything that addresses name."""
    boss = make_user("boss", admin=True)
    host = make_host()
    Presence.objects.create(host=host, last_seen=timezone.now())
    campaign = make_campaign(host, by=boss)
    answer(campaign, host, {"a": "1"})
    end(campaign)
    make_label("web", host)
    Query.objects.create(name="q", sql="SELECT 1", created_by=boss)
    EnrollSecret.objects.offer("s", "secret of sixteen")
    ApiToken.objects.create(user=boss)
    return boss


def complaint_of(response: Any, path: str) -> str:
    """Say what an answer lacks."""
    has = response.headers
    wanted = {
        "Content-Security-Policy": [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "script-src 'self'",
        ],
        "Permissions-Policy": ["camera=()", "geolocation=()"],
        "Referrer-Policy": ["same-origin"],
        "X-Frame-Options": ["DENY"],
        "X-Content-Type-Options": ["nosniff"],
        "Strict-Transport-Security": ["max-age=31536000"],
        "Cache-Control": [] if path.startswith("/static/") and response.status_code == 200 else ["no-store"],
    }
    lacking = [f"{name}: {part}" for name, parts in wanted.items() for part in parts if part not in has.get(name, "")]
    if "'unsafe-inline'" in has.get("Content-Security-Policy", ""):
        lacking.append("what is written into the page is let in")
    return f"{response.status_code} {path} lacks {lacking}" if lacking else ""


def one_for_each_view() -> list[str]:
    """Give of all addresses that one view answers the first: the admin's pages are a few views for every model."""
    first: dict[Any, str] = {}
    for address in PEOPLES:
        try:
            view = inspect.unwrap(resolve(address.partition("?")[0]).func)
        except Resolver404:
            view = address
        first.setdefault(getattr(view, "__func__", view), address)
    return list(first.values())


@pytest.mark.parametrize("who", ["stranger", "boss"])
def test_every_answer_bears_the_headers(things: User, who: str) -> None:
    client = Client(raise_request_exception=False)
    number = things.campaign_set.get().pk
    few = one_for_each_view()
    asked = [("get", PEOPLES), ("post", few), ("options", few)]
    found, statuses = [], set()

    for method, address in ((method, address) for method, listed in asked for address in listed):
        if who == "boss" and not has_session(client):
            client.force_login(things)
        path = address.replace("/1/", f"/{number}/")
        response = getattr(client, method)(path, secure=True)
        response.close()
        statuses.add(response.status_code)
        found.append(complaint_of(response, path))

    assert len(PEOPLES) > 150
    assert len(few) > 70
    assert [each for each in found if each] == []
    assert {200, 302, 404} <= statuses


def has_session(client: Client) -> bool:
    cookie = client.cookies.get(settings.SESSION_COOKIE_NAME)
    return cookie is not None and cookie.value != ""


def test_files_exports_and_failures_bear_them_too(things: User, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(things)
    number = things.campaign_set.get().pk

    files = [
        f"/api/v1/campaigns/{number}/{name}" for name in ("export.csv", "export.ndjson", "export.json", "targets.csv")
    ]
    for path in (*files, "/static/campaigns/icon.svg"):
        response = client.get(path, secure=True)
        response.close()
        assert complaint_of(response, path) == ""
    assert "no-store" not in response.headers["Cache-Control"]

    monkeypatch.setattr("fleet.readiness.health", lambda: 1 / 0)
    failed = client.get("/readyz", secure=True)
    assert failed.status_code == 500
    assert complaint_of(failed, "/readyz") == ""
    with override_settings(ALLOWED_HOSTS=["other.example"]):
        refused = client.get("/login/", secure=True)
    assert refused.status_code == 400
    assert complaint_of(refused, "/login/") == ""


@pytest.mark.parametrize("path", ["/login/", "/", "/api/v1/status/", "/admin/login/", "/settings/"])
def test_a_host_header_that_is_not_ours_is_refused(things: User, path: str) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(things)

    with override_settings(ALLOWED_HOSTS=["fleet.example"]):
        refused = [client.get(path, headers={"Host": name}) for name in ("evil.example", "fleet.example.evil", "a b")]
        told = client.get(path, headers={"Host": "fleet.example", "X-Forwarded-Host": "evil.example"})

    assert [answer.status_code for answer in refused] == [400] * 3
    assert told.status_code in (200, 302)
    assert "evil.example" not in told.content.decode() + told.headers.get("Location", "")


def test_nothing_is_left_to_say_of_a_deployment() -> None:
    given = {
        "SECRET_KEY": token_urlsafe(48),
        "NODE_KEY_SECRETS": token_urlsafe(48),
        "ALLOWED_HOSTS": "fleet.example.org",
    }
    environment = {**os.environ, **given, "SECURE_COOKIES": "true", "DEBUG": "false"}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]

    said = subprocess.run(command, env=environment, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)

    assert (said.returncode, said.stderr) == (0, "")
