"""When a campaign begins, how long it waits for one host, and who joins late."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.test import APIClient

from agents.board import clock, operator_verbs
from agents.models import Host
from campaigns.collecting.models import StreamCursor
from campaigns.models import Campaign
from campaigns.running import upkeep
from campaigns.running.sweeps import sweep
from campaigns.running.targeting import write_range
from tests.conftest import Agent
from tests.factories import learn, make_campaign, make_host, make_hosts, make_label

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Meet = Callable[[Host | int], Agent]


def launch(boss: APIClient, **body: Any) -> Any:
    return boss.post("/api/v1/campaigns/", {"sql": "SELECT 1", "target": {"all": True}, **body}, format="json")


def in_an_hour() -> str:
    return (timezone.now() + timedelta(hours=1)).isoformat()


def come(campaign: int) -> Campaign:
    """Let the time of a scheduled campaign come."""
    Campaign.objects.filter(pk=campaign).update(start_at=clock.now() - timedelta(seconds=1))
    sweep()
    found = Campaign.objects.get(pk=campaign)
    for number in found.ranges.values_list("number", flat=True):
        write_range(campaign, number)
    found.refresh_from_db()
    return found


def test_a_scheduled_campaign_begins_when_its_time_comes(agent: Meet, boss: APIClient) -> None:
    early = make_host()
    body = launch(boss, start_at=in_an_hour(), timeout=30).json()
    assert (body["status"], body["started_at"], body["counts"]["targeted"]) == ("scheduled", None, 0)
    sweep()
    assert agent(early).read() == {}

    make_host()
    campaign = come(body["id"])

    assert (campaign.status, campaign.count_targeted) == ("running", 2)
    assert campaign.ends_at is not None
    assert campaign.started_at is not None
    assert campaign.ends_at - campaign.started_at == timedelta(seconds=30)
    assert list(agent(early).read()["queries"]) == [f"c{campaign.pk}"]


def test_who_is_meant_is_frozen_at_the_start_and_nobody_is_a_reason(boss: APIClient) -> None:
    host = make_host()
    scheduled = launch(boss, start_at=in_an_hour(), target={"hosts": [host.pk]}).json()["id"]
    Host.objects.update(revoked_at=timezone.now())

    campaign = come(scheduled)

    assert (campaign.status, campaign.ended_by) == ("stopped", "schedule")
    assert f"unknown host: {host.pk}" in campaign.ended_reason
    assert campaign.ended_at is not None


def test_what_a_launch_would_refuse_is_refused_for_later_too(boss: APIClient) -> None:
    learn("linux", "users")
    make_host(osquery_version="5.23.0")
    make_label("empty")

    wrong = launch(boss, start_at=in_an_hour(), sql="SELECT nam FROM users")
    nobody = [
        launch(boss, start_at=in_an_hour(), target=target)
        for target in ({"hosts": []}, {"labels": [], "platforms": ["linux"]}, {"platforms": []})
    ]
    filled_by_then = launch(boss, start_at=in_an_hour(), target={"labels": ["empty"]})

    assert (wrong.status_code, filled_by_then.status_code) == (400, 201)
    assert "no such column: nam" in wrong.json()["error"]
    for refused in nobody:
        assert refused.status_code == 400
        assert "can never select a host" in refused.json()["error"]
    assert Campaign.objects.count() == 1


def test_a_scheduled_campaign_can_be_stopped(boss: APIClient, agent: Meet) -> None:
    host = make_host()
    scheduled = launch(boss, start_at=in_an_hour()).json()["id"]

    assert boss.post(f"/api/v1/campaigns/{scheduled}/stop/").status_code == 202

    campaign = come(scheduled)
    assert (campaign.status, campaign.count_targeted) == ("stopped", 0)
    assert agent(host).read() == {}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"start_at": "2020-01-01T00:00:00Z"}, "is in the past"),
        ({"start_at": "9000-01-01T00:00:00Z"}, "more than a year ahead"),
        ({"start_at": "soon"}, "start_at"),
        ({"answer_within": 9}, "answer_within 9 is below the minimum of 10 seconds"),
        ({"answer_within": 2_592_001}, "above the maximum"),
    ],
)
def test_times_that_are_none_are_refused(boss: APIClient, body: Any, sentence: str) -> None:
    make_host()
    answer = launch(boss, **body)

    assert answer.status_code == 400
    assert sentence in str(answer.json())
    assert not Campaign.objects.exists()


def test_a_host_that_takes_too_long_is_waited_for_no_more(agent: Meet, collect: Callable[[], int]) -> None:
    slow, quick, waiting = make_host(), make_host(), make_host()
    campaign = make_campaign(slow, quick, waiting, answer_within=10)
    for host in (slow, quick):
        agent(host).read()
    agent(quick).write(campaign.pk, [])
    collect()
    campaign.targets.filter(host=slow).update(delivered_at=clock.now() - timedelta(seconds=11))
    sweep()

    campaign.refresh_from_db()
    assert campaign.counts["no_answer"] == 1
    target = campaign.targets.get(host=slow)
    assert (target.state, target.error) == ("no_answer", "no answer within 10 seconds")
    assert agent(slow).read() == {}, "it is not offered again"

    assert agent(slow).write(campaign.pk, [{"a": "1"}]) == {}
    collect()
    target.refresh_from_db()
    assert (target.state, target.late) == ("answered", True)


def test_nobody_is_given_up_while_answers_wait_to_be_stored(agent: Meet, collect: Callable[[], int]) -> None:
    host = make_host()
    campaign = make_campaign(host, answer_within=10)
    agent(host).read()
    collect()
    now = clock.now()
    campaign.targets.update(delivered_at=now - timedelta(seconds=11))
    StreamCursor.objects.update(entry=f"{clock.in_ms(now - timedelta(seconds=5))}-0")
    agent(host).write(campaign.pk, [])

    sweep()
    assert campaign.targets.get().state == "delivered", "what is stored ends before its time was up"
    collect()
    assert campaign.targets.get().state == "answered"


def test_hosts_join_late_by_enrolling_or_by_a_label(agent: Meet, collect: Callable[[], int]) -> None:
    first, by_label, enrolled = make_host(), make_host(), make_host()
    label = make_label("web", first)
    campaign = make_campaign(first, target={"labels": ["web"]}, include_late_joiners=True)
    closed = make_campaign(first, target={"labels": ["web"]})
    agent(first).read()
    agent(first).write(campaign.pk, [])
    collect()
    campaign.refresh_from_db()
    assert campaign.status == "running", "never complete before its end"

    label.hosts.add(by_label, enrolled)
    upkeep.add_late_joiners()
    upkeep.add_late_joiners()

    for host in (by_label, enrolled):
        assert list(agent(host).read()["queries"]) == [f"c{campaign.pk}"]
    campaign.refresh_from_db()
    closed.refresh_from_db()
    assert (campaign.count_targeted, closed.count_targeted) == (3, 1)


def test_a_late_joiner_of_a_kind_that_lacks_the_table_is_never_asked(agent: Meet) -> None:
    learn("linux", "users")
    learn("darwin", "apps")
    first = make_host(osquery_version="5.23.0")
    campaign = make_campaign(first, target={"all": True}, sql="SELECT name FROM users", include_late_joiners=True)
    mac, linux = make_host(osquery_version="5.23.0", platform="darwin"), make_host(osquery_version="5.23.0")
    upkeep.add_late_joiners()

    assert campaign.targets.get(host=mac).error == "no such table: users"
    assert agent(mac).read() == {}
    assert list(agent(linux).read()["queries"]) == [f"c{campaign.pk}"]


def test_nobody_joins_beyond_what_who_launched_may_ask(operator: User, settings: Any) -> None:
    settings.TARGETS_PER_CAMPAIGN = 3
    first = make_host()
    campaign = make_campaign(first, target={"all": True}, by=operator, include_late_joiners=True)
    make_hosts(4)

    for _ in range(3):
        upkeep.add_late_joiners()

    campaign.refresh_from_db()
    assert campaign.count_targeted == 3
    assert campaign.warnings == ["nobody joins any more: 3 hosts is the most that operator may ask"]


def test_nobody_joins_for_who_may_launch_it_no_more(operator: User) -> None:
    campaign = make_campaign(make_host(), target={"all": True}, by=operator, include_late_joiners=True)
    User.objects.filter(pk=operator.pk).update(is_active=False)
    make_host()

    upkeep.add_late_joiners()

    campaign.refresh_from_db()
    assert campaign.count_targeted == 1
    assert campaign.warnings == ["nobody joins any more: operator, who launched it, is deactivated"]

    User.objects.filter(pk=operator.pk).update(is_active=True)
    upkeep.add_late_joiners()
    campaign.refresh_from_db()
    assert campaign.count_targeted == 2


def test_a_late_joiner_of_another_range_is_asked(agent: Meet) -> None:
    campaign = make_campaign(make_host(), target={"platforms": ["linux"]}, include_late_joiners=True)
    far = make_host(id=70_000_000)
    upkeep.add_late_joiners()

    assert list(agent(far).read()["queries"]) == [f"c{campaign.pk}"]


def test_a_late_joiner_whose_release_was_lost_is_released_by_the_repair(
    agent: Meet, collect: Callable[[], int]
) -> None:
    campaign = make_campaign(make_host(), target={"platforms": ["linux"]}, include_late_joiners=True)
    late = make_host()
    upkeep.add_late_joiners()
    operator_verbs.take_offers(campaign.pk, [late.pk])
    assert agent(late).read() == {}

    upkeep.repair_board()

    assert list(agent(late).read()["queries"]) == [f"c{campaign.pk}"]
