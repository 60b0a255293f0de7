"""The whole API, driven by its own document: whatever is sent, never a 5xx, and every refusal says a sentence.

Requests that fit the document and requests that do not, the same ones at every run.
"""

import tomllib
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.contrib.auth.models import Group, User
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck
from hypothesis import settings as run_by
from requests import Request
from rest_framework.test import APIClient
from schemathesis import Case
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source

from agents.carving.models import Carve
from agents.models import EnrollSecret
from campaigns.hooks.models import Delivery, Hook
from campaigns.launching.models import Approval, ApprovalRule, Quota
from campaigns.models import Query
from campaigns.recurring.models import Schedule
from campaigns.tokens import ApiToken
from fleet.api.openapi import NO_NUL, NOT_BLANK
from tests import contract
from tests.factories import answer, make_campaign, make_host, make_label, make_user

pytestmark = pytest.mark.usefixtures("board")


def any_text(document: Any) -> Any:
    """Give the document without what texts may not hold: what holds it has to be refused as well."""
    if isinstance(document, list):
        return [any_text(one) for one in document]
    if not isinstance(document, dict):
        return document
    kept = {name: any_text(value) for name, value in document.items()}
    return {name: value for name, value in kept.items() if value not in (NO_NUL, NOT_BLANK)}


# Methods that an address does not have are all refused by the same line.
CONFIG = schemathesis.Config.from_dict({"phases": {"coverage": {"unexpected-methods": []}}})
SAME_AT_EVERY_RUN = run_by(
    max_examples=4, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
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
def boss(settings: Any) -> APIClient:
    """Give an administrator's client, who may have any number of campaigns open."""
    settings.OPEN_CAMPAIGNS_PER_PERSON = 0
    client = APIClient(raise_request_exception=False)
    client.force_authenticate(make_user("boss", admin=True))
    return client


@pytest.fixture
def ids(boss: APIClient) -> dict[str, int]:
    """Give the id of one of each, by the first word of their addresses, and by its name where it is another's part."""
    host, boss_himself = make_host(), User.objects.get(username="boss")
    campaign = make_campaign(host, make_host())
    answer(campaign, host, {"pid": "1", "name": "init"})
    Approval.objects.create(campaign=campaign, digest="d", expires_at=timezone.now())
    query = Query.objects.create(name="ports", sql="SELECT 1")
    of_it = {"query": query, "owner": boss_himself}
    hook = Hook.objects.create(owner=boss_himself, name="siem", address=HOOK)
    carve = Carve.objects.create(host=host, campaign_id=campaign.pk, carve_id="g", announced_at=timezone.now())
    return {
        "campaign_id": campaign.pk,
        "carves": carve.pk,
        "delivery": Delivery.objects.create(hook=hook, message_id="msg_1", kind="hook.test", body="{}").pk,
        "hooks": hook.pk,
        "schedules": Schedule.objects.create(**of_it, every=60, target={"all": True}, sql="SELECT 1").pk,
        "campaigns": campaign.pk,
        "hosts": host.pk,
        "labels": make_label("web", host).pk,
        "approval-rules": ApprovalRule.objects.create(group=Group.objects.create(name="others"), hosts_above=9).pk,
        "quotas": Quota.objects.create(group=Group.objects.get(name="others"), rows_kept=9).pk,
        "queries": query.pk,
        "enroll-secrets": EnrollSecret.objects.offer("laptops", "long enough for a secret").pk,
        "tokens": ApiToken.objects.create(user=boss_himself)[0].pk,
    }


def fit(case: Case, ids: dict[str, int]) -> bool:
    """Let the request be of something that exists, or over everybody: most end at an unknown id or target.

    Say whether that makes another request of it.
    """
    kind = case.path.split("/")[3]
    known = {**ids, "id": ids.get(kind, 1)}
    there = {name: known[name] for name in case.path_parameters if name in known}
    case.path_parameters.update(there)
    is_changed = bool(there)
    if isinstance(case.body, dict) and "target" in case.body:
        asked = {"query": ids["queries"]} if kind == "schedules" else {"sql": "SELECT 1"}
        case.body |= {"target": {"all": True}, **asked}
        case.query.pop("wait", None)
        if str(case.body.get("start_at")).startswith("2000-"):
            case.body["start_at"] = (timezone.now() + timedelta(hours=1)).isoformat()
        case.headers.pop("Idempotency-Key", None)  # another order under it is refused
        is_changed = True
    if isinstance(case.body, dict) and "address" in case.body:
        case.body["address"] = HOOK
        is_changed = True
    return is_changed


def send(client: APIClient, case: Case) -> Any:
    """Send what was generated, encoded as any client would."""
    asked = Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
    headers = {name: value for name, value in asked.headers.items() if name not in ("Content-Length", "Content-Type")}
    body = asked.body or b""
    return client.generic(
        asked.method, asked.path_url, body, content_type=asked.headers.get("Content-Type", ""), headers=headers
    )


def check(case: Case, boss: APIClient, ids: dict[str, int], tried: set[str]) -> None:
    """Send a request as it was generated and made to fit; look at the answers.

    What nobody has is asked for once by each id, whatever else comes with it: nothing else is looked at then.
    """
    answers, named = [], repr(case.path_parameters)
    if named not in tried:
        answers.append(send(boss, case))
    if fit(case, ids):
        answers.append(send(boss, case))

    for answered in answers:
        assert answered.status_code < 500
        if answered.status_code >= 400:
            assert set(answered.json()) <= {"error", "fields"}
            assert isinstance(answered.json()["error"], str)
    if "id" in case.path_parameters:
        tried.add(named)


@SAME_AT_EVERY_RUN
def generated(case: Case, boss: APIClient, ids: dict[str, int], tried: set[str]) -> None:
    check(case, boss, ids, tried)


def drive(operation: str, **given: Any) -> None:
    """Send what schemathesis makes of one operation: examples, what is at bounds, and what fits or does not."""
    api_document, feedback = driven()
    found = api_document.find_operation_by_label(operation)
    assert found is not None, operation
    test = build_operation_test(
        config=api_document.config, operation=found, test_func=generated, given_kwargs={}, feedback=feedback
    )
    test(**given, tried=set())


@pytest.mark.django_db(transaction=True)  # these answer from the event loop
@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.endswith(f" {FROM_THE_LOOP}")])
def test_no_request_of_campaigns_is_too_much(operation: str, boss: APIClient, ids: dict[str, int]) -> None:
    drive(operation, boss=boss, ids=ids)


@pytest.mark.django_db
@pytest.mark.parametrize("operation", [one for one in OPERATIONS if not one.endswith(f" {FROM_THE_LOOP}")])
def test_no_request_is_too_much(operation: str, boss: APIClient, ids: dict[str, int]) -> None:
    drive(operation, boss=boss, ids=ids)
