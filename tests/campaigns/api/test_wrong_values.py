"""Each member of each body, sent with what it cannot be: the refusal names the value."""

from typing import Any

import pytest

from fleet.api.kinds import SECRETS
from tests.campaigns.api.test_contract import BODIES
from tests.campaigns.api.world import OPERATIONS, World, place
from tests.contract import DOCUMENT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]

WRONG: dict[str, Any] = {
    "zzqx": "zzqx",
    "98765432198": 98_765_432_198,
    "[zzqx]": ["zzqx"],
    "{zzqx}": {"zzqx": True},
}  # what the sentence must hold, without marks
EITHER_OR = {"campaigns_widen_create"}  # their members exclude each other


def schemas_of(operation: dict[str, Any]) -> dict[str, Any]:
    """Give what the body of an operation may hold, by name."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return {}
    schema = content["schema"]
    name = schema.get("$ref", "").rpartition("/")[2]
    found = DOCUMENT["components"]["schemas"][name] if name else schema
    return dict(sorted(found.get("properties", {}).items()))


def members(operation: dict[str, Any]) -> list[str]:
    """Name what the body of an operation may hold."""
    return list(schemas_of(operation))


@pytest.fixture(scope="module")
def operations() -> list[str]:
    """Name those that take a body."""
    return [name for name, (_, _, operation) in OPERATIONS.items() if members(operation)]


def test_a_wrong_value_is_named_with_its_member(operations: list[str]) -> None:
    world, nameless, refusals = World(), [], 0

    for name in operations:
        method, path, operation = OPERATIONS[name]
        address = place(world, name, path)
        right = BODIES[name](world) if name in BODIES and name not in EITHER_OR else {}
        for member in members(operation):
            for text, value in WRONG.items():
                told = getattr(world.client, method)(address, {**right, member: value}, format="json")
                if told.status_code != 400:
                    continue
                refusals += 1
                if not is_named(member, text, told.json()):
                    nameless.append(f"{name}: {member} = {value!r}: {told.json()['error']}")

    assert nameless == []
    assert refusals > 100


def test_a_text_is_measured_as_it_is_sent_with_its_outer_blanks(operations: list[str]) -> None:
    world, taken, refused = World(), [], 0

    for name in operations:
        method, path, operation = OPERATIONS[name]
        address, right = place(world, name, path), BODIES[name](world) if name in BODIES else {}
        for member, schema in schemas_of(operation).items():
            if most := schema.get("maxLength"):
                told = getattr(world.client, method)(address, {**right, member: f" {'x' * most}"}, format="json")
                refused += told.status_code == 400
                taken += [f"{name}: {member}"] if told.status_code < 400 else []

    assert taken == []
    assert refused > 15


def is_named(member: str, text: str, body: dict[str, Any]) -> bool:
    """Say whether each sentence about the member names the value, or none does where it is a secret."""
    about = [
        sentence
        for path, sentences in body.get("fields", {}).items()
        for sentence in sentences
        if path.split(".")[0] == member
    ]
    return all((text.strip("[]{}") in sentence) != (member in SECRETS) for sentence in about)


@pytest.mark.parametrize("value", ["zzqx" * 50, "\\" * 300, 'with "marks" ' * 20])
def test_a_long_value_is_cut_within_its_quotation_marks(value: str) -> None:
    body = {"sql": "SELECT 1", "target": {"all": True}, "timeout": value}
    told = World().client.post("/api/v1/campaigns/", body, format="json").json()["error"]

    named, _, objection = told.partition("…")
    assert named.startswith('timeout: "')
    assert objection.startswith('"'), told
    assert len(told) < 400
