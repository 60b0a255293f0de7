"""Every member of every body takes the kind of JSON that the document says, and no other that could be read as it."""

import json
from typing import Any

from tests.campaigns.api.test_contract import BODIES
from tests.campaigns.api.world import OPERATIONS, World, place
from tests.contract import DOCUMENT

WRONG: dict[str, list[Any]] = {
    "boolean": [0, "true"],
    "integer": ["5", True, 1.5],
    "number": ["5", True],
    "string": [0, True],
    "array": ["", {}],
    "object": ["", []],
}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, also one of many that says no more."""
    while "$ref" in schema or len(schema.get("allOf", [])) == 1:
        reference = schema.get("$ref") or schema["allOf"][0]["$ref"]
        schema = DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]
    return schema


def members(operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if "requestBody" not in operation:
        return {}
    found = resolved(operation["requestBody"]["content"]["application/json"]["schema"]).get("properties", {})
    return {name: resolved(schema) for name, schema in found.items()}


def test_no_member_takes_another_kind_of_json(world: World) -> None:
    taken, tried = [], 0

    for name, (method, path, operation) in OPERATIONS.items():
        wanted = members(operation)
        if not wanted:
            continue
        address, body = place(world, name, path), BODIES[name](world) if name in BODIES else {}
        for member, schema in wanted.items():
            for value in WRONG.get(schema.get("type", ""), []):
                sent = json.dumps({**body, member: value})
                answered = world.client.generic(method.upper(), address, sent, content_type="application/json")
                tried += 1
                if answered.status_code != 400:
                    taken.append(f"{name} {member} {value!r}: {answered.status_code}")
                elif member not in answered.json()["error"] and member not in answered.json().get("fields", {}):
                    taken.append(f"{name} {member} {value!r}: {answered.json()}")

    assert taken == []
    assert tried > 100
