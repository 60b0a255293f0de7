"""One campaign from launch to stored rows, in one process: real Postgres, real Redis, the real scripts."""

from collections.abc import Callable

import pytest

from agents.models import Host
from campaigns.collecting.models import DeadLetter
from campaigns.models import Result, Target
from campaigns.states import State, Status
from tests.conftest import Agent
from tests.factories import make_campaign, make_host, make_hosts

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_host_is_asked_answers_and_its_rows_are_kept(
    agent: Callable[[Host], Agent], collect: Callable[[], int]
) -> None:
    host = make_host()
    campaign = make_campaign(host, sql="SELECT pid FROM processes")

    asked = agent(host).read()
    answered = agent(host).write(campaign.pk, [{"pid": "1"}, {"pid": "2"}])
    collect()

    assert asked == {"queries": {f"c{campaign.pk}": "SELECT pid FROM processes"}}
    assert answered == {}
    campaign.refresh_from_db()
    assert campaign.status == Status.COMPLETED
    assert campaign.counts["answered"] == campaign.counts["targeted"] == 1
    assert campaign.columns == ["pid"]
    assert Result.objects.get(campaign=campaign).rows == [{"pid": "1"}, {"pid": "2"}]
    target = Target.objects.get(campaign=campaign)
    assert (target.state, target.deliveries, target.wall_ms) == (State.ANSWERED, 1, 3)
    assert not DeadLetter.objects.exists()


def test_states_add_up_at_every_step(agent: Callable[[Host], Agent], collect: Callable[[], int]) -> None:
    hosts = make_hosts(5)
    campaign = make_campaign(*hosts)

    def counts() -> dict[str, int]:
        collect()
        campaign.refresh_from_db()
        return {name: number for name, number in campaign.counts.items() if number and name != "rows"}

    assert counts() == {"targeted": 5, "waiting": 5}
    for host in hosts[:3]:
        agent(host).read()
    assert counts() == {"targeted": 5, "waiting": 2, "delivered": 3}
    agent(hosts[0]).write(campaign.pk, [])
    agent(hosts[1]).write(campaign.pk, [], status=1, message="no such table: processes")
    agent(hosts[2]).write(campaign.pk, [], status=1, message="distributed query is denylisted")
    assert counts() == {"targeted": 5, "waiting": 2, "answered": 1, "failed": 1, "denylisted": 1}
