"""Every address that Django serves, walked by its table of addresses, so that a new one is looked at by itself.

Whatever stands in the address, the query string or a form: never a 5xx, and of the API one sentence in JSON.
"""

import inspect
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django import forms
from django.db import transaction
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver

from agents.protocol.endpoints import PREFIXES
from campaigns.console import forms as console_forms
from fleet.api.parameters import declared_by
from tests.factories import answer, make_campaign, make_host, make_label, make_user

pytestmark = [pytest.mark.lengthy, pytest.mark.django_db, pytest.mark.usefixtures("board", "plain_pages")]

LONG = "9" * 5000
# As they stand in an address: NUL, a lone surrogate, and numbers, texts and lists that no field has.
VALUES = ("a%00b", "%ED%A0%80", "1" + "0" * 21, "-1", "", LONG, "%27%22%3C", "1,2", "²")
OF_PARAMETERS = ("a%00b", "%ED%A0%80", "1" + "0" * 21, "", LONG)
FEW_VALUES = ("%00", "1" + "0" * 21)  # for each name alone
TOGETHER = ("-1", "", LONG, "%00", "%ED%A0%80")  # for all names of a page at once; where one is refused it hides others
# Names that the admin reads by itself.
OF_CHANGELISTS = ("q", "p", "o", "all", "e", "_popup", "_to_field", "_facets", "_changelist_filters", "_source_model")
OF_FORMS = "application/x-www-form-urlencoded"
OF_AUTOCOMPLETE = ("term", "page", "app_label", "model_name", "field_name")


class Address(NamedTuple):
    """A pattern of addresses: its route, and the view behind it."""

    route: str
    names: dict[str, Any]  # what stands in it -> the converter
    view: Any

    def at(self, **values: str) -> str:
        """Fill it."""
        return self.fill(lambda name: values.get(name, "1"))

    def fill(self, value: Any) -> str:
        """Fill what stands in it."""
        path = re.sub(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)", lambda found: value(found[1]), self.route)
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: value(found[1]), path)
        return "/" + re.sub(r"[\^$\\]|\(\?:.*", "", path).replace("\\", "").replace("/?", "/")


def addresses(patterns: Any = None, before: str = "", names: Any = ()) -> Iterator[Address]:
    """Walk the table."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        here = {**dict(names), **getattr(pattern.pattern, "converters", {})}
        here |= dict.fromkeys(getattr(getattr(pattern.pattern, "regex", None), "groupindex", {}), None)
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, route, here.items())
        elif isinstance(pattern, URLPattern):
            yield Address(route, here, pattern.callback)


ALL = [address for address in addresses() if not f"/{address.route}".startswith(PREFIXES)]
OF_API = [address for address in ALL if address.route.startswith("api/")]
OF_PAGES = [address for address in ALL if not address.route.startswith("api/")]


def methods_of(address: Address) -> list[str]:
    """Name the methods that a view of the API has."""
    actions = getattr(address.view, "actions", None)
    return [name.upper() for name in actions or ("get", "post") if actions or hasattr(address.view.cls, name)]


EACH_METHOD = [(address, method) for address in OF_API for method in methods_of(address)]


def filters_of(address: Address) -> set[str]:
    """Name what a page reads of its query string by itself: each is tried alone."""
    view = inspect.unwrap(address.view)
    if address.route.startswith("admin/"):
        return _filters_of(view) or {"_to_field", "_popup", "_changelist_filters"}
    module = inspect.getmodule(view)
    source = inspect.getsource(module) if module is not None and module.__name__.startswith("campaigns") else ""
    return {"page", *re.findall(r"(?:GET|POST|asked)\.(?:get|getlist)\(\s*\"(\w+)\"", source)}


def fields_of(address: Address) -> set[str]:
    """Name every field that a form of the pages has, and all that the admin reads: these are tried together."""
    found = [form for form in vars(console_forms).values() if inspect.isclass(form) and issubclass(form, forms.Form)]
    return {*OF_AUTOCOMPLETE, "next", *filters_of(address), *(name for form in found for name in form.base_fields)}


def _filters_of(view: Any) -> set[str]:
    model_admin = getattr(view, "model_admin", None)
    if getattr(view, "__name__", "") != "changelist_view" or model_admin is None:
        return set()
    request = RequestFactory().get("/")
    request.user = make_user(admin=True)
    found = model_admin.get_changelist_instance(request)
    names = {name for spec in found.filter_specs for name in spec.expected_parameters()}
    dates = {f"{found.date_hierarchy}__{part}" for part in ("year", "month", "day")} if found.date_hierarchy else set()
    return {*OF_CHANGELISTS, *names, *dates}


class Boss:
    """An administrator's browser, to which a failure is a 500; what is asked changes nothing for what is asked next."""

    def __init__(self) -> None:
        self._client = Client(raise_request_exception=False)
        self._client.force_login(make_user("boss", admin=True))
        self._client.get("/settings/")  # what is kept of a session is kept from here on, not anew with each question
        self._cookies = dict(self._client.cookies.items())

    def ask(self, asked: str, method: str = "GET", body: bytes = b"", kind: str = "application/json") -> Any:
        """Ask, signed in whatever was asked before, and forget what it changed."""
        self._client.cookies.clear()
        self._client.cookies.update(self._cookies)
        with transaction.atomic():
            told = self._client.generic(method, asked, body, content_type=kind)
            if getattr(told, "streaming", False):
                list(told)
            transaction.set_rollback(True)
        return told


@pytest.fixture
def boss() -> Iterator[Boss]:
    """Give him, who must be signed in still when all is done."""
    made = Boss()
    yield made
    assert made.ask("/settings/").status_code == 200


@pytest.fixture
def ids() -> dict[str, str]:
    """Give something of each kind to look at."""
    host = make_host()
    make_label("web", host)
    campaign = make_campaign(host, make_host())
    answer(campaign, host, {"pid": "1", "name": "init"})
    return {"pk": str(campaign.pk), "campaign_id": str(campaign.pk), "object_id": str(host.pk)}


def look_at(answered: Any, asked: str) -> None:
    """Fail at a 5xx, and at an error of the API that is no sentence in JSON."""
    assert answered.status_code < 500 or asked.startswith("/readyz"), asked[:300]
    if asked.startswith("/api/") and answered.status_code >= 400:
        body = answered.json()
        assert isinstance(body["error"], str), asked[:300]
        assert body["error"], asked[:300]


@pytest.mark.parametrize("value", VALUES)
def test_whatever_stands_in_an_address_is_no_failure(value: str, boss: Boss, ids: dict[str, str]) -> None:
    for address in ALL:
        if address.names:
            asked = address.fill(lambda name: ids.get(name, value) if value == "" else value)
            look_at(boss.ask(asked), asked)


@pytest.mark.parametrize("value", FEW_VALUES)
def test_whatever_is_asked_of_a_page_by_one_name_is_no_failure(value: str, boss: Boss, ids: dict[str, str]) -> None:
    for address in OF_PAGES:
        for name in filters_of(address):
            asked = f"{address.at(**ids)}?{name}={value}"
            look_at(boss.ask(asked), asked)


def test_whatever_is_asked_of_a_page_by_all_names_is_no_failure(boss: Boss, ids: dict[str, str]) -> None:
    for address in OF_PAGES:
        path, names = address.at(**ids), sorted(fields_of(address))
        for method in ("GET", "POST"):
            for value in TOGETHER:
                form = "&".join(f"{name}={value}" for name in names)
                if method == "GET":
                    told = boss.ask(f"{path}?{form}")
                else:
                    told = boss.ask(path, method, form.encode(), OF_FORMS)
                look_at(told, f"{path} {method} {value}")
                if told.status_code == 405:  # whatever comes with it
                    break


@pytest.mark.parametrize("value", OF_PARAMETERS)
def test_whatever_is_asked_of_the_api_is_no_failure(value: str, boss: Boss, ids: dict[str, str]) -> None:
    for address, method in EACH_METHOD:
        for name in _declared(address, method):
            asked = f"{address.at(**ids)}?{name}={value}"
            look_at(boss.ask(asked, method), asked)


def _declared(address: Address, method: str) -> list[str]:
    """Name what this method takes; every other name is refused, which is looked at below."""
    view = address.view.cls()
    view.action = (getattr(address.view, "actions", None) or {}).get(method.lower())
    return [parameter.name for parameter in declared_by(view, method)]


# --- what all addresses of the API have in common --------------------------------------------------------------


def test_an_unknown_parameter_is_refused_by_name(boss: Boss, ids: dict[str, str]) -> None:
    for address, method in EACH_METHOD:
        refused = boss.ask(f"{address.at(**ids)}?statsu=open&limti=5", method)

        if refused.status_code == 405:  # looked at first: no parameter makes a method be taken
            assert method not in refused.headers["Allow"], (method, address)
            continue
        assert refused.status_code == 400, (method, address)
        if method != "HEAD":
            assert refused.json()["error"].startswith("unknown query parameters 'limti', 'statsu', ")


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "OPTIONS"])
def test_both_forms_of_an_address_answer_without_a_redirect(method: str, boss: Boss, ids: dict[str, str]) -> None:
    for address in OF_API:
        path = address.at(**ids)
        forms_of_it = (path, path[:-1] if path.endswith("/") else f"{path}/")
        answers = [boss.ask(form, method, b"[]") for form in forms_of_it]

        assert answers[0].status_code == answers[1].status_code, (method, path)
        assert not 300 <= answers[0].status_code < 400


@pytest.mark.parametrize("body", [b"[" * (2**20 + 1), b'{"reason": "' + b"x" * 2**20 + b'"}'], ids=["deep", "long"])
def test_a_body_above_a_mebibyte_is_refused_before_it_is_parsed(body: bytes, boss: Boss, ids: dict[str, str]) -> None:
    for address, method in EACH_METHOD:
        refused = boss.ask(address.at(**ids), method, body)

        assert refused.status_code == 413, (method, address)
        if method != "HEAD":
            assert "1 MiB" in refused.json()["error"]
