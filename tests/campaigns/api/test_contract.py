"""The OpenAPI document says exactly what is answered: each operation is called with real things, and answers fit.

`tests.contract` holds the answers against it, here and in every other test; files are looked at here.
"""

import csv
import json
import shlex
from collections.abc import Callable, Iterator
from io import BytesIO, StringIO
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.contrib.auth.models import Group

from tests.campaigns.api.world import OPERATIONS, World, place
from tests.contract import DOCUMENT, PATTERNS, check_value

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


ORDER = {"sql": "SELECT 1", "target": {"all": True}, "timeout": 60}
BODIES: dict[str, Callable[[World], Any]] = {
    "campaigns_create": lambda world: ORDER,
    "campaigns_estimate_create": lambda world: ORDER,
    "campaigns_rerun_create": lambda world: {"states": ["answered"]},
    "campaigns_sql_create": lambda world: {"sql": "SELECT host, labels, NULL, 1.5 FROM hosts"},
    "campaigns_widen_create": lambda world: {"all": True},
    "campaigns_approve_create": lambda world: {},
    "approval_rules_create": lambda world: {"group": Group.objects.first().name, "hosts_above": 5},
    "approval_rules_partial_update": lambda world: {"hosts_above": 5},
    "approval_rules_grant_create": lambda world: {},
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
    "tokens_create": lambda world: {"name": "nightly", "labels": [world.label.name]},
    "schema_learn_create": lambda world: {},
    "schedules_create": lambda world: {"query": world.query.pk, "every": 60, "target": {"all": True}},
    "schedules_partial_update": lambda world: {"every": 90},
    "hooks_create": lambda world: {"name": "new", "address": "https://1.1.1.1/fleet"},
    "hooks_partial_update": lambda world: {"name": "other"},
}


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
    schema = DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]
    return schema["example"] if schema.get("properties") else {}


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
    elif "diff.json" in name:
        check_value({"type": "array", "items": {"$ref": "#/components/schemas/ChangedHost"}}, json.loads(content), name)
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
