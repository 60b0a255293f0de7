"""One key, two machines: noticed, shown, and cleared by a person."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from agents.board import keyspace, redis_client
from agents.inventory import presence
from agents.models import Host
from agents.protocol.node_key import NodeKeys
from tests.conftest import Agent
from tests.factories import make_campaign, make_host, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Meet = Callable[[Host | int], Agent]


def tell(agent: Agent) -> None:
    agent._loop.run_until_complete(agent.gateway._follower._tell_reads())
    presence.carry()


def in_doubt(host: Host) -> str:
    host.refresh_from_db()
    assert (host.in_doubt_since is None) == (host.in_doubt_reason == "")
    return host.in_doubt_reason


def read_at_once(agent: Agent, *addresses: str) -> None:
    """Hold a read from each address at the same time."""
    agent.gateway._reads._hold_seconds = 0.1

    async def both() -> None:
        requests = []
        for address in addresses:
            agent.address = address
            requests.append(asyncio.ensure_future(agent.posting("distributed/read", {"node_key": agent.key})))
            await asyncio.sleep(0)
        await asyncio.gather(*requests)

    agent._loop.run_until_complete(both())


def test_one_key_from_two_addresses_at_once(agent: Meet) -> None:
    host = make_host()
    read_at_once(agent(host), "192.0.2.1", "198.51.100.9", "192.0.2.1")
    tell(agent(host))

    assert in_doubt(host) == "its key was used from two addresses at once: 198.51.100.9 and 192.0.2.1"


def test_a_laptop_that_moves_while_its_read_is_held_is_one_machine(agent: Meet) -> None:
    host = make_host()
    read_at_once(agent(host), "192.0.2.1", "198.51.100.9")
    tell(agent(host))

    assert in_doubt(host) == ""


def test_requests_of_other_threads_say_nothing_of_their_addresses(agent: Meet) -> None:
    host = make_host()
    asking, behind_nat = agent(host), agent(host)
    asking.gateway._reads._hold_seconds = 0.1
    behind_nat.address = "198.51.100.9"

    async def both() -> None:
        held = asyncio.ensure_future(asking.posting("distributed/read", {"node_key": asking.key}))
        await asyncio.sleep(0)
        await behind_nat.posting("log", {"node_key": asking.key, "log_type": "status", "data": []})
        await asking.posting("log", {"node_key": asking.key, "log_type": "status", "data": []})
        await held

    asking._loop.run_until_complete(both())
    tell(asking)

    assert in_doubt(host) == ""


def test_a_read_that_was_sent_again_is_one_machine(agent: Meet) -> None:
    host = make_host()
    read_at_once(agent(host), "192.0.2.1", "192.0.2.1")
    tell(agent(host))

    assert in_doubt(host) == ""


def test_a_laptop_that_moves_is_one_machine(agent: Meet) -> None:
    host = make_host()
    for address in ("192.0.2.1", "198.51.100.9", "192.0.2.1"):
        moved = agent(host)
        moved.address = address
        moved.read()
    tell(agent(host))

    assert in_doubt(host) == ""


@pytest.mark.parametrize("verb", ["distributed/read", "distributed/write", "config", "log"])
@pytest.mark.parametrize(("seconds", "reason"), [(10, ""), (61, "an older key of it was used after a newer one")])
def test_an_older_key_after_a_newer_one(agent: Meet, seconds: int, reason: str, verb: str) -> None:
    host = make_host()
    newer, older = agent(host), agent(host)
    newer.key = NodeKeys(settings.NODE_KEY_SECRETS).issue(host.pk, 2)
    newer.read()
    tell(newer)
    redis: Any = redis_client.client()
    epoch, first = redis.hget(keyspace.KEYS_IN_USE, host.pk).split()
    redis.hset(keyspace.KEYS_IN_USE, host.pk, b"%s %d" % (epoch, int(first) - seconds * 1000))

    assert older.post(verb, {"node_key": older.key}) != {"node_invalid": True}, "it is served all the same"
    tell(older)

    assert in_doubt(host) == reason


def test_the_mark_is_shown_and_a_person_clears_it(
    agent: Meet, collect: Callable[[], int], api: Callable[[User | None], APIClient], client: Client
) -> None:
    host = make_host()
    campaign = make_campaign(host)
    agent(host).write(campaign.pk, [{"a": "1"}])
    collect()
    boss = make_user(admin=True)

    def shown() -> tuple[bool, bool]:
        (result,) = api(boss).get(f"/api/v1/campaigns/{campaign.pk}/results/").json()["results"]
        return result["in_doubt"], api(boss).get(f"/api/v1/hosts/{host.pk}/").json()["in_doubt_since"] is not None

    assert shown() == (False, False)
    redis_client.client().hset(keyspace.DOUBTS, host.pk, "seen twice")
    presence.carry()
    assert shown() == (True, True)

    client.force_login(boss)
    client.post("/admin/agents/host/", {"action": "clear_doubts", "_selected_action": [host.pk]})
    assert shown() == (False, False)
    presence.carry()
    assert in_doubt(host) == "", "what was told once is told once"
