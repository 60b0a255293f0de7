"""Ends: two steps, one true state for every host, and a board that can be written anew at any moment."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from agents.board import clock, heartbeats, keyspace, operator_verbs, rebuilding, redis_client
from agents.inventory import presence
from agents.models import Host, Presence
from campaigns.launching import control
from campaigns.models import Campaign, Result, Target, TargetRange
from campaigns.running import ending, rebuild, sweeps, upkeep
from campaigns.states import State, Status
from tests.conftest import Agent
from tests.factories import make_campaign, make_host, make_hosts

pytestmark = pytest.mark.django_db(transaction=True)
MakeAgent = Callable[[Host], Agent]
Collect = Callable[[], int]


def end_now(campaign: Campaign) -> None:
    """Let the campaign's time be up, on the board and in Postgres."""
    now = clock.now()
    redis_client.client().hset(keyspace.campaign_key(campaign.pk), "ends_at", clock.in_ms(now))
    Campaign.objects.filter(pk=campaign.pk).update(ends_at=now)


def state(campaign: Campaign, host: Host) -> str:
    return Target.objects.get(campaign=campaign, host=host).state


def tell_reads(agent: Agent) -> None:
    agent._loop.run_until_complete(agent.gateway._follower._tell_reads())


def let_a_second_pass(campaign: Campaign, agent: Agent) -> None:
    """Let what the gateway has to tell be a second old: it gets some milliseconds younger on its way."""
    Campaign.objects.filter(pk=campaign.pk).update(started_at=timezone.now() - timedelta(minutes=1))
    follower = agent.gateway._follower
    follower._asked = {used: when - 1.0 for used, when in follower._asked.items()}


def test_silent_hosts_end_as_what_they_were(agent: MakeAgent, collect: Collect) -> None:
    delivered, missed, answered = make_hosts(3)
    campaign = make_campaign(delivered, missed, answered)
    agent(delivered).read()
    agent(answered).read()
    agent(answered).write(campaign.pk, [])
    end_now(campaign)
    collect()

    sweeps.sweep()  # closes, and waits for what gateways have to tell
    tell_reads(agent(delivered))
    sweeps.sweep()

    campaign.refresh_from_db()
    assert campaign.status == Status.EXPIRED
    assert campaign.ended_at == campaign.ends_at
    assert state(campaign, delivered) == State.NO_ANSWER
    assert state(campaign, missed) == State.MISSED
    assert state(campaign, answered) == State.ANSWERED


def test_a_host_that_asked_but_was_not_handed_the_sql_was_held_back(agent: MakeAgent, collect: Collect) -> None:
    host = make_host()
    campaign = make_campaign(host)
    redis_client.client().hset(keyspace.campaign_key(campaign.pk), "paused", "1")
    tell_reads(agent(host))
    agent(host).read()
    let_a_second_pass(campaign, agent(host))
    end_now(campaign)

    sweeps.sweep()
    assert state(campaign, host) == State.WAITING, "its gateway may yet tell that it asked before the end"
    tell_reads(agent(host))
    sweeps.sweep()

    assert state(campaign, host) == State.HELD_BACK


@pytest.mark.parametrize("kept_by", ["other work", "a pause"])
def test_a_host_that_listened_already_and_was_not_handed_the_sql_was_held_back(
    kept_by: str, agent: MakeAgent, collect: Collect
) -> None:
    host = make_host()
    listening = agent(host)
    run, gateway = listening._loop.run_until_complete, listening.gateway
    gateway._reads._hold_seconds = 600.0
    read = run(begin_to_listen(listening))
    tell_reads(listening)
    others = [make_campaign(host) for _ in range(gateway._reads._most)]
    campaign = make_campaign(host)
    if kept_by == "a pause":
        redis_client.client().hset(keyspace.campaign_key(campaign.pk), "paused", "1")
        others = others[:1]

    run(gateway.store.refresh())
    gateway.hold.wake_host(host.pk)
    handed = run(asyncio.wait_for(read, 90))["queries"]
    tell_reads(listening)
    end_now(campaign)
    collect()
    sweeps.sweep()
    tell_reads(listening)
    sweeps.sweep()

    assert set(handed) >= {f"c{other.pk}" for other in others}
    assert f"c{campaign.pk}" not in handed
    assert state(campaign, host) == State.HELD_BACK


async def begin_to_listen(agent: Agent) -> "asyncio.Task[dict[str, dict[str, str]]]":
    """Send a read, and return as soon as it is held."""
    read = asyncio.create_task(agent.posting("distributed/read", {"node_key": agent.key}))
    while not len(agent.gateway.hold):
        await asyncio.sleep(0)
    return read


def test_what_takes_long_keeps_no_sweep_from_looking_at_brakes(
    agent: MakeAgent, board: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaigns = [make_campaign(*make_hosts(3)) for _ in range(2)]
    for campaign in campaigns:
        control.stop(campaign.pk, "somebody", "enough")
    monkeypatch.setattr(ending, "STEP_SECONDS", 0.0)
    monkeypatch.setattr(sweeps, "STEP_SECONDS", 0.0)
    monkeypatch.setattr(ending, "SLICE", 2)

    open_after = []
    for _ in range(4):
        sweeps.sweep()
        open_after.append(Target.objects.filter(state=State.WAITING).count())

    assert open_after == [4, 3, 1, 0]


def test_nothing_is_final_before_everything_in_the_stream_is_stored(agent: MakeAgent, collect: Collect) -> None:
    host = make_host()
    campaign = make_campaign(host)
    agent(host).read()
    agent(host).write(campaign.pk, [{"a": "1"}])
    end_now(campaign)

    sweeps.sweep()
    tell_reads(agent(host))
    sweeps.sweep()
    assert state(campaign, host) == State.WAITING, "its answer is in the stream"
    collect()

    campaign.refresh_from_db()
    assert state(campaign, host) == State.ANSWERED
    assert campaign.status == Status.COMPLETED
    assert not Result.objects.get().late


def test_a_stopped_campaign_waits_for_no_gateway_takes_late_answers_and_stays_stopped(
    agent: MakeAgent, collect: Collect
) -> None:
    host, silent = make_hosts(2)
    campaign = make_campaign(host, silent)
    agent(host).read()
    tell_reads(agent(host))
    control.stop(campaign.pk, "somebody", "enough")
    collect()
    sweeps.sweep()
    assert [state(campaign, each) for each in (host, silent)] == [State.STOPPED, State.STOPPED]

    agent(host).write(campaign.pk, [{"a": "1"}])
    collect()

    campaign.refresh_from_db()
    assert (campaign.status, campaign.ended_by) == (Status.STOPPED, "somebody")
    assert Target.objects.get(host=host).late
    assert campaign.count_answered == 1


def test_what_is_over_since_its_last_host_answered_is_closed_on_the_board_as_of_then(
    agent: MakeAgent, collect: Collect
) -> None:
    host = make_host()
    campaign = make_campaign(host)
    agent(host).read()
    agent(host).write(campaign.pk, [])
    collect()

    sweeps.sweep()

    campaign.refresh_from_db()
    assert (campaign.status, campaign.closed_at) == (Status.COMPLETED, campaign.ended_at)
    assert operator_verbs.standings([campaign.pk])[campaign.pk].is_closed


def test_an_ended_campaign_is_forgotten_on_the_board_in_time(
    agent: MakeAgent, collect: Collect, settings: object
) -> None:
    host = make_host()
    campaign = make_campaign(host)
    control.stop(campaign.pk, "somebody", "enough")
    sweeps.sweep()
    upkeep.forget_ended()
    assert operator_verbs.known() == {campaign.pk}

    settings.LATE_ANSWER_SECONDS = -1  # type: ignore[attr-defined]
    upkeep.forget_ended()

    assert operator_verbs.known() == set()
    assert agent(host).write(campaign.pk, [{"a": "1"}]) == {}
    assert collect() == 0 or not Result.objects.exists()


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=1), timedelta(hours=-1)])
def test_a_stuck_range_is_sent_again_whatever_the_sweepers_clock_says(
    monkeypatch: pytest.MonkeyPatch, board: None, ahead: timedelta
) -> None:
    host = make_host()
    campaign = make_campaign(host)
    TargetRange.objects.update(done_at=None, sent_at=timezone.now() - timedelta(seconds=11))
    sent: list[tuple[object, ...]] = []
    monkeypatch.setattr(sweeps, "enqueue", lambda *call: sent.append(call))

    with time_machine.travel(timezone.now() + ahead):
        sweeps.send_stuck_ranges()
        sweeps.send_stuck_ranges()

    assert sent == [("campaigns.write_range", campaign.pk, host.pk >> 16)]


def test_an_emptied_redis_is_written_anew_and_the_repeat_is_stored(agent: MakeAgent, collect: Collect) -> None:
    done, open_ = make_hosts(2)
    campaign = make_campaign(done, open_)
    for host in (done, open_):
        agent(host).read()
    agent(done).write(campaign.pk, [{"a": "1"}])
    collect()
    redis_client.client().flushdb()
    assert "error" in agent(open_).write(campaign.pk, [{"a": "2"}])

    assert rebuild.mend_board()
    assert agent(open_).read() == {}, "it was handed the SQL before: its answer may come right after"
    assert agent(open_).write(campaign.pk, [{"a": "2"}]) == {}
    agent(done).write(campaign.pk, [{"a": "3"}])
    collect()

    campaign.refresh_from_db()
    assert campaign.status == Status.COMPLETED
    assert [result.rows for result in Result.objects.order_by("seq")] == [[{"a": "1"}], [{"a": "2"}]]


def test_the_board_of_a_redis_that_restarted_is_written_anew(agent: MakeAgent) -> None:
    host = make_host()
    campaign = make_campaign(host)
    redis_client.client().set(keyspace.EPOCH, "another process:1")
    redis_client.client().unlink(keyspace.offer_key(campaign.pk, host.pk >> 16))  # a write that it lost

    assert rebuild.mend_board()

    assert rebuilding.epoch()[0] == rebuilding.run_id()
    assert f"c{campaign.pk}" in agent(host).read()["queries"]


def test_a_rebuild_waits_until_the_stream_is_stored(agent: MakeAgent, collect: Collect) -> None:
    host = make_host()
    campaign = make_campaign(host)
    agent(host).read()
    agent(host).write(campaign.pk, [{"a": "1"}])
    rebuilding.begin()

    assert not rebuild.rebuild()
    collect()
    assert rebuild.rebuild()

    assert agent(host).read() == {}, "it answered: it owes nothing"


def test_no_later_answer_falls_behind_the_cursor(agent: MakeAgent, collect: Collect) -> None:
    """Redis' clock went back: the stream begins after the cursor all the same."""
    future = f"{clock.in_ms(clock.now()) + 3_600_000}-5"
    make_campaign(make_host())
    collect()
    from campaigns.collecting.models import StreamCursor

    StreamCursor.objects.update_or_create(stream=keyspace.STREAM, defaults={"entry": future})
    redis_client.client().flushdb()
    assert rebuild.rebuild()
    host = make_host()
    campaign = make_campaign(host)
    agent(host).read()

    agent(host).write(campaign.pk, [{"a": "1"}])
    collect()

    assert Result.objects.filter(campaign=campaign).exists()


def test_a_lost_bit_is_set_again(agent: MakeAgent, collect: Collect) -> None:
    host = make_host()
    campaign = make_campaign(host)
    seat = keyspace.seat_of(host.pk)
    redis_client.client().setbit(keyspace.offer_key(campaign.pk, seat.number), seat.bit, 0)
    assert agent(host).read() == {}
    redis_client.client().xadd(keyspace.STREAM, {"k": "b"})
    upkeep.repair_board()
    assert agent(host).read() == {}, "an answer may be in the stream"
    collect()

    upkeep.repair_board()
    assert "queries" in agent(host).read()


def test_two_sweeps_make_no_difference(agent: MakeAgent, collect: Collect) -> None:
    campaign = make_campaign(*make_hosts(3))
    control.stop(campaign.pk, "somebody", "enough")

    for _ in range(3):
        sweeps.sweep()

    campaign.refresh_from_db()
    assert campaign.count_stopped == campaign.count_targeted == 3


def test_when_hosts_asked_is_carried_to_postgres(agent: MakeAgent) -> None:
    host = make_host()
    agent(host).read()
    tell_reads(agent(host))

    assert presence.carry() == 1
    assert presence.carry() == 0
    assert Presence.objects.get().host == host


@pytest.mark.parametrize(
    ("last", "before", "streak", "asked"),
    [
        (15, 0, 15, True),
        (5, 0, 5, False),
        (25, 15, 25, True),
        (25, 24, 25, False),
        (30, 25, 5, True),
        (30, 5, 30, False),
    ],
)
def test_three_times_tell_whether_a_host_asked_between_10_and_20(
    last: int, before: int, streak: int, asked: bool
) -> None:
    reads = heartbeats.Reads(*(clock.moment(at * 1000) for at in (last, before, streak)))

    assert reads.between(clock.moment(10_000), clock.moment(20_000)) is asked
