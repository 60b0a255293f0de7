"""Members that exclude each other, or of which one is needed: the document and the server take the same bodies."""

from typing import Any

from tests.campaigns.api.world import OPERATIONS, World, place
from tests.contract import validator

ONE, RUN, CAMPAIGN = {"sql": "SELECT 1"}, {"query": "QUERY"}, {"campaign": {"id": "CAMPAIGN"}}
ALL: dict[str, Any] = {"target": {"all": True}}
STATES = {"states": ["answered"]}
SQL_OF_LABEL = {"name": "a label", "queries": {"linux": "SELECT 1"}}
FROM = {"from": {"campaign": "CAMPAIGN", **STATES}}
EVERY, CLOCK = {"every": 60}, {"crontab": "0 8 * * *"}
GROUP, PERSON = {"group": "Operator"}, {"person": "bob"}
TOKEN = {"name": "a token", "days": 1}
CASES: list[tuple[str, dict[str, Any], bool]] = [  # operation, body, whether it is taken
    ("campaigns_create", {**ALL, **ONE}, True),
    ("campaigns_create", {**ALL, **RUN}, True),
    ("campaigns_create", {**ALL, **ONE, "query": None}, True),
    ("campaigns_create", {**ALL, **ONE, **RUN}, False),
    ("campaigns_create", ALL, False),
    ("campaigns_create", {**ALL, "query": None}, False),
    ("campaigns_create", {**ALL, "sql": ""}, False),
    ("campaigns_create", {**ONE, "target": {"online": True}}, False),
    ("campaigns_create", {**ONE, "target": {"all": True, "sample": {"count": 1}}}, True),
    ("campaigns_create", {**ONE, "target": {"all": True, "sample": {}}}, False),
    ("campaigns_create", {**ONE, "target": {"all": True, "sample": {"count": 1, "percent": 5.0}}}, False),
    ("campaigns_create", {**ONE, "target": CAMPAIGN}, False),
    ("campaigns_create", {**ONE, "target": {"campaign": {"id": "CAMPAIGN", **STATES}}}, True),
    ("campaigns_create", {**ALL, **ONE, "rollout": {"canary": {"count": 1}}}, True),
    ("campaigns_create", {**ALL, **ONE, "rollout": {"canary": {"count": 1, "percent": 5.0}}}, False),
    ("campaigns_estimate_create", ALL, True),
    ("campaigns_estimate_create", {**ALL, "sql": ""}, True),
    ("campaigns_estimate_create", {**ALL, **ONE, **RUN}, False),
    ("campaigns_widen_create", {"count": 2}, True),
    ("campaigns_widen_create", {"count": 2, "all": True}, False),
    ("campaigns_widen_create", {"count": 2, "all": False}, False),
    ("campaigns_widen_create", {}, False),
    ("labels_create", SQL_OF_LABEL, True),
    ("labels_create", {"name": "by hand", "queries": {}, **FROM}, True),
    ("labels_create", {**SQL_OF_LABEL, "name": "both", **FROM}, False),
    ("labels_create", {"name": "amiga", "queries": {"amiga": "SELECT 1"}}, False),
    ("labels_create", {"name": "nobody", "from": {"campaign": "CAMPAIGN"}}, False),
    ("schedules_create", {**ALL, **RUN, **EVERY}, True),
    ("schedules_create", {**ALL, **RUN, **EVERY, "crontab": ""}, True),
    ("schedules_create", {**ALL, **RUN, **CLOCK, "every": None}, True),
    ("schedules_create", {**ALL, **RUN, **CLOCK, **EVERY}, False),
    ("schedules_create", {**ALL, **RUN}, False),
    ("schedules_partial_update", CLOCK, True),
    ("schedules_partial_update", {**CLOCK, **EVERY}, False),
    ("schedules_partial_update", {"every": None, "crontab": ""}, False),
    ("quotas_create", GROUP, True),
    ("quotas_create", {**PERSON, "group": None}, True),
    ("quotas_create", {**GROUP, **PERSON}, False),
    ("quotas_create", {"rows_kept": 5}, False),
    ("quotas_partial_update", {"rows_kept": 5}, True),
    ("quotas_partial_update", {"group": None, "person": None}, False),
    ("tokens_create", {**TOKEN, "tools_may_launch": True}, True),
    ("tokens_create", {**TOKEN, "access": "read", "tools_may_launch": False}, True),
    ("tokens_create", {**TOKEN, "access": "read", "tools_may_launch": True}, False),
]


def made_real(value: Any, numbers: dict[str, int]) -> Any:
    """Put the numbers of real things where their names stand."""
    if isinstance(value, dict):
        return {name: made_real(inner, numbers) for name, inner in value.items()}
    return numbers.get(value, value) if isinstance(value, str) else value


def test_the_document_and_the_server_take_the_same_bodies(world: World) -> None:
    numbers, differs = {"QUERY": world.query.pk, "CAMPAIGN": world.ended_now.pk}, []

    for name, template, is_taken in CASES:
        method, path, operation = OPERATIONS[name]
        body = made_real(template, numbers)
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        fits = validator(f'{{"$ref": "{schema["$ref"]}"}}').is_valid(body)
        answered = getattr(world.client, method)(place(world, name, path), body, format="json")
        if (fits, answered.status_code < 400) != (is_taken, is_taken):
            differs.append((name, body, f"fits={fits}", answered.status_code, getattr(answered, "data", None)))

    assert differs == []
