"""What the API says to requests that make no sense: a 4xx and a sentence, in JSON, whatever comes."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from agents.inventory import schemas
from campaigns.models import Campaign
from tests.factories import answer, make_campaign, make_host, make_label

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Api = Callable[[User | None], APIClient]

TEXTS = [
    ("campaigns/", {"sql": "{}", "target": {"all": True}}),
    ("campaigns/", {"sql": "SELECT 1", "target": {"all": True}, "name": "{}"}),
    ("campaigns/", {"sql": "SELECT 1", "target": {"all": True}, "reason": "{}"}),
    ("campaigns/", {"sql": "SELECT 1", "target": {"all": True}, "{}": 1}),
    ("campaigns/", {"sql": "SELECT 1", "target": {"{}": True}}),
    *(
        ("campaigns/", {"sql": "SELECT 1", "target": {"all": True, name: ["{}"]}})
        for name in ("hosts", "labels", "platforms", "exclude_labels")
    ),
    ("campaigns/estimate/", {"target": {"all": True}, "sql": "{}"}),
    ("campaigns/", {"sql": "SELECT 1", "target": {"campaign": {"id": 1, "states": ["{}"]}}}),
    ("campaigns/", {"sql": "SELECT 1", "target": {"campaign": {"id": 1, "group": "{}"}}}),
    ("campaigns/", {"sql": "SELECT 1", "target": {"all": True}, "rollout": {"then": "{}"}}),
    ("labels/", {"name": "{}"}),
    ("labels/", {"name": "web", "description": "{}"}),
    ("labels/", {"name": "web", "queries": {"linux": "{}"}}),
    ("labels/", {"name": "web", "queries": {"{}": "SELECT 1"}}),
    ("queries/", {"name": "{}", "sql": "SELECT 1"}),
    ("queries/", {"name": "ports", "sql": "{}"}),
    ("enroll-secrets/", {"name": "{}"}),
    ("enroll-secrets/", {"name": "laptops", "secret": "{}long-enough"}),
    ("enroll-secrets/", {"name": "laptops", "labels": ["{}"]}),
    ("tokens/", {"name": "{}"}),
    ("live-queries/disable/", {"reason": "{}"}),
]
TEXTS_IN_ADDRESSES = [
    *(f"campaigns/{{}}/targets{kind}?{name}=" for kind in ("/", ".csv") for name in ("search", "state", "delivered")),
    *(f"campaigns/{{}}/rows/?{name}=" for name in ("search", "where", "order", "where=a:")),
    *(f"campaigns/{{}}/groups/?{name}=" for name in ("by", "order", "limit")),
    *("campaigns/{}/results/?after=", "campaigns/?status="),
    *(f"hosts/?{name}=" for name in ("platform", "hostname", "uuid", "hardware_serial", "host_identifier")),
    *(f"schema/?{name}=" for name in ("platform", "search")),
]
NOT_JSON = [
    b"[" * 100_000,
    b'{"a":' * 5000,
    b'{"target":' + b"[" * 40 + b"]" * 40 + b"}",
    b'{"name": "\xff"}',
    b'\xef\xbb\xbf{"name": "web"}',
    b'{"name": NaN}',
    b'{"name": -Infinity}',
    b'{"name": 1e999}',
    b'{"name": ' + b"9" * 400 + b"}",
    b'{"name": ' + b"9" * 6000 + b"}",
    b"{",
    b'{"name": "web", "name": "web"}',
    b'{"name": "web", "target": [{"hosts": [], "ho\\u0073ts": []}]}',
    *(b"null", b"7", b"true", b'"name"', b"[]", b'[{"name": "web"}]'),
]


def refused(answer: Any, status: int = 400) -> str:
    """Give the sentence of a refusal."""
    assert answer.status_code == status, answer.content[:500]
    body = answer.json()
    assert set(body) <= {"error", "fields"}
    assert isinstance(body["error"], str)
    return str(body["error"])


def filled(body: Any, text: str) -> Any:
    """Put a text where the braces are."""
    if isinstance(body, dict):
        return {filled(name, text): filled(value, text) for name, value in body.items()}
    if isinstance(body, list):
        return [filled(value, text) for value in body]
    return body.replace("{}", text) if isinstance(body, str) else body


# --- bodies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\0", "a\0b"])
def test_what_is_no_text_is_refused(boss: APIClient, text: str) -> None:
    make_host()

    for path, body in TEXTS:
        refused(boss.post(f"/api/v1/{path}", json.dumps(filled(body, text)), content_type="application/json"))

    assert not Campaign.objects.exists()


@pytest.mark.parametrize("name", ["", " \n"])
@pytest.mark.parametrize("member", ["hosts", "labels", "platforms", "exclude_labels"])
def test_a_blank_name_means_nobody_by_accident(boss: APIClient, member: str, name: str) -> None:
    make_host()  # it has no serial, as most virtual machines
    target = {"platforms": ["linux"], member: [name]}

    sentence = refused(boss.post("/api/v1/campaigns/", {"sql": "SELECT 1", "target": target}, format="json"))

    assert repr(name) in sentence
    assert not Campaign.objects.exists()


@pytest.mark.parametrize("path", ["campaigns/", "campaigns/estimate/", "labels/", "tokens/"])
def test_a_body_that_is_not_strictly_json_is_refused(boss: APIClient, path: str) -> None:
    for body in NOT_JSON:
        assert "the body" in refused(boss.post(f"/api/v1/{path}", body, content_type="application/json"))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("labels/", {"name": "web"}),
        ("queries/", {"name": "ports", "sql": "SELECT 1"}),
        ("enroll-secrets/", {"name": "laptops"}),
        ("tokens/", {"name": "dashboard"}),
    ],
)
def test_an_unknown_member_is_refused_by_name(boss: APIClient, path: str, body: dict[str, Any]) -> None:
    before = boss.get(f"/api/v1/{path}").json()["count"]

    answer = boss.post(f"/api/v1/{path}", {**body, "colour": "red"}, format="json")

    assert "unknown member 'colour', allowed are name" in refused(answer)
    assert list(answer.json()["fields"]) == ["colour"]
    assert boss.get(f"/api/v1/{path}").json()["count"] == before


def test_a_change_with_an_unknown_member_changes_nothing(boss: APIClient) -> None:
    label = make_label("web")

    refused(boss.patch(f"/api/v1/labels/{label.pk}/", {"name": "db", "colour": "red"}, format="json"))

    label.refresh_from_db()
    assert label.name == "web"


def test_what_was_read_can_be_written_back(boss: APIClient) -> None:
    made = boss.post("/api/v1/queries/", {"name": "ports", "sql": "SELECT 1"}, format="json").json()

    changed = boss.put(f"/api/v1/queries/{made['id']}/", {**made, "sql": "SELECT 2"}, format="json")

    assert (changed.status_code, changed.json()["sql"]) == (200, "SELECT 2")


@pytest.mark.parametrize("verb", ["pause", "resume", "stop"])
def test_an_action_that_takes_no_body_refuses_one(boss: APIClient, verb: str) -> None:
    campaign = make_campaign(make_host())

    for body in ('{"reason": "enough"}', "[]", "[1]", '"stop"', "null", "0"):
        refused(boss.post(f"/api/v1/campaigns/{campaign.pk}/{verb}/", body, content_type="application/json"))

    campaign.refresh_from_db()
    assert (campaign.status, campaign.ended_by) == ("running", "")


@pytest.mark.parametrize("body", [{}, {"data": {}, "format": "json"}, {"data": "", "content_type": "text/plain"}])
def test_an_action_that_takes_no_body_takes_an_empty_one(boss: APIClient, body: Any) -> None:
    campaign = make_campaign(make_host())

    assert boss.post(f"/api/v1/campaigns/{campaign.pk}/pause/", **body).status_code == 200


def test_of_thousands_of_mistakes_the_first_twenty_are_named(boss: APIClient) -> None:
    address = f"/api/v1/labels/{make_label('web').pk}/hosts/"
    items = boss.post(address, {"hosts": [0] * 30_000}, format="json")
    members = boss.post(address, {f"member{n}": n for n in range(30_000)}, format="json")

    assert "hosts.0 0: 0 is neither the id nor the name of a host" in refused(items)
    assert "unknown member" in refused(members)
    assert [len(answer.json()["fields"]) for answer in (items, members)] == [20, 20]


LONG = "y" * 200_000


@pytest.mark.parametrize(
    ("path", "member", "value", "end"),
    [
        ("campaigns/", "target", {"hosts": {"x": LONG}}, "is not a list"),
        ("campaigns/", "target", LONG, "is not an object like {'all': true}"),
        ("campaigns/", "target", {LONG: 1}, "online, sample"),
        ("campaigns/", "target", {"platforms": [LONG]}, "freebsd, other"),
        ("campaigns/", "target", {"all": True, "sample": [LONG]}, "nor {'count': n}"),
        ("campaigns/", "target", {"campaign": LONG}, "'states': […]}"),
        ("campaigns/", "rollout", {"then": LONG}, "is neither 'ask' nor 'auto'"),
        ("campaigns/", "start_at", LONG, "2026-01-31T08:00:00Z"),
        ("campaigns/", "query", LONG, ""),
        ("campaigns/", LONG, 1, ""),
        ("schedules/", "crontab", LONG, ""),
        ("tokens/", "role", LONG, ""),
        ("labels/", "queries", {LONG: "SELECT 1"}, ""),
    ],
)
def test_of_a_long_value_the_beginning_and_what_is_wrong_are_said(
    boss: APIClient, path: str, member: str, value: Any, end: str
) -> None:
    other = {"campaigns/": {"sql": "SELECT 1", "target": {"all": True}}, "schedules/": {}}.get(path, {"name": "long"})
    response = boss.post(f"/api/v1/{path}", {**other, member: value}, format="json")

    assert response.status_code == 400
    assert len(response.content) < 20_000
    assert refused(response).endswith(end)
    assert "yyy" in refused(response)


def test_deleting_with_a_body_deletes_nothing(boss: APIClient) -> None:
    label, host = make_label("web"), make_host()

    answer = boss.delete(f"/api/v1/labels/{label.pk}/", {"hosts": [host.pk]}, format="json")  # hosts/ is missing

    assert "unknown member 'hosts'" in refused(answer)
    label.refresh_from_db()


# --- query strings and headers ---------------------------------------------------------------------------------


def test_a_nul_in_the_address_is_refused(boss: APIClient) -> None:
    host = make_host()
    campaign = make_campaign(host)
    answer(campaign, host, {"a": "1"})

    for path in TEXTS_IN_ADDRESSES:
        for value in ("%00", "a%00b"):
            refused(boss.get(f"/api/v1/{path.format(campaign.pk)}{value}"))


@pytest.mark.parametrize(
    "path",
    [
        *("campaigns/", "hosts/", "labels/", "queries/", "enroll-secrets/", "tokens/"),
        *(f"campaigns/{{}}/{name}/" for name in ("targets", "rows", "groups", "results", "carves")),
    ],
)
def test_a_page_that_cannot_be_is_refused_by_name(boss: APIClient, path: str) -> None:
    campaign = make_campaign(make_host())

    for value in ("abc", "-1", "0", "1001", "5000", "", "9" * 30, "1e3"):
        sentence = refused(boss.get(f"/api/v1/{path.format(campaign.pk)}?limit={value}"))
        assert sentence == f"limit {value!r} is not a number from 1 to 1000"


@pytest.mark.parametrize("path", ["campaigns/", "hosts/", "labels/", "campaigns/{}/targets/", "campaigns/{}/rows/"])
def test_a_page_begins_at_a_number(boss: APIClient, path: str) -> None:
    campaign = make_campaign(make_host())

    for value in ("abc", "-1", "9" * 30):
        assert value in refused(boss.get(f"/api/v1/{path.format(campaign.pk)}?offset={value}"))


def test_an_unknown_value_of_a_filter_is_refused_by_name(boss: APIClient) -> None:
    assert "nope" in refused(boss.get("/api/v1/hosts/?platform=nope"))


def test_a_key_of_a_launch_is_a_text(boss: APIClient) -> None:
    make_host()
    body = {"sql": "SELECT 1", "target": {"all": True}}

    answer = boss.post("/api/v1/campaigns/", body, format="json", HTTP_IDEMPOTENCY_KEY="a\0b")

    assert "Idempotency-Key" in refused(answer)


@pytest.mark.parametrize("token", ["\xff", "a\0b", "x" * 5000, "a b"])
def test_a_token_that_cannot_be_one_is_not_signed_in(token: str) -> None:
    refused(Client().get("/api/v1/campaigns/", HTTP_AUTHORIZATION=f"Bearer {token}"), 401)


# --- addresses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *(
            "nope/",
            "",
            "campaigns/abc/",
            "campaigns/1/nope/",
            "campaigns/1/export.xyz",
            "campaigns/99999999999999999999/",
        ),
        *(
            "hosts/99999999999999999999/",
            "campaigns/99999999999999999999/export.csv",
            "carves/99999999999999999999/file",
        ),
        *("campaigns/999999999999999999/", f"campaigns/{'9' * 5000}/carves/", "campaigns/1%00/", "../v2/"),
    ],
)
def test_an_unknown_address_of_the_api_is_said_in_json(boss: APIClient, path: str) -> None:
    refused(boss.get(f"/api/v1/{path}"), 404)


def test_an_unknown_address_of_the_console_is_a_page(boss: APIClient) -> None:
    answer = boss.get("/nope/")

    assert (answer.status_code, answer["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_a_failure_of_the_server_is_said_in_json(boss: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("a secret of the server")

    monkeypatch.setattr(schemas, "tables", fail)
    boss.raise_request_exception = False

    assert "secret" not in refused(boss.get("/api/v1/schema/"), 500)


def test_what_django_itself_refuses_is_said_in_json(boss: APIClient) -> None:
    refused(boss.get("/api/v1/hosts/", HTTP_HOST="elsewhere.example"))
    assert "text/html" in boss.get("/login/", HTTP_HOST="elsewhere.example")["Content-Type"]
