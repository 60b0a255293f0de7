"""What the document says of each member: its type, what it is, and of a number what it counts."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from fleet.api.openapi import NO_NUL, NOT_BLANK
from tests.contract import DOCUMENT, validator
from tests.factories import make_host, make_user

SIZES = ("bytes", "characters", "milliseconds or bytes")
TIMES = ("microseconds", "milliseconds", "seconds", "minutes", "days")
COUNTED = (
    *("hosts", "rows", "campaigns", "answers", "results", "items", "lines", "runs", "tables", "tries", "times"),
    *("blocks", "gateways", "reads", "percent", "campaigns, hosts or rows"),
)
# Numbers that count nothing: which one it is, or its place among others.
WHICH = ("id of", "its id", "its number", "its place", "number of", "seq", "status of HTTP", "which of the")
NAMES_OF_TIMES_AND_SIZES = {
    "_ms": "milliseconds", "_bytes": "bytes", "_size": "bytes", "bytes_waiting": "bytes", "timeout": "seconds",
    "answer_within": "seconds", "expires_after": "seconds", "every": "minutes", "days": "days", "age": "seconds",
    "wait": "seconds", "_interval": "seconds", "_memory": "bytes", "_percent": "percent", "per_second": "hosts",
}  # fmt: skip
FORMS = {"type", "$ref", "allOf", "oneOf", "anyOf"}
FREE = {"ThenAndNow.then", "ThenAndNow.now"}  # limits are numbers, truths, moments and rollouts


def members() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give every member of every schema and every parameter, with its full name and its own."""
    for schema, content in DOCUMENT["components"]["schemas"].items():
        for name, inner in content.get("properties", {}).items():
            yield f"{schema}.{name}", name, inner
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            for one in operation.get("parameters", []):
                yield f"{method} {path} {one['name']}", one["name"], {**one["schema"], **one}


def is_number(schema: dict[str, Any]) -> bool:
    return schema.get("type") in ("integer", "number")


def test_every_member_has_a_type_and_says_what_it_is() -> None:
    wrong = [place for place, _, inner in members() if not FORMS & set(inner) and place not in FREE]
    wrong += [place for place, _, inner in members() if "description" not in inner and "$ref" not in inner]

    assert wrong == []


def test_every_number_says_what_it_counts_or_that_it_counts_nothing() -> None:
    begins = (*SIZES, *TIMES, *COUNTED, *WHICH)
    wrong = [
        f"{place}: {inner.get('description')}"
        for place, _, inner in members()
        if is_number(inner) and not str(inner.get("description", "")).startswith(begins)
    ]

    assert wrong == []


def test_every_time_and_size_says_its_unit_first() -> None:
    wrong, seen = [], set()

    for place, name, inner in members():
        for end, unit in NAMES_OF_TIMES_AND_SIZES.items():
            if is_number(inner) and (name == end or (name.endswith(end) and end[0] == "_")):
                seen.add(end)
                if not inner["description"].startswith(unit):
                    wrong.append(f"{place}: {inner['description']}, not {unit}")

    assert wrong == []
    assert seen == set(NAMES_OF_TIMES_AND_SIZES)


def test_headers_are_declared_where_they_are_taken_and_given() -> None:
    responses, launch = DOCUMENT["components"]["responses"], DOCUMENT["paths"]["/api/v1/campaigns/"]["post"]

    for name, header in {
        "TooMany": "Retry-After", "Unavailable": "Retry-After", "NotSignedIn": "WWW-Authenticate",
        "MethodNotAllowed": "Allow",
    }.items():  # fmt: skip
        assert header in responses[name]["headers"], name
    assert all(one["content"]["application/json"]["schema"] for one in responses.values())
    assert [one["name"] for one in launch["parameters"] if one["in"] == "header"] == ["Idempotency-Key"]


def test_every_file_has_its_media_type_and_its_name() -> None:
    types = {
        "csv": "text/csv", "ndjson": "application/x-ndjson", "json": "application/json",
        "parquet": "application/vnd.apache.parquet", "file": "application/octet-stream",
        "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    }  # fmt: skip
    files = {path: operations["get"] for path, operations in DOCUMENT["paths"].items() if not path.endswith("/")}

    for path, operation in files.items():
        answer = operation["responses"]["200"]
        assert types[path.rpartition("/")[2].rpartition(".")[2]] in answer["content"], path
        assert "Content-Disposition" in answer["headers"], path
    assert len(files) > 9


def bodies() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every schema of what is sent, with its name."""
    yield from ((name, one) for name, one in DOCUMENT["components"]["schemas"].items() if name.endswith("Request"))


def wholes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give what a member says of whole numbers, as itself, in a list, or as one of several kinds."""
    if schema.get("type") == "integer":
        yield schema
    for inner in (*schema.get("oneOf", ()), *([schema["items"]] if "items" in schema else [])):
        yield from wholes(inner)


def test_bodies_take_no_member_that_is_not_described_and_whole_numbers_within_bounds() -> None:
    open_ended = [
        name for name, one in bodies() if one["type"] == "object" and one["additionalProperties"] is not False
    ]
    unbound = [
        f"{name}.{member}"
        for name, one in bodies()
        for member, inner in one.get("properties", {}).items()
        for whole in wholes(inner)
        if not {"minimum", "maximum"} <= set(whole)
    ]

    assert len(list(bodies())) > 30
    assert (open_ended, unbound) == ([], [])


# Where in the body of an estimate a number stands, and which schema has its bounds.
NUMBERS = {
    "OrderRequest": ((), ("timeout", "answer_within", "query")),
    "SampleRequest": (("target", "sample"), ("percent", "count")),
    "EarlierRequest": (("target", "campaign"), ("id",)),
    "CanaryRequest": (("rollout", "canary"), ("percent", "count")),
    "RolloutRequest": (("rollout",), ("per_second",)),
    "BrakesRequest": (
        ("rollout", "stop_if"),
        ("denylisted", "failed_percent", "silent_percent", "median_wall_ms", "rows"),
    ),
}


@pytest.mark.django_db
@pytest.mark.usefixtures("board")
def test_the_bounds_of_a_launch_are_those_that_are_held() -> None:
    make_host()
    client, wrong = APIClient(), []
    client.force_authenticate(make_user("boss", admin=True))

    for schema, (place, names) in NUMBERS.items():
        for name in names:
            bounds = DOCUMENT["components"]["schemas"][schema]["properties"][name]
            low, high, known = bounds["minimum"], bounds["maximum"], name not in ("id", "query")
            for value, taken in ((low, known), (high, known), (low - 1, False), (high + 1, False)):
                answered = client.post("/api/v1/campaigns/estimate/", body(place, name, value), format="json")
                expected = taken and not (value == low and bounds.get("exclusiveMinimum"))
                if (answered.status_code == 200) != expected or answered.status_code not in (200, 400):
                    wrong.append((schema, name, value, answered.status_code, answered.json()))

    assert wrong == []


def body(place: tuple[str, ...], name: str, value: float) -> dict[str, Any]:
    """Give an estimate's body with this number in its place."""
    made: dict[str, Any] = {"target": {"all": True}, **({} if name == "query" else {"sql": "SELECT 1"})}
    inner = made
    for step in place:
        inner = inner.setdefault(step, {})
    inner[name] = value
    if name == "id":
        inner["states"] = ["missed"]
    return made


@pytest.mark.django_db
def test_hours_of_a_rule_may_leave_out_what_the_document_does_not_require() -> None:
    client = APIClient()
    client.force_authenticate(make_user("boss", admin=True))
    schemas = DOCUMENT["components"]["schemas"]

    sent = {"group": "Observer", "hours": [{"from": "08:00", "to": "18:00"}]}
    made = client.post("/api/v1/approval-rules/", sent, format="json")

    assert made.status_code == 201, made.json()
    assert set(made.json()["hours"][0]) == {"from", "to"}
    assert [sorted(schemas[name]["required"]) for name in ("Window", "WindowRequest")] == [["from", "to"]] * 2


def fits(schema: dict[str, Any], value: Any) -> bool:
    """Say whether a value is one that the schema says is taken."""
    kept = {name: said for name, said in schema.items() if name not in ("in", "required", "schema")}
    return bool(validator(json.dumps(kept)).is_valid(value))


def test_what_is_taken_when_nothing_is_said_may_be_said() -> None:
    wrong = [
        f"{place}: {inner['default']!r}"
        for place, _, inner in members()
        if "default" in inner and not fits(inner.get("schema", inner), inner["default"])
    ]

    assert wrong == []


def texts_taken() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every free text of bodies and query parameters, and those of lists, as it is described."""
    for place, name, inner in members():
        schema = inner.get("schema", inner)
        schema = schema.get("items", schema)
        is_form = schema.get("pattern", NO_NUL) not in (NO_NUL, NOT_BLANK)  # such as a time of day
        free = schema.get("type") == "string" and not {"enum", "format"} & set(schema) and not is_form
        if free and (inner.get("in") == "query" or place.removesuffix(f".{name}").endswith("Request")):
            yield place, schema


def test_no_text_is_said_to_take_a_nul_and_none_that_may_not_be_empty_to_take_blanks() -> None:
    wrong = [
        place
        for place, schema in texts_taken()
        if not fits(schema, "é\n😀".ljust(schema.get("minLength", 0), "x"))
        or fits(schema, "a\0b".ljust(schema.get("minLength", 0), "x"))
        or (schema.get("minLength") and fits(schema, " \t"))
    ]

    assert len(list(texts_taken())) > 80
    assert wrong == []


SQL = "SELECT 1 -- "
WINDOW = {"from": "08:00", "to": "24:00"}
# Where a text or a list is sent, its member, what is sent beside it, and one of some length; hosts are its item.
LENGTHS: dict[str, tuple[str, str, dict[str, Any], Callable[[int, int], Any]]] = {
    "EnrollSecretRequest": ("enroll-secrets/", "secret", {"name": "laptops"}, lambda length, _: "s" * length),
    "QueryRequest": ("queries/", "sql", {"name": "ports"}, lambda length, _: SQL.ljust(length, "x")),
    "SelectionRequest": ("campaigns/estimate/", "hosts", {"sql": "SELECT 1"}, lambda length, host: [host] * length),
    "ApprovalRuleRequest": ("approval-rules/", "hours", {"group": None}, lambda length, _: [WINDOW] * length),
}
STEPS = {"minLength": -1, "maxLength": 1, "maxItems": 1}  # beyond a bound


@pytest.mark.django_db
@pytest.mark.usefixtures("board")
def test_the_lengths_of_bodies_are_those_that_are_held() -> None:
    host, client, wrong = make_host().pk, APIClient(), []
    client.force_authenticate(make_user("boss", admin=True))

    for schema, (address, name, beside, of) in LENGTHS.items():
        said = DOCUMENT["components"]["schemas"][schema]["properties"][name]
        bounds = [(said[key], step) for key, step in STEPS.items() if said.get(key, 1) != 1]
        assert bounds, f"{schema}.{name} has no bounds"
        for length, taken in [(bound + beyond, not beyond) for bound, step in bounds for beyond in (0, step)]:
            member = {name: of(length, host)}
            sent = {**beside, **({"target": member} if schema == "SelectionRequest" else member)}
            with transaction.atomic():
                answered = client.post(f"/api/v1/{address}", sent, format="json")
                transaction.set_rollback(True)
            if (answered.status_code < 300) != taken or answered.status_code not in (200, 201, 400):
                wrong.append((schema, name, length, answered.status_code, str(answered.json())[:300]))

    assert wrong == []
