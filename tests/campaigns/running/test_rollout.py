"""How far a campaign goes: canary, widening, brakes, pause, and the kill switch."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Func
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from agents.board import clock, heartbeats, keyspace, operator_verbs, redis_client
from agents.board.operator_verbs import RELEASED_ALL
from agents.inventory import presence
from agents.models import Host, Presence
from campaigns.launching import control, launch, rollout
from campaigns.launching.launch import Order
from campaigns.launching.models import LiveQueries
from campaigns.models import Campaign
from campaigns.running import releasing, upkeep
from campaigns.running.rebuild import rebuild
from campaigns.running.sweeps import sweep, watch
from campaigns.running.targeting import write_range
from tests.conftest import Agent
from tests.factories import learn, make_campaign, make_host, make_hosts, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Meet = Callable[[Host | int], Agent]
Api = Callable[[User | None], APIClient]


@pytest.fixture(autouse=True)
def _swept(board: None) -> None:
    heartbeats.note_sweep()


def act(api: APIClient, campaign: Campaign, verb: str, **body: Any) -> Any:
    return api.post(f"/api/v1/campaigns/{campaign.pk}/{verb}/", body, format="json")


def asked(agent: Meet, hosts: list[Host], campaign: Campaign) -> list[Host]:
    """Let every host read; give those that were handed the campaign."""
    name = f"c{campaign.pk}"
    return [host for host in hosts if name in agent(host).read().get("queries", {})]


def answer(agent: Meet, hosts: list[Host], campaign: Campaign, **more: Any) -> None:
    for host in hosts:
        assert agent(host).write(campaign.pk, [{"a": "1"}], **more) == {}


def counts(campaign: Campaign) -> dict[str, int]:
    campaign.refresh_from_db()
    found = campaign.counts
    assert found["targeted"] == sum(found[state] for state in found if state not in ("targeted", "rows", "online"))
    return {state: number for state, number in found.items() if number and state not in ("rows", "online")}


# --- the canary --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("canary", [{"count": 3}, {"percent": 15}])
def test_only_the_canary_is_asked_and_it_is_always_the_same(agent: Meet, canary: dict[str, int]) -> None:
    hosts = make_hosts(20)
    first = make_campaign(*hosts, rollout={"canary": canary})
    second = make_campaign(*hosts, rollout={"canary": canary})

    in_first = asked(agent, hosts, first)
    answer(agent, in_first, first)

    assert len(in_first) == 3
    assert {host.pk for host in asked(agent, hosts, second)} <= {host.pk for host in in_first}


def test_a_host_that_was_not_released_cannot_answer(agent: Meet, collect: Callable[[], int]) -> None:
    hosts = make_hosts(5)
    campaign = make_campaign(*hosts, rollout={"canary": {"count": 1}})
    (canary,) = asked(agent, hosts, campaign)

    answer(agent, [host for host in hosts if host != canary], campaign)

    assert collect() == 1, "the delivery alone"
    assert counts(campaign) == {"targeted": 5, "waiting": 4, "delivered": 1}


def test_auto_widens_by_four_times_the_last_step(agent: Meet, collect: Callable[[], int]) -> None:
    hosts = make_hosts(30)
    campaign = make_campaign(*hosts, rollout={"canary": {"count": 2}, "then": "auto"})

    steps = []
    while campaign.status == "running":
        reached = asked(agent, hosts, campaign)
        steps.append(len(reached))
        sweep()
        assert counts(campaign)["targeted"] == 30
        answer(agent, reached, campaign)
        collect()
        sweep()
        sweep()
        campaign.refresh_from_db()

    assert steps == [2, 8, 20]
    assert campaign.status == "completed"


def test_ask_pauses_and_says_so_and_widening_goes_on(agent: Meet, collect: Callable[[], int], boss: APIClient) -> None:
    hosts = make_hosts(10)
    campaign = make_campaign(*hosts, rollout={"canary": {"count": 2}, "then": "ask"})
    answer(agent, asked(agent, hosts, campaign), campaign)
    collect()
    sweep()

    shown = boss.get(f"/api/v1/campaigns/{campaign.pk}/").json()
    assert (shown["status"], shown["ends_at"], shown["released"]) == ("paused", None, 2)
    assert shown["paused_reason"] == "2 of 10 hosts were asked first: widen, or stop"
    assert asked(agent, hosts, campaign) == []

    resumed = act(boss, campaign, "resume")
    assert resumed.status_code == 409
    assert "its first hosts were asked: widen it, or stop" in resumed.json()["error"]
    assert act(boss, campaign, "widen", count=2).status_code == 400
    widened = act(boss, campaign, "widen", percent=50).json()
    assert widened["status"] == "running"
    assert widened["ends_at"] is not None
    sweep()
    assert len(asked(agent, hosts, campaign)) == 3

    act(boss, campaign, "widen", all=True)
    sweep()
    assert len(asked(agent, hosts, campaign)) == 5
    assert act(boss, campaign, "widen", all=True).status_code == 409


def test_a_release_that_comes_twice_asks_nobody_again(agent: Meet, collect: Callable[[], int]) -> None:
    hosts = make_hosts(6)
    campaign = make_campaign(*hosts, rollout={"canary": {"count": 1}})
    Campaign.objects.update(release_goal=6)
    sweep()
    answer(agent, asked(agent, hosts, campaign), campaign)
    campaign.refresh_from_db()

    operator_verbs.release(campaign.pk, 0, [host.pk for host in hosts], campaign.released)

    assert asked(agent, hosts, campaign) == []
    collect()
    assert counts(campaign) == {"targeted": 6, "answered": 6}, "who was released is owed an answer"


@pytest.fixture
def still(board: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold the clock that paces are told by: a slow machine's time would be another host's turn."""
    at = clock.now()
    monkeypatch.setattr(clock, "now", lambda: at)


@pytest.mark.usefixtures("still")
def test_hosts_are_released_at_the_pace_that_was_ordered(agent: Meet) -> None:
    hosts = make_hosts(7)
    campaign = make_campaign(*hosts, rollout={"per_second": 1})

    paces = [len(asked(agent, hosts, campaign))]
    for _ in range(3):
        pass_by(campaign, timedelta(seconds=3))
        sweep()
        paces.append(len(asked(agent, hosts, campaign)))

    assert paces == [1, 3, 3, 0]


@pytest.mark.usefixtures("still")
def test_the_pace_waits_for_no_clock_that_is_behind(agent: Meet) -> None:
    """Another Redis took over, whose clock is an hour late."""
    hosts = make_hosts(4)
    campaign = make_campaign(*hosts, rollout={"per_second": 1})
    asked(agent, hosts, campaign)
    pass_by(campaign, timedelta(hours=-1))
    sweep()
    assert asked(agent, hosts, campaign) == []

    pass_by(campaign, timedelta(seconds=3))
    sweep()

    assert len(asked(agent, hosts, campaign)) == 3


@pytest.mark.usefixtures("still")
def test_two_that_sweep_release_no_faster_than_one(agent: Meet) -> None:
    hosts = make_hosts(9)
    campaign = make_campaign(*hosts, rollout={"per_second": 1})
    pass_by(campaign, timedelta(seconds=3))

    for _ in range(3):
        sweep()

    assert len(asked(agent, hosts, campaign)) == 1 + 3


@pytest.mark.usefixtures("still")
def test_after_an_outage_the_pace_does_not_make_good_for_it(agent: Meet) -> None:
    hosts = make_hosts(12)
    campaign = make_campaign(*hosts, rollout={"per_second": 2})
    pass_by(campaign, timedelta(hours=1))

    sweep()

    assert len(asked(agent, hosts, campaign)) == 2 + 3 * 2, "three seconds' worth"


@pytest.mark.usefixtures("still")
def test_who_answered_a_release_that_was_never_committed_is_not_asked_again(
    agent: Meet, collect: Callable[[], int]
) -> None:
    hosts = make_hosts(9)
    campaign = make_campaign(*hosts, rollout={"per_second": 2})
    pass_by(campaign, timedelta(seconds=1.5))
    with transaction.atomic():
        releasing.advance(campaign.pk)
        transaction.set_rollback(True)  # the process dies after the board was written
    released = asked(agent, hosts, campaign)
    answer(agent, released, campaign)
    assert len(released) == 2 + 3

    pass_by(campaign, timedelta(seconds=3))
    sweep()

    assert len(asked(agent, hosts, campaign)) == 3
    campaign.refresh_from_db()
    assert campaign.released_count == 2 + 6


def pass_by(campaign: Campaign, time: timedelta) -> None:
    """Let so much time have passed since hosts were released."""
    Campaign.objects.filter(pk=campaign.pk).update(released_at=clock.now() - time)


def test_hosts_that_cannot_run_it_are_no_canary(agent: Meet, collect: Callable[[], int]) -> None:
    learn("linux", "users")
    learn("darwin", "apps")
    macs, hosts = make_hosts(20, platform="darwin", osquery_version="5.23.0"), make_hosts(4, osquery_version="5.23.0")
    canary = {"canary": {"percent": 25}}
    campaign = make_campaign(*macs, *hosts, sql="SELECT name FROM users", rollout=canary)
    assert counts(campaign) == {"targeted": 24, "unsupported": 20, "waiting": 4}

    reached = asked(agent, hosts, campaign)
    answer(agent, reached, campaign)
    collect()
    sweep()

    assert len(reached) == 1
    campaign.refresh_from_db()
    assert campaign.paused_reason == "1 of 4 hosts were asked first: widen, or stop"
    control.widen(campaign.pk, "somebody", {"count": 3})
    sweep()
    assert len(asked(agent, hosts, campaign)) == 2


@pytest.mark.parametrize("then", ["ask", "auto"])
def test_without_a_single_answer_it_goes_no_further_and_says_so(
    agent: Meet, collect: Callable[[], int], then: str
) -> None:
    hosts = make_hosts(10)
    campaign = make_campaign(*hosts, rollout={"canary": {"count": 2}, "then": then})
    sweep()
    campaign.refresh_from_db()
    assert campaign.warnings == []

    pass_by(campaign, timedelta(seconds=61))
    sweep()
    sweep()
    campaign.refresh_from_db()
    assert (campaign.status, campaign.released_count) == ("running", 2)
    assert campaign.warnings == [rollout.NOBODY_ANSWERED]

    answer(agent, asked(agent, hosts, campaign), campaign)
    collect()
    sweep()
    campaign.refresh_from_db()
    assert (campaign.status, campaign.release_goal) == (("paused", 2) if then == "ask" else ("running", RELEASED_ALL))
    if then == "ask":
        control.widen(campaign.pk, "somebody", {"all": True})
        campaign.refresh_from_db()
    assert campaign.warnings == []


# --- who joins late ----------------------------------------------------------------------------------------------


def hash_of(host: Host) -> int:
    return int(Host.objects.annotate(hash=Func("pk", function="hashint8")).get(pk=host.pk).hash)


def joiner(campaign: Campaign, *, released: bool) -> Host:
    """Let a host enroll that stands among the released hosts of a campaign, or behind them."""
    while (hash_of(host := make_host()) <= campaign.released) != released:
        host.delete()
    return host


def test_who_joins_among_the_released_counts_and_nobody_is_taken_back(agent: Meet) -> None:
    hosts = make_hosts(8)
    campaign = make_campaign(
        *hosts, target={"all": True}, include_late_joiners=True, rollout={"canary": {"count": 4}, "then": "ask"}
    )
    before = campaign.released
    near, far = joiner(campaign, released=True), joiner(campaign, released=False)
    upkeep.add_late_joiners()

    campaign.refresh_from_db()
    assert (campaign.released_count, campaign.count_targeted) == (5, 10)
    assert asked(agent, [near, far], campaign) == [near]
    releasing.release(campaign, 2)
    assert campaign.released == before
    control.widen(campaign.pk, "somebody", {"count": 6})
    sweep()
    campaign.refresh_from_db()
    assert campaign.released_count == 6


def test_widening_to_all_means_those_who_join_before_it_is_done(agent: Meet) -> None:
    campaign = make_campaign(
        *make_hosts(3), target={"all": True}, include_late_joiners=True, rollout={"canary": {"count": 1}}
    )
    control.widen(campaign.pk, "somebody", {"all": True})
    joined = [joiner(campaign, released=False) for _ in range(2)]
    upkeep.add_late_joiners()

    sweep()

    assert asked(agent, joined, campaign) == joined
    later = make_host()
    upkeep.add_late_joiners()
    assert asked(agent, [later], campaign) == [later]


# --- bad orders --------------------------------------------------------------------------------------------------


def test_what_was_never_released_ends_held_back(agent: Meet, collect: Callable[[], int], boss: APIClient) -> None:
    hosts = make_hosts(10)
    campaign = make_campaign(*hosts, rollout={"canary": {"count": 4}})
    reached = asked(agent, hosts, campaign)
    answer(agent, reached[:1], campaign)
    collect()

    act(boss, campaign, "stop")
    sweep()

    assert counts(campaign) == {"targeted": 10, "answered": 1, "stopped": 3, "held_back": 6}


def test_a_lost_board_is_rebuilt_with_the_canary_alone(agent: Meet, collect: Callable[[], int]) -> None:
    hosts = make_hosts(8)
    campaign = make_campaign(*hosts, rollout={"canary": {"count": 3}})
    redis_client.client().flushdb()
    assert rebuild()
    heartbeats.note_sweep()
    upkeep.repair_board()

    assert len(asked(agent, hosts, campaign)) == 3


def test_nothing_with_brakes_is_handed_out_while_nobody_watches(agent: Meet) -> None:
    host = make_host()
    watched = make_campaign(host, rollout={"stop_if": {"failed_percent": 50}})
    free = make_campaign(host)
    redis: Any = redis_client.client()
    redis.set(keyspace.SWEPT, keyspace.now_ms(redis) - 16_000)

    assert list(agent(host).read()["queries"]) == [f"c{free.pk}"]
    answer(agent, [host], free)
    heartbeats.note_sweep()
    assert list(agent(host).read()["queries"]) == [f"c{watched.pk}"]


@pytest.mark.parametrize(
    ("rollout", "sentence"),
    [
        ([], "rollout [] is not an object"),
        ({"colour": 1}, "unknown member 'colour'"),
        ({"canary": {"percent": 101}}, "percent 101, allowed is a number above 0, up to 100"),
        ({"canary": {"percent": 0}}, "percent 0, allowed is a number above 0"),
        ({"canary": {"percent": None}}, "percent None, allowed is a number above 0"),
        ({"canary": {"count": None}}, "count None, allowed is a whole number above 0"),
        ({"canary": None}, "rollout.canary None is not an object"),
        ({"per_second": None}, "per_second None, allowed is a whole number above 0"),
        ({"canary": {"count": 0}}, "count 0, allowed is a whole number above 0"),
        ({"canary": {}}, "is not one of percent or count"),
        ({"then": "perhaps"}, "'perhaps' is neither"),
        ({"per_second": 1.5}, "per_second 1.5"),
        ({"stop_if": {"rows": -1}}, "rows -1"),
        ({"stop_if": {"rows": 10**18}}, "allowed is 0 to 1000000000000"),
        ({"stop_if": {"median_wall_ms": None}}, "median_wall_ms None, allowed is 0 to"),
        ({"stop_if": {"denylisted": 0}}, "denylisted 0, allowed is a whole number above 0"),
        ({"stop_if": {"denylisted": 2.5}}, "denylisted 2.5, allowed is a whole number above 0"),
        ({"stop_if": {"hunch": 1}}, "unknown member 'hunch'"),
    ],
)
def test_a_rollout_that_is_none_is_refused(boss: APIClient, rollout: Any, sentence: str) -> None:
    make_host()
    body = {"sql": "SELECT 1", "target": {"all": True}, "rollout": rollout}

    answer = boss.post("/api/v1/campaigns/", body, format="json")

    assert answer.status_code == 400
    assert sentence in answer.json()["error"]
    assert not Campaign.objects.exists()


@pytest.mark.parametrize(
    ("body", "sentence", "field"),
    [
        ({"percent": None}, "percent None, allowed is a number above 0, up to 100", "percent"),
        ({"percent": 0}, "percent 0, allowed is a number above 0", "percent"),
        ({"count": None}, "count None, allowed is a whole number above 0", "count"),
        ({"size": 3}, "unknown member 'size'", "size"),
        ([], "the body [] is not an object", None),
    ],
)
def test_a_widening_that_is_none_is_refused_and_the_right_member_is_named(
    boss: APIClient, body: Any, sentence: str, field: str | None
) -> None:
    campaign = make_campaign(*make_hosts(3), rollout={"canary": {"count": 1}})

    answer = boss.post(f"/api/v1/campaigns/{campaign.pk}/widen/", body, format="json")

    assert answer.status_code == 400
    assert sentence in answer.json()["error"]
    assert list(answer.json().get("fields", {})) == ([field] if field else [])


# --- brakes ------------------------------------------------------------------------------------------------------


def braked(campaign: Campaign) -> str:
    sweep()
    campaign.refresh_from_db()
    assert (campaign.ended_by or "brake") == "brake"
    return campaign.ended_reason


@pytest.mark.parametrize("is_rebuilt", [False, True])
def test_the_third_denylisted_host_stops_any_campaign_at_once(
    agent: Meet, collect: Callable[[], int], is_rebuilt: bool
) -> None:
    hosts = make_hosts(6)
    campaign = make_campaign(*hosts)
    for host in hosts[:3]:
        if is_rebuilt:
            collect()
            redis_client.client().flushdb()
            assert rebuild()
        agent(host).read()
        agent(host).write(campaign.pk, [], status=1, message="distributed query is denylisted")

    assert asked(agent, hosts[3:], campaign) == [], "before anybody swept or stored"
    assert braked(campaign) == "brake denylisted: 3 hosts died running this SQL before, the limit is 3"
    collect()
    sweep()
    assert counts(campaign) == {"targeted": 6, "denylisted": 3, "stopped": 3}


def test_without_the_brake_of_every_campaign_denylisted_hosts_stop_none(
    agent: Meet, collect: Callable[[], int], settings: Any
) -> None:
    settings.DENYLISTED_BRAKE = 0
    hosts = make_hosts(4)
    campaign = make_campaign(*hosts)
    for host in hosts[:3]:
        answer(agent, asked(agent, [host], campaign), campaign, status=1, message="distributed query is denylisted")
    collect()
    redis_client.client().flushdb()
    assert rebuild()

    assert braked(campaign) == ""
    assert asked(agent, hosts, campaign) == hosts[3:]


@pytest.mark.parametrize(
    ("limit", "said", "reason"),
    [
        (
            {"failed_percent": 30},
            {"status": 1, "message": "no"},
            "failed_percent: 2 of 4 answers failed, the limit is 30 %",
        ),
        ({"rows": 3}, {}, "rows: 4 rows, the limit is 3"),
        ({"median_wall_ms": 2}, {}, "median_wall_ms: the median host took 3 ms, the limit is 2 ms"),
        ({"denylisted": 2}, {"status": 1, "message": "distributed query is denylisted"}, "denylisted: 2 hosts died"),
    ],
)
def test_a_brake_stops_and_says_at_which_figures(
    agent: Meet, collect: Callable[[], int], limit: Any, said: Any, reason: str
) -> None:
    hosts = make_hosts(12)
    campaign = make_campaign(*hosts, rollout={"canary": {"count": 4}, "then": "auto", "stop_if": limit})
    reached = asked(agent, hosts, campaign)
    answer(agent, reached[:2], campaign, **said)
    answer(agent, reached[2:], campaign)
    collect()

    assert reason in braked(campaign)
    collect()
    sweep()
    assert campaign.status in ("running", "stopped")
    assert counts(campaign)["held_back"] == 8


def test_hosts_that_are_asked_and_stay_silent_pull_a_brake(agent: Meet, collect: Callable[[], int]) -> None:
    hosts = make_hosts(4)
    campaign = make_campaign(*hosts, rollout={"stop_if": {"silent_percent": 40}})
    for host in asked(agent, hosts, campaign):
        agent(host)._loop.run_until_complete(agent(host).gateway._follower._tell_reads())
    collect()
    assert braked(campaign) == ""

    campaign.targets.filter(host__in=hosts[:2]).update(delivered_at=clock.now() - timedelta(seconds=20))

    assert "silent_percent: 2 of 4 hosts were asked and stay silent" in braked(campaign)


def test_one_answer_is_no_percentage_while_more_may_come(agent: Meet, collect: Callable[[], int]) -> None:
    hosts = make_hosts(20)
    campaign = make_campaign(*hosts, rollout={"canary": {"count": 10}, "stop_if": {"failed_percent": 50}})
    reached = asked(agent, hosts, campaign)
    answer(agent, reached[:4], campaign, status=1, message="no")
    collect()
    assert braked(campaign) == ""

    answer(agent, reached[4:5], campaign)
    collect()

    assert "failed_percent: 4 of 5 answers failed" in braked(campaign)


@pytest.mark.parametrize("then", ["ask", "auto"])
def test_few_answers_are_judged_before_more_hosts_are_asked(agent: Meet, collect: Callable[[], int], then: str) -> None:
    hosts = make_hosts(20)
    order = {"canary": {"count": 4}, "then": then, "stop_if": {"failed_percent": 50}}
    campaign = make_campaign(*hosts, rollout=order)

    answer(agent, asked(agent, hosts, campaign)[:1], campaign, status=1, message="no")
    collect()
    assert braked(campaign) == "", "three have it and may answer"
    campaign.targets.filter(state="delivered").update(delivered_at=clock.now() - timedelta(seconds=61))

    assert "failed_percent: 1 of 1 answer failed" in braked(campaign)


def test_a_host_that_is_online_is_awaited_before_the_next_step(agent: Meet, collect: Callable[[], int]) -> None:
    hosts = make_hosts(6)
    campaign = make_campaign(*hosts, rollout={"canary": {"count": 2}})
    first, second = asked(agent, hosts, campaign)
    answer(agent, [first], campaign)
    collect()
    campaign.targets.filter(host=second).update(state="waiting", delivered_at=None)
    Campaign.objects.update(count_waiting=F("count_waiting") + 1, count_delivered=0)
    seen = Presence.objects.create(host=second, last_seen=timezone.now())

    sweep()
    assert counts(campaign)["waiting"] == 5
    assert campaign.status == "running"
    Presence.objects.filter(pk=seen.pk).update(last_seen=timezone.now() - timedelta(hours=1))
    sweep()

    campaign.refresh_from_db()
    assert campaign.status == "paused"


def test_who_joins_late_is_asked_when_all_were_released(agent: Meet) -> None:
    hosts = make_hosts(2)
    order = {"target": {"all": True}, "rollout": {"canary": {"count": 1}}, "include_late_joiners": True}
    campaign = make_campaign(*hosts, **order)
    rollout.raise_goal(campaign, RELEASED_ALL, 1)
    sweep()
    late = make_host()
    upkeep.add_late_joiners()

    campaign.refresh_from_db()
    assert campaign.released == RELEASED_ALL
    assert asked(agent, [*hosts, late], campaign) == [*hosts, late]


def test_brakes_are_looked_at_while_targets_are_being_written(agent: Meet, collect: Callable[[], int]) -> None:
    hosts = [*make_hosts(2), make_host(id=80_000_000)]
    order = Order("SELECT 1", {"all": True}, rollout={"stop_if": {"rows": 1}})
    campaign = launch.launch(order, make_user(admin=True))
    write_range(campaign.pk, hosts[0].pk >> 16)
    answer(agent, asked(agent, hosts[:2], campaign), campaign)
    collect()

    assert braked(campaign) == "brake rows: 2 rows, the limit is 1"


def test_the_heartbeat_is_not_written_while_brakes_cannot_be_looked_at(
    agent: Meet, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_host()
    campaign = make_campaign(host, rollout={"stop_if": {"rows": 1}})
    redis: Any = redis_client.client()
    redis.set(keyspace.SWEPT, keyspace.now_ms(redis) - 16_000)
    with monkeypatch.context() as broken:
        broken.setattr(releasing, "_pulled", lambda *_: 1 / 0)
        sweep()
    assert asked(agent, [host], campaign) == []

    sweep()
    assert asked(agent, [host], campaign) == [host]


def test_below_the_limits_nothing_is_stopped(agent: Meet, collect: Callable[[], int]) -> None:
    hosts = make_hosts(4)
    limits = {"failed_percent": 50, "rows": 100, "median_wall_ms": 500, "denylisted": 3, "silent_percent": 90}
    campaign = make_campaign(*hosts, rollout={"stop_if": limits})
    assert watch(), "not one of the figures is known yet"
    reached = asked(agent, hosts, campaign)
    answer(agent, reached[:1], campaign, status=1, message="no")
    answer(agent, reached[1:], campaign)
    collect()

    assert braked(campaign) == "every host has a final state"


# --- pause and resume --------------------------------------------------------------------------------------------


def test_paused_time_does_not_count(agent: Meet, collect: Callable[[], int], boss: APIClient) -> None:
    hosts = make_hosts(3)
    campaign = make_campaign(*hosts, timeout=60)
    (reached, *others) = hosts
    asked(agent, [reached], campaign)

    paused = act(boss, campaign, "pause").json()
    assert (paused["status"], paused["ends_at"]) == ("paused", None)
    assert asked(agent, others, campaign) == []
    answer(agent, [reached], campaign)
    collect()
    assert counts(campaign) == {"targeted": 3, "waiting": 2, "answered": 1}

    left = int(redis_client.client().hget(keyspace.campaign_key(campaign.pk), "paused"))
    before = clock.now()
    act(boss, campaign, "resume")
    campaign.refresh_from_db()
    assert campaign.ends_at is not None
    assert abs((campaign.ends_at - before) - timedelta(milliseconds=left)) < timedelta(seconds=1)
    assert asked(agent, others, campaign) == others


def test_what_is_over_is_not_paused(agent: Meet, boss: APIClient, collect: Callable[[], int]) -> None:
    host = make_host()
    stopped, completed = make_campaign(host), make_campaign(host)
    agent(host).read()
    for campaign in (stopped, completed):
        act(boss, campaign, "pause")
    answer(agent, [host], completed)
    collect()
    act(boss, stopped, "stop")
    sweep()

    for campaign, status in ((stopped, "stopped"), (completed, "completed")):
        shown = boss.get(f"/api/v1/campaigns/{campaign.pk}/").json()
        assert (shown["status"], shown["paused_by"], shown["paused_reason"]) == (status, "", "")


def test_what_somebody_paused_stays_so_when_it_is_widened(agent: Meet, boss: APIClient) -> None:
    hosts = make_hosts(3)
    campaign = make_campaign(*hosts, rollout={"canary": {"count": 1}})
    act(boss, campaign, "pause")

    assert act(boss, campaign, "widen", all=True).json()["status"] == "paused"

    sweep()
    assert asked(agent, hosts, campaign) == []


def test_a_pause_survives_a_lost_board(agent: Meet, boss: APIClient) -> None:
    host = make_host()
    campaign = make_campaign(host)
    act(boss, campaign, "pause")
    redis_client.client().flushdb()
    assert rebuild()

    assert asked(agent, [host], campaign) == []
    act(boss, campaign, "resume")
    assert asked(agent, [host], campaign) == [host]


def test_a_host_that_read_while_it_was_paused_ends_held_back(
    agent: Meet, collect: Callable[[], int], boss: APIClient
) -> None:
    hosts = make_hosts(2)
    campaign = make_campaign(*hosts, timeout=60)
    act(boss, campaign, "pause")
    asked(agent, hosts[:1], campaign)
    agent(hosts[0])._loop.run_until_complete(agent(hosts[0]).gateway._follower._tell_reads())
    act(boss, campaign, "resume")
    key = keyspace.campaign_key(campaign.pk)
    over = keyspace.now_ms(redis_client.client())
    redis_client.client().hset(key, "ends_at", over)
    Campaign.objects.update(ends_at=clock.moment(over))
    sweep()
    agent(hosts[0])._loop.run_until_complete(agent(hosts[0]).gateway._follower._tell_reads())
    sweep()

    assert counts(campaign) == {"targeted": 2, "held_back": 1, "missed": 1}


def test_what_the_status_does_not_allow_is_a_conflict(boss: APIClient) -> None:
    campaign = make_campaign(make_host())

    for verb, body in (("resume", {}), ("widen", {"all": True})):
        refused = act(boss, campaign, verb, **body)
        assert refused.status_code == 409
        assert f"campaign {campaign.pk} is " in refused.json()["error"]
    act(boss, campaign, "pause")
    assert act(boss, campaign, "pause").status_code == 409
    assert act(boss, campaign, "stop").status_code == 202
    assert act(boss, campaign, "stop").status_code == 202
    for verb in ("pause", "resume"):
        assert "is being stopped" in act(boss, campaign, verb).json()["error"]
    sweep()
    assert act(boss, campaign, "stop").status_code == 409


def test_without_a_board_a_pause_is_not_half_done(boss: APIClient) -> None:
    campaign = make_campaign(make_host())
    redis_client.client().delete(keyspace.EPOCH)

    assert act(boss, campaign, "pause").status_code == 503
    campaign.refresh_from_db()
    assert campaign.status == "running"


def test_only_who_launched_or_may_change_campaigns_may_pause(api: Api, operator: User, observer: User) -> None:
    campaign = make_campaign(make_host(), by=operator)

    assert act(api(observer), campaign, "pause").status_code == 403
    operator.user_permissions.clear()
    assert act(api(User.objects.get(pk=operator.pk)), campaign, "pause").status_code == 200


# --- the kill switch ---------------------------------------------------------------------------------------------


def test_the_kill_switch_stops_all_and_refuses_new_ones(
    agent: Meet, boss: APIClient, api: Api, operator: User, collect: Callable[[], int]
) -> None:
    hosts = make_hosts(2)
    running, paused = make_campaign(*hosts), make_campaign(*hosts)
    act(boss, paused, "pause")
    assert api(operator).post("/api/v1/live-queries/disable/").status_code == 403

    answer = boss.post("/api/v1/live-queries/disable/", {"reason": "the fleet is slow"}, format="json")

    assert answer.json() == {"enabled": False, "stopped": 2}
    assert asked(agent, hosts, running) == []
    launch = {"sql": "SELECT 1", "target": {"all": True}}
    refused = boss.post("/api/v1/campaigns/", launch, format="json")
    assert refused.status_code == 409
    assert "the fleet is slow" in refused.json()["error"]
    sweep()
    for campaign in (running, paused):
        assert counts(campaign) == {"targeted": 2, "stopped": 2}
        assert "switched off by" in campaign.ended_reason
    boss.post("/api/v1/live-queries/enable/")
    assert boss.post("/api/v1/campaigns/", launch, format="json").status_code == 201


def test_the_kill_switch_can_be_thrown_while_redis_is_away(
    agent: Meet, boss: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_host()
    campaign = make_campaign(host)
    scheduled = launch.launch(
        Order("SELECT 1", {"all": True}, start_at=clock.now() + timedelta(hours=1)), make_user(admin=True)
    )
    with monkeypatch.context() as away:
        away.setattr(redis_client, "client", lambda: keyspace.connect("redis://127.0.0.1:1"))
        answer = boss.post("/api/v1/live-queries/disable/", {"reason": "now"}, format="json")

    assert answer.json() == {"enabled": False, "stopped": 1}
    assert not LiveQueries.objects.get().enabled
    sweep()
    assert redis_client.client().exists(keyspace.OFF)
    for stopped in (campaign, scheduled):
        stopped.refresh_from_db()
        assert (stopped.status, "switched off by" in stopped.ended_reason) == ("stopped", True)


def test_the_kill_switch_alone_hands_out_nothing_and_survives_a_lost_board(
    agent: Meet, collect: Callable[[], int]
) -> None:
    host = make_host()
    campaign = make_campaign(host)
    LiveQueries.objects.create(pk=1, enabled=False)
    redis_client.client().flushdb()
    assert rebuild()

    assert asked(agent, [host], campaign) == []
    LiveQueries.objects.update(enabled=True)
    collect()
    assert rebuild()
    assert asked(agent, [host], campaign) == [host]


def test_a_server_set_up_without_live_queries_stops_all_and_hands_out_nothing(
    agent: Meet, boss: APIClient, settings: Any
) -> None:
    host = make_host()
    campaign, paused = make_campaign(host), make_campaign(make_host())
    act(boss, paused, "pause")
    settings.LIVE_QUERIES_ENABLED = False

    refused = act(boss, paused, "resume")
    assert (refused.status_code, "LIVE_QUERIES_ENABLED" in refused.json()["error"]) == (409, True)
    sweep()

    assert counts(campaign) == {"targeted": 1, "stopped": 1}
    assert campaign.ended_reason == "live queries are switched off on this server (LIVE_QUERIES_ENABLED)"
    status = boss.get("/api/v1/status/").json()
    assert status["live_queries"] == {"enabled": False, "reason": campaign.ended_reason}
    settings.LIVE_QUERIES_ENABLED = True
    sweep()
    again = make_campaign(host)
    assert asked(agent, [host], again) == [host]


def test_the_kill_switch_is_in_the_admin(client: Client, agent: Meet) -> None:
    client.force_login(make_user(admin=True))
    campaign = make_campaign(make_host())

    client.post("/admin/campaigns/livequeries/add/", {"reason": "too many at once"})

    campaign.refresh_from_db()
    assert "switched off" in campaign.ended_reason
    client.post("/admin/campaigns/livequeries/1/change/", {"enabled": "on", "reason": ""})
    assert LiveQueries.objects.get().enabled
    assert presence.carry() >= 0
