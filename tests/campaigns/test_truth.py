"""At every moment states add up, and in the end every acknowledged answer is there once: driven at random.

hypothesis interleaves what agents, operators, the collector, the sweep and accidents do to one campaign, on the real
PostgreSQL and Redis, and compares with a model that knows only who was asked and who was acknowledged first.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.db import connection
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis import Redis
from redis.client import Pipeline

from agents import anew, open_work, told
from agents.models import Host
from campaigns import lifecycle, rebuild, sweeps, upkeep
from campaigns.collection import Collector
from campaigns.models import ANSWER_STATES, OPEN_STATES, Campaign, Result, Target
from campaigns.rollout import HASH
from campaigns.targeting import write_range
from fleet import keyspace
from fleet.errors import FleetError
from tests.conftest import Agent
from tests.factories import make_campaign, make_host, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]

HOSTS = 6
hosts = st.integers(0, HOSTS - 1)
ROLLOUTS = st.sampled_from(
    [None, {"canary": {"count": 2}}, {"canary": {"count": 1}, "then": "auto"}, {"per_second": 2, "then": "auto"}]
)


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

    @initialize(rollout=ROLLOUTS, late=st.booleans())
    def launch(self, rollout: Any, late: bool) -> None:
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE campaigns_campaign, campaigns_target, campaigns_result, agents_host CASCADE")
        open_work.client().flushdb()
        anew.finish({})
        told.note_sweep()
        anew.mark_stream("0-0")
        self.collected()
        made = [make_host() for _ in range(HOSTS)]
        self.agents = [type(self).meet(host) for host in made]
        options = {"target": {"all": True}, "rollout": rollout, "include_late_joiners": late}
        self.campaign = make_campaign(*made, timeout=600, by=make_user(admin=True), **options)
        self.acknowledged: dict[int, str] = {}

    # --- agents ---------------------------------------------------------------------------------------------------

    @rule(place=hosts)
    def read(self, place: int) -> None:
        """A read hands out the campaign only to who is released and has not answered."""
        host = self.agents[place].host
        answer = self.agents[place].read()
        if answer.get("queries"):
            assert host not in self.acknowledged
            assert self.is_released(host)

    @rule(place=hosts, status=st.sampled_from([0, 0, 0, 1]), value=st.integers(0, 9))
    def write(self, place: int, status: int, value: int) -> None:
        """The first answer of a released host is taken, whatever else happened; every other one is dropped."""
        host, rows = self.agents[place].host, [{"value": str(value)}]
        gateway = self.agents[place].gateway
        before = gateway.counts["stored"]
        while self.agents[place].write(self.campaign.pk, rows, status=status, message="no" * status) != {}:
            self.refresh()  # "the board is being rebuilt, come again": the agent does
        stored = gateway.counts["stored"] > before
        assert stored == (host not in self.acknowledged and self.is_released(host))
        if stored:
            self.acknowledged[host] = str(value)

    @rule()
    def tell_reads(self) -> None:
        """The second passes in which the gateway tells who asked."""
        agent = self.agents[0]
        agent._loop.run_until_complete(agent.gateway._tell_reads())

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
        sweeps.sweep()
        told.note_sweep()

    @rule(step=STEPS)
    def sweep_dies(self, step: int) -> None:
        with dying_at(step):
            sweeps.sweep()

    @rule()
    def message_comes_again(self) -> None:
        write_range(self.campaign.pk, 0)

    @rule()
    def join_and_repair(self) -> None:
        upkeep.add_late_joiners()
        upkeep.repair_board()

    @rule()
    def board_is_lost(self) -> None:
        """Redis restarts with what it had: nobody is told anything until the board is written anew."""
        self.collected()
        open_work.client().delete(keyspace.EPOCH)
        assert set(self.agents[0].read()) == {"error"} or not self.agents[0].gateway.board.has_work(0)
        rebuild.rebuild()

    # --- operators ------------------------------------------------------------------------------------------------

    @rule(verb=st.sampled_from(["pause", "resume", "widen", "stop"]))
    def operate(self, verb: str) -> None:
        with suppress(FleetError):
            if verb == "widen":
                lifecycle.widen(self.campaign.pk, "somebody", {"all": True})
            elif verb == "stop":
                lifecycle.stop(self.campaign.pk, "somebody", "enough")
            else:
                getattr(lifecycle, verb)(self.campaign.pk, "somebody")

    @rule()
    def time_is_up(self) -> None:
        self.campaign.refresh_from_db()
        if self.campaign.ends_at is not None and not self.campaign.is_over:
            now = open_work.now()
            open_work.client().hset(keyspace.campaign_key(self.campaign.pk), "ends_at", open_work.in_ms(now))
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
            lifecycle.stop(self.campaign.pk, "somebody", "enough")
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

    def is_released(self, host: int) -> bool:
        self.campaign.refresh_from_db()
        hashed = Target.objects.annotate(hash=HASH).get(host_id=host).hash
        return bool(hashed <= self.campaign.released)


def test_states_add_up_and_no_answer_is_lost_whatever_happens(agent: Callable[[Host | int], Agent]) -> None:
    OneCampaign.meet = staticmethod(agent)
    run_state_machine_as_test(
        OneCampaign,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=timedelta(seconds=20),
            suppress_health_check=list(HealthCheck),
        ),
    )
