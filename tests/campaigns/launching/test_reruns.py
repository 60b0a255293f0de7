"""Reruns: a new campaign over hosts of an ended one."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from agents.models import Host
from campaigns.answers.models import AuditRecord
from campaigns.models import Campaign
from campaigns.running.targeting import write_range
from campaigns.states import State
from tests.factories import answer, end, make_campaign, make_hosts

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Api = Callable[[User | None], APIClient]


@pytest.fixture
def hosts(db: None) -> list[Host]:
    """Give hosts that answered, failed, refused and stayed silent, in this order."""
    return make_hosts(4)


@pytest.fixture
def ended(hosts: list[Host], operator: User) -> Campaign:
    """Give their campaign."""
    campaign = make_campaign(*hosts, by=operator, sql="SELECT 2", timeout=77, name="first", reason="ticket 7")
    for host, state in zip(hosts, (State.ANSWERED, State.FAILED, State.DENYLISTED), strict=False):
        answer(campaign, host, state=state)
    return end(campaign)


def rerun(client: APIClient, campaign: Campaign, *states: Any) -> Any:
    return client.post(f"/api/v1/campaigns/{campaign.pk}/rerun/", {"states": states}, format="json")


def test_a_rerun_that_is_sent_again_under_its_key_is_one(api: Api, operator: User, ended: Campaign) -> None:
    client, address = api(operator), f"/api/v1/campaigns/{ended.pk}/rerun/"

    def again(*states: State, key: str = "k") -> Any:
        return client.post(address, {"states": states}, format="json", headers={"Idempotency-Key": key})

    first, second, other = again(State.FAILED), again(State.FAILED), again(State.ANSWERED)
    launch = {"sql": "SELECT 2", "target": {"all": True}}
    of_another = client.post("/api/v1/campaigns/", launch, format="json", headers={"Idempotency-Key": "k"})
    without = client.post(address, {"states": [State.FAILED]}, format="json", headers={"Idempotency-Key": ""})

    assert (first.status_code, second.status_code, second.json()["id"]) == (201, 200, first.json()["id"])
    assert (other.status_code, of_another.status_code) == (409, 409)
    assert f"was used for another launch, campaign {first.json()['id']}" in other.json()["error"]
    assert (without.status_code, "is empty" in without.json()["error"]) == (400, True)
    assert (again(State.FAILED, key="l").status_code, Campaign.objects.count()) == (201, 3)


def test_only_the_hosts_in_these_states_are_asked_the_same_again(
    api: Api, operator: User, ended: Campaign, hosts: list[Host]
) -> None:
    answer = rerun(api(operator), ended, "failed", "missed", "failed")

    assert answer.status_code == 201
    body = answer.json()
    again = Campaign.objects.get(pk=body["id"])
    for number in again.ranges.values_list("number", flat=True):
        write_range(again.pk, number)
    assert set(again.targets.values_list("host_id", flat=True)) == {hosts[1].pk, hosts[3].pk}
    assert (body["parent"], body["expected"], body["warnings"]) == (ended.pk, 2, [])
    assert (again.sql, again.timeout, again.name, again.reason) == ("SELECT 2", 77, "first", "ticket 7")
    assert body["target"] == {"campaign": {"id": ended.pk, "states": ["failed", "missed"]}}
    assert AuditRecord.objects.get(campaign_id=again.pk).target == body["target"]


def test_its_rollout_holds_again_and_nobody_joins_late(operator: User, api: Api) -> None:
    hosts = make_hosts(5)
    order = {"canary": {"count": 1}, "stop_if": {"failed_percent": 10}}
    first = end(make_campaign(*hosts, by=operator, rollout=order, include_late_joiners=True))

    body = rerun(api(operator), first, "missed").json()

    again = Campaign.objects.get(pk=body["id"])
    assert (body["rollout"], again.released_count, again.expected) == (order, 1, 5)
    assert not again.include_late_joiners


def test_what_denylisted_hosts_will_do_is_said(api: Api, operator: User, ended: Campaign) -> None:
    warnings = rerun(api(operator), ended, "denylisted").json()["warnings"]

    assert "1 of these hosts refuses this exact SQL for a day" in warnings[0]
    assert "altered text" in warnings[0]


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        (["lost"], "states has 'lost', allowed are"),
        (["waiting"], "states has 'waiting', which is not final"),
        ([], "selects nobody"),
        (["stopped", "held_back"], "no host of campaign"),
    ],
)
def test_states_that_cannot_be_are_refused(
    api: Api, operator: User, ended: Campaign, states: list[str], sentence: str
) -> None:
    refused = rerun(api(operator), ended, *states)

    assert refused.status_code == 400
    assert sentence in refused.json()["error"]
    assert Campaign.objects.count() == 1


def test_while_it_is_open_it_cannot_be_rerun(api: Api, operator: User, hosts: list[Host]) -> None:
    campaign = make_campaign(*hosts)

    refused = rerun(api(operator), campaign, "missed")

    assert refused.status_code == 409
    assert "can be rerun when it has ended" in refused.json()["error"]


def test_operators_rerun_and_nobody_else_does(
    api: Api, operator: User, observer: User, stranger: User, ended: Campaign
) -> None:
    asked = [rerun(api(who), ended, "missed").status_code for who in (operator, observer, stranger, None)]

    assert asked == [201, 403, 403, 401]
