"""What overlaps: a stop while the board is away, a repair beside another task, a loss in the middle of a campaign."""

from collections.abc import Callable
from datetime import timedelta
from threading import Thread
from time import sleep
from typing import Any

import pytest
from django.db import connection, transaction

from agents.board import clock, heartbeats, keyspace, operator_verbs, rebuilding, redis_client
from agents.models import Host, Presence
from campaigns.launching import control
from campaigns.launching.launch import Order, launch
from campaigns.models import Campaign, Target
from campaigns.people.scopes import UNLIMITED
from campaigns.running import rebuild, releasing, targeting, upkeep
from campaigns.running.releasing import HASH
from campaigns.running.sweeps import sweep
from campaigns.selecting.selection import Selection
from campaigns.states import State, Status
from tests.conftest import Agent
from tests.factories import make_campaign, make_host, make_hosts, make_label, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
MakeAgent = Callable[[Host], Agent]
Collect = Callable[[], int]


def statuses() -> list[str]:
    return list(Campaign.objects.order_by("pk").values_list("status", flat=True))


def state(campaign: Campaign, host: Host) -> str:
    return Target.objects.get(campaign=campaign, host=host).state


def test_a_campaign_stopped_while_the_board_is_away_is_not_handed_out_by_the_new_one(
    agent: MakeAgent, collect: Collect
) -> None:
    host = make_host()
    campaign = make_campaign(host)
    rebuilding.begin()
    control.stop(campaign.pk, "somebody", "enough")

    assert rebuild.rebuild()
    assert agent(host).read() == {}
    upkeep.repair_board()
    assert agent(host).read() == {}
    sweep()
    campaign.refresh_from_db()
    assert (campaign.status, campaign.counts["stopped"]) == (Status.STOPPED, 1)


def test_a_campaign_whose_lock_is_not_let_go_keeps_no_other_from_the_kill_switch() -> None:
    """As a sweeper that froze in the middle of a step holds it."""
    _, held, _ = (make_campaign(make_host()) for _ in range(3))
    frozen = connection.copy()
    try:
        frozen.set_autocommit(False)
        with frozen.cursor() as cursor:
            cursor.execute("SELECT FROM campaigns_campaign WHERE id = %s FOR UPDATE", [held.pk])
        assert control.disable_live_queries(make_user(admin=True)) == 2
        sweep()
        assert statuses() == [Status.STOPPED, Status.RUNNING, Status.STOPPED]
        frozen.rollback()
    finally:
        frozen.close()
    sweep()

    assert statuses() == [Status.STOPPED] * 3


def test_a_new_board_is_off_before_it_is_whole(agent: MakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    control.disable_live_queries(make_user(admin=True))
    redis_client.client().flushdb()
    finish = rebuilding.finish

    def finish_when_off(*args: Any) -> None:
        assert redis_client.client().exists(keyspace.OFF)
        finish(*args)

    monkeypatch.setattr(rebuilding, "finish", finish_when_off)
    assert rebuild.rebuild()


def test_hosts_that_asked_before_redis_was_emptied_were_not_missed(agent: MakeAgent, collect: Collect) -> None:
    host = make_host()
    campaign = make_campaign(host)
    Presence.objects.create(host=host, last_seen=clock.now())
    redis_client.client().flushdb()
    assert rebuild.rebuild()

    collect()
    Campaign.objects.filter(pk=campaign.pk).update(ends_at=clock.now())
    sweep()

    assert state(campaign, host) == State.HELD_BACK


def test_a_host_that_is_waited_for_no_more_is_not_asked_again_by_the_repair(agent: MakeAgent) -> None:
    """While one process takes bits away, and has not committed yet, the repair waits for it."""
    host = make_host()
    campaign = make_campaign(host)
    repaired = Thread(target=upkeep_elsewhere)
    with transaction.atomic():
        Campaign.objects.locked([campaign.pk])
        operator_verbs.take_offers(campaign.pk, [host.pk])
        repaired.start()
        wait_for_blocked_session()
        Target.objects.filter(campaign=campaign).update(state=State.NO_ANSWER)

    repaired.join()
    assert agent(host).read() == {}


def upkeep_elsewhere() -> None:
    upkeep.repair_board()
    connection.close()


def wait_for_blocked_session() -> None:
    """Return when another session waits for a lock of ours."""
    with connection.cursor() as cursor:
        for _ in range(1000):
            cursor.execute("SELECT pg_backend_pid() = ANY(pg_blocking_pids(pid)) FROM pg_locks WHERE NOT granted")
            if any(blocked for (blocked,) in cursor.fetchall()):
                return
            sleep(0.01)
    raise AssertionError("nobody waited for the campaign's lock")


def test_the_end_of_a_campaign_whose_hosts_answer_during_targeting_is_that_of_the_last_answer(
    agent: MakeAgent, collect: Collect
) -> None:
    near, far = make_host(), make_host(id=90_000_000)
    campaign = launch(Order(sql="SELECT 1", target={"hosts": [near.pk, far.pk]}), make_user(admin=True))
    first, second = campaign.ranges.values_list("number", flat=True)
    targeting.write_range(campaign.pk, first)
    agent(near).read()
    agent(near).write(campaign.pk, [])
    collect()
    Host.objects.filter(pk=far.pk).update(revoked_at=clock.now())

    targeting.write_range(campaign.pk, second)

    campaign.refresh_from_db()
    answered = Target.objects.get(campaign=campaign, host=near)
    assert campaign.status == Status.COMPLETED
    assert campaign.ended_at == answered.answered_at


@pytest.mark.parametrize("narrowed", [{}, {"sample": {"count": 3}}, {"online": True}])
def test_who_is_meant_is_frozen_however_late_the_worker_is(narrowed: Any) -> None:
    hosts = [*make_hosts(4), *(make_host(id=90_000_000 + n) for n in range(4))]
    Presence.objects.bulk_create(Presence(host=host, last_seen=clock.now()) for host in hosts[2:6])
    label = make_label("web", *hosts)
    target = {"labels": ["web"], **narrowed}
    meant = set(Selection.read(target, UNLIMITED).hosts(clock.now()).values_list("pk", flat=True))
    campaign = launch(Order(sql="SELECT 1", target=target), make_user(admin=True))

    label.hosts.remove(*hosts[1:7])
    label.hosts.add(*make_hosts(3))
    Presence.objects.all().delete()
    for number in campaign.ranges.values_list("number", flat=True):
        targeting.write_range(campaign.pk, number)

    campaign.refresh_from_db()
    assert set(campaign.targets.values_list("host_id", flat=True)) == meant
    assert campaign.expected == campaign.count_targeted == len(meant)
    assert not campaign.ranges.exclude(hosts=None).exists(), "it is needed no more"


def test_a_stop_that_reached_the_board_alone_ends_the_campaign(agent: MakeAgent) -> None:
    campaign = launch(Order(sql="SELECT 1", target={"hosts": [make_host().pk]}), make_user(admin=True))
    number = campaign.ranges.get().number
    operator_verbs.close(campaign.pk, [number])

    targeting.write_range(campaign.pk, number)
    sweep()

    campaign.refresh_from_db()
    assert (campaign.status, campaign.ended_by) == (Status.STOPPED, "server")


def test_who_was_handed_it_by_a_release_that_was_not_committed_may_answer_and_was_not_held_back(
    agent: MakeAgent, collect: Collect
) -> None:
    order: dict[str, Any] = {"canary": {"count": 1}, "per_second": 1}
    campaign = make_campaign(*make_hosts(3), rollout=order)
    ranked = campaign.targets.annotate(hash=HASH).order_by("hash").select_related("host")
    answering, silent = hosts = [target.host for target in ranked[1:]]
    Campaign.objects.update(release_goal=3, released_at=clock.now() - timedelta(seconds=3))
    with transaction.atomic():
        releasing.advance(campaign.pk)
        transaction.set_rollback(True)  # the process dies after the board was written
    heartbeats.note_sweep()
    for host in hosts:
        assert agent(host).read()["queries"]
    collect()
    rebuilding.begin()
    assert rebuild.rebuild()

    agent(answering).read()
    agent(answering).write(campaign.pk, [])
    collect()
    control.stop(campaign.pk, "somebody", "enough")
    sweep()

    assert (state(campaign, answering), state(campaign, silent)) == (State.ANSWERED, State.STOPPED)


@pytest.mark.parametrize(("verb", "status"), [("pause", Status.RUNNING), ("resume", Status.PAUSED)])
def test_the_board_follows_postgres_after_a_pause_or_resume_that_was_not_committed(
    agent: MakeAgent, verb: str, status: Status
) -> None:
    host = make_host()
    campaign = make_campaign(host)
    if verb == "resume":
        control.pause(campaign.pk, "somebody")
    with transaction.atomic():
        getattr(control, verb)(campaign.pk, "somebody")
        transaction.set_rollback(True)  # the process dies after the board was written
    assert bool(agent(host).read()) == (verb == "resume")

    sweep()

    campaign.refresh_from_db()
    assert campaign.status == status
    assert (campaign.ends_at is None, campaign.left is None) == (verb == "resume", verb == "pause")
    assert operator_verbs.standings([campaign.pk])[campaign.pk].is_paused == (verb == "resume")
    assert bool(agent(host).read()) == (verb == "pause")


def test_a_stop_that_was_not_committed_ends_a_running_campaign(agent: MakeAgent) -> None:
    campaign = make_campaign(make_host())
    operator_verbs.close(campaign.pk, [campaign.ranges.get().number])

    sweep()

    campaign.refresh_from_db()
    assert (campaign.status, campaign.ended_by) == (Status.STOPPED, "server")


def test_trouble_with_one_campaign_keeps_no_other_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = make_campaign(*make_hosts(2), rollout={"canary": {"count": 1}})
    other = make_campaign(make_host())
    monkeypatch.setattr(releasing, "advance", lambda _: 1 / 0)
    Campaign.objects.filter(pk=other.pk).update(ends_at=clock.now())

    sweep()

    other.refresh_from_db()
    broken.refresh_from_db()
    assert (other.is_over, broken.is_over) == (True, False)
