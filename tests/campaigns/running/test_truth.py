"""At every moment states add up, and in the end every acknowledged answer is there once: driven at random.

hypothesis interleaves what agents, operators, workers, the collector, the sweep and accidents do to one campaign, on
the real PostgreSQL and Redis, and compares with a model that knows only who was asked and who was acknowledged first.
"""

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis import Redis
from redis.client import Pipeline

from agents.board import clock, heartbeats, keyspace, operator_verbs, rebuilding, redis_client
from agents.models import Host
from campaigns.collecting.collector import Collector
from campaigns.launching import control, kill_switch, launch
from campaigns.launching.launch import Order
from campaigns.models import Campaign, Result, Target, TargetRange
from campaigns.running import rebuild, sweeps, targeting, upkeep
from campaigns.running.releasing import HASH
from campaigns.states import ANSWER_STATES, OPEN_STATES, State, Status
from fleet.errors import FleetError
from tests.conftest import Agent
from tests.factories import make_host, make_user

pytestmark = [pytest.mark.lengthy, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]

HOSTS = 6
FAR = 90_000_000  # ids of another range
hosts = st.integers(0, HOSTS - 1)
RANGES = st.sampled_from([0, FAR >> 16])
ROLLOUTS = st.sampled_from(
    [
        None,
        {"canary": {"count": 2}},
        {"canary": {"count": 1}, "then": "auto"},
        {"canary": {"percent": 40}, "stop_if": {"denylisted": 1}},
        {"per_second": 2, "then": "auto", "stop_if": {"denylisted": 2, "failed_percent": 60}},
    ]
)
DENYLISTED = "distributed query is denylisted"
SAID = st.sampled_from([(0, ""), (0, ""), (0, ""), (1, "no"), (1, DENYLISTED)])
# What ends a campaign is rare, so that much happens before.
VERBS = st.sampled_from([*["pause", "resume", "widen"] * 3, "stop"])
RARELY = st.sampled_from([False, False, False, True])
STEPS = st.integers(0, 12)


class CrashError(BaseException):
    """The process died."""


@contextmanager
def dying_at(step: int) -> Iterator[None]:
    """Let the process die before its `step`-th word to Redis: what it committed before stays, nothing follows."""
    words = itertools.count()

    def cut_off(say: Callable[..., Any]) -> Callable[..., Any]:
        def saying(*args: Any, **options: Any) -> Any:
            if next(words) == step:
                raise CrashError
            return say(*args, **options)

        return saying

    with pytest.MonkeyPatch.context() as patch, suppress(CrashError):
        patch.setattr(Redis, "execute_command", cut_off(Redis.execute_command))
        patch.setattr(Pipeline, "execute", cut_off(Pipeline.execute))
        yield


class OneCampaign(RuleBasedStateMachine):
    """What may happen to a campaign, in any order."""

    meet: ClassVar[Callable[[Host | int], Agent]]

    @initialize(rollout=ROLLOUTS, late=st.booleans(), within=st.sampled_from([None, 10]), is_unwritten=RARELY)
    def launch(self, rollout: Any, late: bool, within: int | None, is_unwritten: bool) -> None:
        with connection.cursor() as cursor:
            tables = "campaigns_campaign, campaigns_target, campaigns_result, campaigns_livequeries, agents_host"
            cursor.execute(f"TRUNCATE {tables} CASCADE")
        redis_client.client().flushdb()
        rebuilding.finish({})
        heartbeats.note_sweep()
        rebuilding.mark_stream("0-0")
        self.collected()
        made = [make_host(id=number + FAR * (number % 2)) for number in range(1, HOSTS + 1)]
        self.agents = [type(self).meet(host) for host in made]
        self.boss = make_user(admin=True)
        options = {"rollout": rollout, "answer_within": within, "include_late_joiners": late}
        self.campaign = launch.launch(Order("SELECT 1", {"all": True}, **options), self.boss)
        self.acknowledged: dict[int, str] = {}
        self.hosts = HOSTS
        self.armed: set[int] = set()
        self.denylisted, self.brake = 0, int(((rollout or {}).get("stop_if") or {}).get("denylisted", 3))
        for number in () if is_unwritten else (0, FAR >> 16):
            self.worker_writes(number)

    # --- agents ---------------------------------------------------------------------------------------------------

    @rule(place=hosts)
    def read(self, place: int) -> None:
        """A read hands out the campaign only to who is released and has not answered."""
        host = self.agents[place].host
        answer = self.agents[place].read()
        if answer.get("queries"):
            assert host not in self.acknowledged
            assert self.is_released(host)
            assert self.denylisted < self.brake
            assert kill_switch.is_on()

    @rule(place=hosts, said=SAID, value=st.integers(0, 9))
    def write(self, place: int, said: tuple[int, str], value: int) -> None:
        """The first answer of a released host is taken, whatever else happened; every other one is dropped."""
        host, rows = self.agents[place].host, [{"value": str(value)}]
        status, message = said
        gateway = self.agents[place].gateway
        before = gateway.counts["stored"]
        while self.agents[place].write(self.campaign.pk, rows, status=status, message=message) != {}:
            self.refresh()  # "the board is being rebuilt, come again": the agent does
        stored = gateway.counts["stored"] > before
        assert stored == (host not in self.acknowledged and self.is_released(host))
        if stored:
            self.acknowledged[host] = str(value)
            self.denylisted += message == DENYLISTED

    @rule(seconds=st.sampled_from([1, 61]))
    def time_passes(self, seconds: int) -> None:
        """Hosts are due by the pace; those that hold the SQL take too long."""
        past = clock.now() - timedelta(seconds=seconds)
        Campaign.objects.update(released_at=past)
        if seconds > 10:
            Target.objects.filter(state=State.DELIVERED).update(delivered_at=past)

    @rule(place=hosts, is_far=st.booleans())
    def enroll(self, place: int, is_far: bool) -> None:
        """A host comes, in whose place another one is heard no more."""
        self.hosts += 1
        self.agents[place] = type(self).meet(make_host(id=self.hosts + FAR * is_far))

    @rule()
    def tell_reads(self) -> None:
        """The second passes in which the gateway tells who asked."""
        agent = self.agents[0]
        agent._loop.run_until_complete(agent.gateway._follower._tell_reads())

    # --- the server -----------------------------------------------------------------------------------------------

    @rule()
    def collect(self) -> None:
        self.collected()

    @rule(step=STEPS)
    def collector_dies(self, step: int) -> None:
        """Somewhere between reading the stream, storing, and trimming."""
        with dying_at(step):
            Collector().collect()

    @rule()
    def sweep(self) -> None:
        """After it the board holds what Postgres does."""
        sweeps.sweep()
        self.campaign.refresh_from_db()
        standing = operator_verbs.standings([self.campaign.pk]).get(self.campaign.pk)
        if standing is not None and self.campaign.status in (Status.RUNNING, Status.PAUSED):
            assert standing.is_closed == self.campaign.is_closed
            assert standing.is_closed or standing.is_paused == (self.campaign.status == Status.PAUSED)

    @rule()
    def two_sweep(self) -> None:
        """The second finds nothing to do, when it comes at once as far as the pace can tell."""
        sweeps.sweep()
        before = self.seen()
        Campaign.objects.exclude(rollout=None).update(released_at=clock.now() + timedelta(seconds=60))
        sweeps.sweep()
        assert self.seen() == before

    @rule(step=STEPS)
    def sweep_dies(self, step: int) -> None:
        with dying_at(step):
            sweeps.sweep()

    @rule(number=RANGES)
    def worker_writes(self, number: int) -> None:
        """A range is written, or its message comes again."""
        targeting.write_range(self.campaign.pk, number)
        self.note_armed()

    @rule()
    def worker_writes_small_ranges(self) -> None:
        targeting.write_small_ranges()
        self.note_armed()

    @rule(numbers=st.sets(RANGES))
    def worker_dies(self, numbers: set[int]) -> None:
        """Between the two transactions of some ranges."""
        targeting._write_targets(self.campaign.ranges.filter(number__in=numbers))

    @rule()
    def join_and_repair(self) -> None:
        upkeep.add_late_joiners()
        upkeep.repair_board()

    @rule()
    def board_is_lost(self) -> None:
        """Redis restarts with what it had: nobody is told anything until the board is written anew."""
        self.collected()
        redis_client.client().delete(keyspace.EPOCH)
        assert set(self.agents[0].read()) == {"error"} or not self.agents[0].gateway.board.has_work(0)
        assert rebuild.rebuild()
        self.campaign.refresh_from_db()
        if self.campaign.started_at:
            self.armed |= {host >> 16 for host in Target.objects.values_list("host_id", flat=True)}

    # --- operators ------------------------------------------------------------------------------------------------

    @rule(verb=VERBS, is_swept=st.booleans())
    def operate_and_die(self, verb: str, is_swept: bool) -> None:
        """After the board was written and before that was committed."""
        with transaction.atomic():
            self.operate(verb)
            transaction.set_rollback(True)
        if is_swept:
            self.sweep()

    @rule(off=RARELY)
    def turn_the_switch(self, off: bool) -> None:
        if off:
            control.disable_live_queries(self.boss)
        else:
            control.enable_live_queries(self.boss)

    @rule(verb=VERBS)
    def operate(self, verb: str) -> None:
        with suppress(FleetError):
            if verb == "widen":
                control.widen(self.campaign.pk, "somebody", {"all": True})
            elif verb == "stop":
                control.stop(self.campaign.pk, "somebody", "enough")
            else:
                getattr(control, verb)(self.campaign.pk, "somebody")

    @rule(is_so=RARELY)
    def time_is_up(self, is_so: bool) -> None:
        self.campaign.refresh_from_db()
        if is_so and self.campaign.ends_at is not None and not self.campaign.is_over:
            now = clock.now()
            redis_client.client().hset(keyspace.campaign_key(self.campaign.pk), "ends_at", clock.in_ms(now))
            Campaign.objects.update(ends_at=now)

    # --- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def states_add_up(self) -> None:
        found = Campaign.objects.get()
        states = Counter(Target.objects.values_list("state", flat=True))
        assert {state: number for state, number in found.counts.items() if state in states} == dict(states)
        assert found.count_targeted == sum(states.values())
        assert Result.objects.count() == sum(states[state] for state in ANSWER_STATES)
        assert found.is_over == (found.ended_at is not None)
        if found.is_over:
            assert not any(states[state] for state in OPEN_STATES)

    def teardown(self) -> None:
        """In the end everything is final, and what was acknowledged is there, once, as it was said first."""
        with suppress(FleetError):
            control.stop(self.campaign.pk, "somebody", "enough")
        for _ in range(3):
            self.collected()
            self.tell_reads()
            sweeps.sweep()
        self.states_add_up()
        assert Campaign.objects.get().is_over
        stored = {result.host_id: result.rows[0]["value"] for result in Result.objects.all()}
        assert stored == self.acknowledged

    def refresh(self) -> None:
        agent = self.agents[0]
        agent._loop.run_until_complete(agent.gateway.store.refresh())

    def collected(self) -> None:
        while Collector().collect():
            pass

    def seen(self) -> list[Any]:
        fields = "status", "ended_by", "released", "released_count", "release_goal", "paused_by", "warnings"
        states = Target.objects.order_by("host_id").values_list("host_id", "state")
        return [Campaign.objects.values(*fields).get(), list(states)]

    def note_armed(self) -> None:
        self.armed |= set(TargetRange.objects.exclude(done_at=None).values_list("number", flat=True))

    def is_released(self, host: int) -> bool:
        """Say whether a host may answer. The board may be ahead of what the process that released could commit."""
        self.campaign.refresh_from_db()
        self.note_armed()
        target = Target.objects.annotate(hash=HASH).filter(host_id=host).first()
        if target is None or host >> 16 not in self.armed:
            return False
        on_board = operator_verbs.released_to(self.campaign.pk, [host >> 16])
        far = max(self.campaign.released, *on_board.values())
        return bool(target.hash <= far or target.delivered_at)


def test_states_add_up_and_no_answer_is_lost_whatever_happens(agent: Callable[[Host | int], Agent]) -> None:
    OneCampaign.meet = staticmethod(agent)
    run_state_machine_as_test(
        OneCampaign,
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            deadline=timedelta(seconds=20),
            derandomize="CI" in os.environ,  # a push is not judged by chance; desks look further each time
            suppress_health_check=list(HealthCheck),
        ),
    )
