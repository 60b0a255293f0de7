"""The whole API, driven by its own document: whatever is sent, never a 5xx, and every refusal says a sentence.

Requests that fit the document and requests that do not, the same ones at every run. Of each operation some have to
succeed, so that what lies behind its refusals is driven as well.
"""

import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.db import connection, transaction
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from requests import Request
from rest_framework.test import APIClient
from schemathesis import Case
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source

from agents.models import Platform
from campaigns.launching.models import Approval, ApprovalRule
from fleet.api.openapi import NO_NUL, NOT_BLANK
from tests import contract
from tests.campaigns.api.world import World, values_of
from tests.driving import CONFIG, SAME_AT_EVERY_RUN, fit, is_wrong

pytestmark = pytest.mark.usefixtures("board")


def any_text(document: Any) -> Any:
    """Give the document without what texts may not hold: what holds it has to be refused as well."""
    if isinstance(document, list):
        return [any_text(one) for one in document]
    if not isinstance(document, dict):
        return document
    kept = {name: any_text(value) for name, value in document.items()}
    return {name: value for name, value in kept.items() if value not in (NO_NUL, NOT_BLANK)}


HOOK = "https://1.1.1.1/"
FROM_THE_LOOP = "/api/v1/campaigns/"
OPERATIONS = [f"{method.upper()} {path}" for path, methods in contract.DOCUMENT["paths"].items() for method in methods]


@cache
def driven() -> tuple[Any, FeedbackSources]:
    """Read the document when it is driven: its requests take ten seconds to make, in each process that collects."""
    document = any_text(SchemaGenerator().get_schema(request=None, public=True))
    made = schemathesis.openapi.from_dict(document, config=CONFIG)
    return made, FeedbackSources(constants_value_source=make_constants_value_source(made))


def test_what_is_left_out_of_the_drive_with_a_reason_is_there() -> None:
    text = Path(__file__).parents[3].joinpath("schemathesis.toml").read_text()
    wanted = [entry.get("include-operation-id", []) for entry in tomllib.loads(text)["operations"]]
    named = {name for names in wanted for name in ([names] if isinstance(names, str) else names)}
    known = {told["operationId"] for methods in contract.DOCUMENT["paths"].values() for told in methods.values()}

    assert named - known == set()
    assert text.count("[[operations]]  # ") == text.count("[[operations]]")


@pytest.fixture
def world(carves_folder: Path, settings: Any) -> World:
    """Give one of everything, of somebody who may have any number of campaigns open."""
    settings.OPEN_CAMPAIGNS_PER_PERSON = 0
    return World()


def known(world: World) -> dict[str, Any]:
    """Give such as there are of what no document knows, by the names of members and parameters.

    The operation stands before a name that means something else in others. Functions make it of the text or list that
    was generated; None = it is left out.
    """
    boss, host, label = world.boss.username, world.hosts[0].pk, world.label.name
    later = f"{timezone.now() + timedelta(hours=1):%FT%TZ}"
    return {
        "address": HOOK,
        "at": lambda _: ApprovalRule.objects.get(wish__isnull=False).wish["at"],
        "campaign": {"id": world.ended_now.pk, "states": ["answered"]},
        "campaigns_create.Idempotency-Key": None,  # another order under it is refused
        "campaigns_groups_retrieve.by": "port",
        "carves_list.campaign": world.ended_now.pk,
        "column": "port",
        "contains": "port:2",
        "created_by": boss,
        "cursor": "",
        "digest": lambda _: Approval.objects.get().digest,
        "exclude_labels": lambda _: [],
        "from": {"campaign": world.before.pk, "states": ["answered"]},
        "group": "Operator",
        "host": host,
        "hosts": host,
        "hosts_list.online": "false",
        "ignore": "pid",
        "label": label,
        "labels": label,
        "labels_hosts_list.online": "false",
        "online": False,
        "owner": boss,
        "person": boss,
        "platforms": "linux",
        "queries_latest.by": "port",
        "queries_latest_sql_create.sql": "SELECT count(*) FROM latest",
        "query": world.query.pk,
        "sql": "SELECT 1",
        "start_at": lambda given: max(given, later),
        "states": lambda given: [*given, "answered"],
        "valid_until": lambda given: max(given, later),
        "wait": None,
        "where": "port:22",
        "with": world.before.pk,
        **dict.fromkeys(Platform.values, "SELECT 1"),  # of a label
    }


def send(client: APIClient, case: Case) -> Any:
    """Send what was generated, encoded as any client would."""
    asked = Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
    headers = {name: value for name, value in asked.headers.items() if name not in ("Content-Length", "Content-Type")}
    body = asked.body or b""
    return client.generic(
        asked.method, asked.path_url, body, content_type=asked.headers.get("Content-Type", ""), headers=headers
    )


def check(method: str, answered: Any) -> None:
    """Look at an answer; `tests.contract` holds those against the document that are not files."""
    assert answered.status_code < 500
    if answered.status_code >= 400:
        assert set(answered.json()) <= {"error", "fields"}
        assert " " in answered.json()["error"]
    elif answered.streaming:
        address, kind = answered.request["PATH_INFO"], answered.headers["Content-Type"]
        contract.check_answer(method, address, answered.status_code, kind, b"".join(answered.streaming_content))


@contextmanager
def undone() -> Iterator[None]:
    """Let the next request meet the same world; what was done in the event loop stays."""
    if not connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


class Drive:
    """The requests of one operation, and how they were answered."""

    def __init__(self, world: World, there: dict[str, Any]) -> None:
        self.world, self.there = world, there
        self.tried: set[str] = set()
        self.answered: Counter[int] = Counter()

    def ask(self, case: Case) -> None:
        """Send a request as it was generated, unless something is wrong in it, and made to fit; look at the answers.

        What nobody has is asked for once by each id, whatever else comes with it: nothing else is looked at then.
        """
        named = repr(case.path_parameters)
        if not is_wrong(case) and named not in self.tried:
            self.send(case)
        if case.path_parameters:
            self.tried.add(named)
        if fit(case, known(self.world) | self.there) or is_wrong(case):
            self.send(case)

    def send(self, case: Case) -> None:
        """Send a request and look at the answer."""
        with undone():
            answered = send(self.world.client, case)
            check(case.method, answered)
        self.answered[answered.status_code] += 1


@SAME_AT_EVERY_RUN
def generated(case: Case, drive: Drive) -> None:
    drive.ask(case)


def drive(operation: str, world: World) -> None:
    """Send what schemathesis makes of one operation: examples, what is at bounds, and what fits or does not."""
    api_document, feedback = driven()
    found = api_document.find_operation_by_label(operation)
    assert found is not None, operation
    test = build_operation_test(
        config=api_document.config, operation=found, test_func=generated, given_kwargs={}, feedback=feedback
    )
    made = Drive(world, values_of(world, found.definition.raw["operationId"], found.path))
    test(drive=made)

    assert any(status < 300 for status in made.answered), f"nothing was done: {made.answered}"


@pytest.mark.django_db(transaction=True)  # these answer from the event loop
@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.endswith(f" {FROM_THE_LOOP}")])
def test_no_request_of_campaigns_is_too_much(operation: str, world: World) -> None:
    drive(operation, world)


@pytest.mark.django_db
@pytest.mark.parametrize("operation", [one for one in OPERATIONS if not one.endswith(f" {FROM_THE_LOOP}")])
def test_no_request_is_too_much(operation: str, world: World) -> None:
    drive(operation, world)
