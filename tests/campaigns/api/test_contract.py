"""The OpenAPI document says exactly what is answered: each operation is called with real things, and answers fit.

`tests.contract` holds the answers against it, here and in every other test; files are looked at here.
"""

import csv
import json
import shlex
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import BytesIO, StringIO
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from django.contrib.auth.models import Group, User
from rest_framework.test import APIClient

from agents.carving import store
from agents.carving.models import Carve, CarveBlock
from agents.models import EnrollSecret
from campaigns.answers.models import QueryView
from campaigns.hooks import keeping
from campaigns.hooks.models import Hook
from campaigns.launching.models import ApprovalRule, Quota
from campaigns.models import Campaign, Query
from campaigns.recurring.models import Schedule
from campaigns.tokens import ApiToken
from tests.contract import DOCUMENT, PATTERNS, check_value
from tests.factories import answer, end, learn, make_campaign, make_host, make_label, make_user

OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
# Where anything may stand, and why.
FREE = {
    "AuditLine/details": "each action adds members of its own",
    "ThenAndNow/then": "limits are numbers, truths, moments and rollouts",
    "ThenAndNow/now": "limits are numbers, truths, moments and rollouts",
    "SqlAnswer/rows": "cells of people's SQL may be lists and structs",
    "SqlOverCampaign/rows": "cells of people's SQL may be lists and structs",
}
ROW = {"type": "object", "additionalProperties": {"type": "string"}}
MARKS = {"truncated": {"type": "boolean"}, "late": {"type": "boolean"}}
ROW_LINE = {"type": "object", "properties": {"host": {"$ref": "#/components/schemas/HostName"}, "row": ROW, **MARKS}}
OTHERS = {"live_queries_disable_create", "live_queries_enable_create"}  # they come last: nothing is launched between


def members(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk over a schema and all that is in it, without following references."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from members(inner, f"{path}/{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from members(schema[name], path)
    for name in ("oneOf", "allOf", "anyOf"):
        for inner in schema.get(name, []):
            yield from members(inner, path)


def is_bare(schema: dict[str, Any]) -> bool:
    """Say whether anything fits."""
    if schema.get("type") == "object":
        return "properties" not in schema and schema.get("additionalProperties") in (None, True, {})
    return not {"type", "$ref", "oneOf", "allOf", "anyOf", "enum"} & set(schema)


def answered_schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk over every schema that may be in an answer."""
    yield from DOCUMENT["components"]["schemas"].items()
    for name, (_, _, operation) in OPERATIONS.items():
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values():
                yield f"{name} {status}", content["schema"]


def test_no_schema_takes_anything_but_where_it_is_said_why() -> None:
    bare = {path for name, schema in answered_schemas() for path, inner in members(schema, name) if is_bare(inner)}

    assert bare == set(FREE)


def test_every_member_is_described_with_an_example_that_fits() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for member, inner in schema.get("properties", {}).items():
            assert "description" in inner or "$ref" in inner, f"{name}.{member} says nothing"
            is_page = name.startswith(("Page", "Paginated"))
            assert is_page or "example" in inner or "$ref" in inner, f"{name}.{member} has no example"
            if "example" in inner:
                check_value({**inner}, inner["example"], f"the example of {name}.{member}")
        if "example" in schema:
            check_value({"$ref": f"#/components/schemas/{name}"}, schema["example"], f"the example of {name}")


def test_every_operation_says_how_it_is_refused() -> None:
    for name, (method, path, operation) in OPERATIONS.items():
        refusals = {int(status) for status in operation["responses"] if status >= "400"}
        assert {400, 401, 403, 413, 429, 503} <= refusals, name
        assert ("{" in path) <= (404 in refusals), name
        assert method == "get" or {408, 415} <= refusals, name
        assert operation["security"] == [{"token": []}, {"cookieAuth": []}]
        assert all(parameter.get("description") for parameter in operation.get("parameters", [])), name
    assert "Retry-After" in DOCUMENT["components"]["responses"]["TooMany"]["headers"]


# --- calling all of them ----------------------------------------------------------------------------------------


class World:
    """One of everything, and a client that may do everything."""

    def __init__(self) -> None:
        self.boss, self.bob = make_user("boss", admin=True), make_user("bob", admin=True)
        self.hosts = [make_host(), make_host(), make_host()]
        learn("linux", "listening_ports")
        self.query = Query.objects.create(name="ports", sql="SELECT 1", created_by=self.boss)
        self.label = make_label("web", *self.hosts[:2])
        self.before = self.ended({"pid": "1", "port": "22"})
        self.ended_now = self.ended({"pid": "1", "port": "22"}, {"pid": "2", "port": "4444"})
        Campaign.objects.filter(pk__in=[self.before.pk, self.ended_now.pk]).update(query=self.query)
        self.client = APIClient()
        self.client.force_authenticate(self.boss)

    def ended(self, *rows: dict[str, str]) -> Campaign:
        """Give a campaign that two hosts answered, long ago."""
        campaign = make_campaign(*self.hosts, by=self.boss)
        answer(campaign, self.hosts[0], *rows)
        answer(campaign, self.hosts[1], {"pid": "7", "port": "80"}, wall_ms=12)
        return end(campaign, timedelta(days=1))

    def running(self, **order: Any) -> Campaign:
        """Give a campaign that goes on."""
        return make_campaign(*self.hosts, by=self.boss, **order)

    def waiting(self, by: User | None = None) -> Campaign:
        """Give a campaign, of another person unless said, that waits for a second one."""
        rule = ApprovalRule.objects.create(hosts_above=0)
        client = APIClient()
        client.force_authenticate(by or self.bob)
        made = client.post("/api/v1/campaigns/", {"sql": "SELECT 1", "target": {"all": True}}, format="json")
        rule.delete()
        assert made.json()["waits_for"] == "approval", made.json()
        return Campaign.objects.get(pk=made.json()["id"])

    def carve(self) -> Carve:
        """Give a carve of which all is here."""
        Campaign.objects.filter(pk=self.ended_now.pk).update(sql="SELECT * FROM carves WHERE carve = 1")
        at = self.ended_now.ended_at
        facts = {"block_count": 1, "block_size": 5, "carve_size": 5, "received_blocks": 1, "received_bytes": 5}
        carve = Carve.objects.create(
            **facts,
            host=self.hosts[0],
            carve_id="guid",
            campaign_id=self.ended_now.pk,
            path="/etc/hosts",
            session_id="s",
            begun_at=at,
            announced_at=at,
            completed_at=at,
        )
        store.write(carve, 0, b"bytes")
        CarveBlock.objects.create(carve=carve, number=0, size=5)
        return carve

    def hook(self, *, stopped: bool = False) -> Hook:
        """Give a hook."""
        hook = keeping.make(Hook(name="chat", address="https://1.1.1.1/fleet"), self.boss)
        if stopped:
            keeping.stop(hook, self.boss)
        return hook


def group_key(world: World) -> str:
    found = world.client.get(f"/api/v1/campaigns/{world.ended_now.pk}/groups/?by=port").json()
    return str(found["results"][0]["key"])


def paused(world: World) -> Campaign:
    campaign = world.running()
    assert world.client.post(f"/api/v1/campaigns/{campaign.pk}/pause/").status_code == 200
    return campaign


def rule(world: World) -> ApprovalRule:
    return ApprovalRule.objects.get_or_create(group=Group.objects.last(), defaults={"hosts_above": 9_999})[0]


def view(world: World) -> QueryView:
    return world.query.views.get_or_create(name="by port", defaults={"sql": "SELECT 1"})[0]


def schedule(world: World) -> Schedule:
    """Give a schedule."""
    found = Schedule.objects.first()
    if found is None:
        order = {"query": world.query.pk, "every": 60, "target": {"all": True}}
        made = world.client.post("/api/v1/schedules/", order, format="json")
        assert made.status_code == 201, made.json()
        found = Schedule.objects.get(pk=made.json()["id"])
    return found


def of_hook(world: World) -> dict[str, Any]:
    hook = world.hook()
    return {"id": hook.pk, "delivery": keeping.test(hook, world.boss).pk}


def approved(world: World) -> dict[str, Any]:
    return {"campaign_id": world.waiting().pk}


ORDER = {"sql": "SELECT 1", "target": {"all": True}, "timeout": 60}
# What stands in the address, by the operation or the first word of its path.
PLACES: dict[str, Callable[[World], dict[str, Any]]] = {
    "campaigns": lambda world: {"id": world.ended_now.pk, "seq": 1, "place": 1, "key": group_key(world)},
    "campaigns_stop_create": lambda world: {"id": world.running().pk},
    "campaigns_pause_create": lambda world: {"id": world.running().pk},
    "campaigns_resume_create": lambda world: {"id": paused(world).pk},
    "campaigns_widen_create": lambda world: {"id": world.running(rollout={"canary": {"count": 1}}).pk},
    "campaigns_approve_create": lambda world: {"id": world.waiting().pk},
    "campaigns_reject_create": lambda world: {"id": world.waiting().pk},
    "campaigns_withdraw_create": lambda world: {"id": world.waiting(world.boss).pk},
    "campaigns_destroy": lambda world: {"id": world.ended({"pid": "1"}).pk},
    "approvals": approved,
    "approval-rules": lambda world: {"id": rule(world).pk},
    "quotas": lambda world: {"id": Quota.objects.get_or_create(person=world.bob, defaults={"rows_kept": 9})[0].pk},
    "hosts": lambda world: {"id": world.hosts[0].pk},
    "labels": lambda world: {"id": world.label.pk},
    "labels_destroy": lambda world: {"id": make_label("gone").pk},
    "queries": lambda world: {"id": world.query.pk, "view": view(world).pk},
    "queries_destroy": lambda world: {"id": Query.objects.create(name="gone", sql="SELECT 1").pk},
    "enroll-secrets": lambda world: {"id": EnrollSecret.objects.offer("laptops", "long enough for a secret").pk},
    "tokens": lambda world: {"id": ApiToken.objects.create(user=world.boss)[0].pk},
    "carves": lambda world: {"id": world.carve().pk},
    "hooks": of_hook,
    "schedules": lambda world: {"id": schedule(world).pk},
    "hooks_start_create": lambda world: {"id": world.hook(stopped=True).pk},
}
BODIES: dict[str, Callable[[World], Any]] = {
    "campaigns_create": lambda world: ORDER,
    "campaigns_estimate_create": lambda world: ORDER,
    "campaigns_rerun_create": lambda world: {"states": ["answered"]},
    "campaigns_sql_create": lambda world: {"sql": "SELECT host, labels, NULL, 1.5 FROM hosts"},
    "campaigns_widen_create": lambda world: {"all": True},
    "campaigns_approve_create": lambda world: {},
    "approval_rules_create": lambda world: {"group": Group.objects.first().name, "hosts_above": 5},
    "approval_rules_partial_update": lambda world: {"hosts_above": 5},
    "quotas_create": lambda world: {"group": Group.objects.last().name, "rows_kept": 5},
    "quotas_partial_update": lambda world: {"rows_kept": 6},
    "labels_create": lambda world: {"name": "new", "from": {"campaign": world.before.pk, "states": ["answered"]}},
    "labels_partial_update": lambda world: {"description": "what serves pages"},
    "labels_hosts_create": lambda world: {"hosts": [world.hosts[2].pk]},
    "labels_hosts_destroy": lambda world: {"hosts": [world.hosts[2].hostname]},
    "queries_create": lambda world: {"name": "new", "sql": "SELECT 1"},
    "queries_update": lambda world: {"name": "ports", "sql": "SELECT 2"},
    "queries_partial_update": lambda world: {"description": "who listens"},
    "queries_views_create": lambda world: {"name": "by address", "sql": "SELECT 1"},
    "queries_latest_sql_create": lambda world: {"sql": "SELECT count(*) FROM latest"},
    "enroll_secrets_create": lambda world: {"name": "new"},
    "tokens_create": lambda world: {"name": "nightly", "labels": ["web"]},
    "schema_learn_create": lambda world: {},
    "schedules_create": lambda world: {"query": world.query.pk, "every": 60, "target": {"all": True}},
    "schedules_partial_update": lambda world: {"every": 90},
    "hooks_create": lambda world: {"name": "new", "address": "https://1.1.1.1/fleet"},
    "hooks_partial_update": lambda world: {"name": "other"},
}


@pytest.fixture
def world(transactional_db: None, board: None, carves_folder: Any, settings: Any) -> World:
    """Give one of everything."""
    return World()


def place(world: World, name: str, path: str) -> str:
    """Put real things into an address."""
    values = PLACES.get(name, PLACES.get(path.split("/")[3], lambda _: {}))(world) if "{" in path else {}
    return path.format(**values)


def call(world: World, name: str) -> Any:
    """Send the request of an operation."""
    method, path, operation = OPERATIONS[name]
    address = place(world, name, path)
    if name.startswith("campaigns_diff"):
        address += f"?with={world.before.pk}"
    body = BODIES[name](world) if name in BODIES else example_of(operation)
    asked = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    return world.client.generic(method.upper(), address, **asked)


def example_of(operation: dict[str, Any]) -> Any:
    """Give the example of its body; None = it takes none."""
    if "requestBody" not in operation:
        return None
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    return DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]["example"]


def content_of(answered: Any) -> bytes:
    return b"".join(answered.streaming_content) if answered.streaming else answered.content


def look_at_file(name: str, content: bytes) -> None:
    """Look at what no schema of the document describes."""
    if "csv" in name:
        assert len(list(csv.reader(StringIO(content.decode())))) > 1
    elif "export.ndjson" in name:
        lines = content.splitlines()
        assert lines
        for line in lines:
            check_value(ROW_LINE, json.loads(line), name)
    elif "audit.ndjson" in name:
        for line in content.splitlines():
            check_value({"$ref": "#/components/schemas/AuditLine"}, json.loads(line), name)
    elif "diff.ndjson" in name:
        for line in content.splitlines():
            check_value({"$ref": "#/components/schemas/ChangedHost"}, json.loads(line), name)
    elif "export.json" in name:
        check_value({"type": "array", "items": {"$ref": "#/components/schemas/Result"}}, json.loads(content), name)
    else:
        assert BytesIO(content).read(4) in (b"PAR1", b"PK\x03\x04", b"byte"), name


def test_every_operation_answers_as_documented_when_called_with_real_things(world: World) -> None:
    calls = [name for name in OPERATIONS if name not in OTHERS]

    for name in [*calls, *sorted(OTHERS)]:
        answered = call(world, name)

        assert 200 <= answered.status_code < 300, (name, answered.content[:500])
        if answered.streaming:
            look_at_file(name, content_of(answered))


# --- lists ------------------------------------------------------------------------------------------------------

LISTS = [
    name
    for name, (method, _, operation) in OPERATIONS.items()
    if method == "get" and any(one["name"] == "limit" for one in operation.get("parameters", []))
]


def pages(world: World, address: str) -> list[Any]:
    """Follow a list to its end."""
    items, following = [], address
    while following:
        page = world.client.get(following).json()
        items += page["results"]
        following = page["next"]
    return items


def test_every_list_is_walked_item_by_item_without_a_gap_or_a_repetition(world: World) -> None:
    for name in LISTS:
        address = place(world, name, OPERATIONS[name][1])
        before = f"with={world.before.pk}&" if "diff" in name else ""
        if name.startswith("audit"):  # to read it is to add to it
            continue

        whole = world.client.get(f"{address}?{before}").json()["results"]

        assert without_age(pages(world, f"{address}?{before}limit=1")) == without_age(whole), name


def without_age(items: list[Any]) -> list[Any]:
    """Leave out what grows from one look to the next."""
    return [{member: value for member, value in item.items() if member != "age"} for item in items]


NARROWED = {
    "labels/{label}/hosts/?hostname={hostname}": 1,
    "labels/{label}/hosts/?online=true": 0,
    "labels/{label}/hosts/?platform=linux": 2,
    "hosts/{host}/results/?state=answered&since=3600": 2,
    "hosts/{host}/results/?state=failed": 0,
    "hosts/{host}/results/?since=2100-01-01T00:00:00Z": 0,
    "enroll-secrets/?search=LAP": 1,
    "enroll-secrets/?search=nothing": 0,
}


def test_lists_are_narrowed(world: World) -> None:
    EnrollSecret.objects.offer("laptops", "long enough for a secret")
    places = {"label": world.label.pk, "host": world.hosts[0].pk, "hostname": world.hosts[0].hostname}

    found = {asked: world.client.get(f"/api/v1/{asked.format(**places)}").json()["count"] for asked in NARROWED}

    assert found == NARROWED


# --- examples of calls ------------------------------------------------------------------------------------------


def test_every_operation_has_examples_of_which_those_that_read_are_answered(world: World) -> None:
    for name, (method, path, operation) in OPERATIONS.items():
        samples = {sample["label"]: sample["source"] for sample in operation["x-codeSamples"]}
        assert list(samples) == ["curl", "Python", "JavaScript"]
        compile(samples["Python"], name, "exec")
        asked = parsed(samples["curl"])
        assert asked["method"] == method.upper()
        assert PATTERNS[path].fullmatch(urlsplit(asked["address"]).path.rstrip("/")), name
        assert asked["address"] in samples["Python"], name
        assert asked["address"] in samples["JavaScript"], name
        if asked["body"] is not None:
            check_value(operation["requestBody"]["content"]["application/json"]["schema"], asked["body"], name)
        if method == "get":
            answered = send(world, name, path, asked)
            assert answered.status_code == 200, (name, answered.content[:300])
            content_of(answered)


def parsed(curl: str) -> dict[str, Any]:
    """Read a line of curl."""
    words = shlex.split(curl.replace("\\\n", " "))
    options = dict(pairwise(words))
    address = next(word for word in words if word.startswith("$FLEET")).removeprefix("$FLEET")
    headers = [words[at + 1] for at, word in enumerate(words) if word == "-H"]
    body = options.get("-d")
    assert "Authorization: Bearer $TOKEN" in headers
    return {"method": options["-X"], "address": address, "body": None if body is None else json.loads(body)}


def send(world: World, name: str, path: str, asked: dict[str, Any]) -> Any:
    """Send it, of things that there are."""
    query = dict(parse_qsl(urlsplit(asked["address"]).query))
    if "with" in query:
        query["with"] = str(world.before.pk)
    return world.client.generic("GET", place(world, name, path), QUERY_STRING=urlencode(query))
