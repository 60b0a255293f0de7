"""The database is lost, or restored from an older backup: no key and no answer ever passes for another host's."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import Client

from agents.board import keyspace, known_hosts, operator_verbs, redis_client
from agents.board.health import health
from agents.inventory import installation
from agents.models import EnrollSecret, Host, Installation
from agents.protocol.node_key import NodeKeys
from campaigns.launching.launch import Order, launch
from campaigns.models import Campaign, Result
from campaigns.running.rebuild import mend_board
from fleet.errors import UnavailableError
from tests.conftest import Agent, let_audit_be_emptied
from tests.factories import make_campaign, make_host, make_user
from tests.postgresql import run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Meet = Callable[[Host | int], Agent]
Collect = Callable[[], int]
SECRET = "long enough to be a secret"
INVALID = {"node_invalid": True}


@pytest.fixture(autouse=True)
def _secret_and_own_board() -> None:
    EnrollSecret.objects.offer("all", SECRET)
    assert mend_board()
    assert known_hosts.life() == installation.here().life


def enroll(identifier: str) -> dict[str, Any]:
    body = {"enroll_secret": SECRET, "host_identifier": identifier, "platform_type": "9"}
    answer: dict[str, Any] = Client().post("/api/osquery/enroll", json.dumps(body), "application/json").json()
    return answer


def machine(meet: Meet, identifier: str) -> Agent:
    """Enroll a machine; it keeps its key whatever happens to the database."""
    key = enroll(identifier)["node_key"]
    made = meet(Host.objects.get(host_identifier=identifier))
    made.key = key
    return made


def dump() -> str:
    return run("pg_dump", "--no-owner", "--exclude-schema", "pristine")


def lose() -> None:
    connection.close()
    run("psql", "--quiet", "-v", "ON_ERROR_STOP=1", sql="DROP SCHEMA public CASCADE; CREATE SCHEMA public;")


def restore(backup: str) -> None:
    lose()
    run("psql", "--quiet", "-v", "ON_ERROR_STOP=1", sql=backup)


def put_back_as_it_was(hosts: int) -> None:
    """Leave the database where it is and take from it what is newer, as files that are put back would."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM agents_labelmembership WHERE host_id > %s", [hosts])
        cursor.execute("DELETE FROM agents_presence WHERE host_id > %s", [hosts])
        cursor.execute("DELETE FROM agents_host WHERE id > %s", [hosts])
        cursor.execute("SELECT setval('agents_host_id_seq', %s)", [hosts])


def mended(collect: Collect) -> None:
    """Let collector and sweep do what they do every second."""
    for _ in range(3):
        collect()
        if mend_board():
            return
    raise AssertionError("the board stays broken")


def asked(host: Agent) -> Any:
    """Ask for the config at a gateway whose copy is as old as it happens to be."""
    return host.post("config", {"node_key": host.key})


def is_served(host: Agent) -> bool:
    """Say whether a read is taken for one of a host; housekeeping may be in the answer."""
    return host.read().keys() <= {"queries", "accelerate"}


def comes(identifier: str, host: Host) -> None:
    """Enroll, and launch, on a connection of one's own."""
    enroll(identifier)
    make_campaign(host)
    connection.close()


@pytest.mark.parametrize("by", ["dump", "files"])
def test_after_a_restore_nobody_speaks_for_another(agent: Meet, collect: Collect, by: str) -> None:
    early = machine(agent, "early")
    backup = dump()
    late = machine(agent, "late")
    before = make_campaign(Host.objects.get(host_identifier="late"))
    assert late.read()["queries"]
    restore(backup) if by == "dump" else put_back_as_it_was(early.host)
    Campaign.objects.filter(pk=before.pk).delete()

    if by == "dump":
        assert enroll("newcomer") == {"error": "the board is being rebuilt, come again"}
        with pytest.raises(UnavailableError, match="restored"):
            launch(Order("SELECT 1", {"all": True}), make_user(admin=True))
    mended(collect)
    assert is_served(early)
    assert asked(late) == INVALID
    newcomer = machine(agent, "newcomer")
    if by == "files":
        assert newcomer.host == late.host, "the number is given out once more"
    assert is_served(newcomer)
    assert asked(late) == INVALID
    campaign = make_campaign(*Host.objects.all())
    assert campaign.pk > before.pk
    for number in (before.pk, campaign.pk):
        assert late.write(number, [{"a": "of late"}]) == INVALID
    assert newcomer.write(campaign.pk, [{"a": "of the newcomer"}]) == {}
    assert newcomer.write(before.pk, [{"a": "of nobody"}]) == {}
    collect()

    assert [result.rows for result in Result.objects.all()] == [[{"a": "of the newcomer"}]]
    again = machine(agent, "late")
    assert again.host not in (early.host, newcomer.host)
    assert is_served(again)


def test_after_a_loss_every_key_is_invalid_and_old_work_is_nobodys(agent: Meet, collect: Collect) -> None:
    old = machine(agent, "old")
    before = make_campaign(Host.objects.get())
    assert old.read()["queries"]
    assert old.write(before.pk, [{"a": "before"}]) == {}
    lose()
    call_command("migrate", verbosity=0, interactive=False)
    let_audit_be_emptied()
    EnrollSecret.objects.offer("all", SECRET)

    assert "error" in enroll("new")
    mended(collect)
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval('agents_host_id_seq', %s, false)", [old.host])
    new = machine(agent, "new")
    assert new.host == old.host
    assert is_served(new)
    assert asked(old) == INVALID
    campaign = make_campaign(Host.objects.get())
    assert campaign.pk > max(1_000_000, before.pk)
    assert old.write(campaign.pk, [{"a": "of old"}]) == INVALID
    assert new.read()["queries"]
    collect()

    assert not Result.objects.exists()


async def until_held(host: Any) -> None:
    async with asyncio.timeout(10):
        while not len(host.gateway.hold):
            await asyncio.sleep(0)


def test_a_held_read_of_a_host_that_was_lost_ends(agent: Meet, collect: Collect) -> None:
    backup = dump()
    late = machine(agent, "late")
    assert is_served(late)
    late.gateway._reads._hold_seconds = 30.0
    held = late._loop.create_task(late.posting("distributed/read", {"node_key": late.key}))
    late._loop.run_until_complete(until_held(late))
    restore(backup)
    mended(collect)

    assert late._loop.run_until_complete(asyncio.wait_for(held, 10)) == INVALID


def test_who_enrolled_a_moment_ago_is_served_at_once(agent: Meet) -> None:
    newcomer = machine(agent, "newcomer")

    assert "options" in asked(newcomer), "the gateway looks at the board before it judges"
    round_trips = newcomer.gateway.store.round_trips
    looks = newcomer.gateway._follower._begun
    assert "options" in asked(newcomer)
    assert newcomer.gateway.store.round_trips == round_trips
    assert newcomer.gateway._follower._begun == looks


def test_an_outage_never_says_node_invalid(agent: Meet, collect: Collect) -> None:
    backup = dump()
    late = machine(agent, "late")
    assert is_served(late)
    restore(backup)
    redis_client.client().delete(keyspace.EPOCH)
    late._loop.run_until_complete(late.gateway.store.refresh())

    for verb in ("distributed/read", "distributed/write", "config", "log"):
        answer = late.post(verb, {"node_key": late.key, "queries": {"c1": []}})
        assert answer != INVALID
    mended(collect)
    assert late.read() == INVALID


def test_strangers_are_told_to_monitors_and_limited(agent: Meet, collect: Collect) -> None:
    backup = dump()
    late = machine(agent, "late")
    restore(backup)
    mended(collect)
    answers = [json.dumps(sorted(asked(late))) for _ in range(250)]
    late._loop.run_until_complete(late.gateway._follower._tell_reads())

    assert set(answers) == {'["node_invalid"]', '["error"]'}
    (warning,) = [sentence for sentence in health().warnings if "does not have" in sentence]
    assert warning.startswith("250 requests came lately")
    assert late.gateway.counts["stored"] == 0


def test_keys_of_the_older_form_speak_for_hosts_of_before_the_upgrade_alone(agent: Meet, collect: Collect) -> None:
    before, after = make_host(), make_host()
    Installation.objects.update(old_keys_up_to=before.pk)
    redis_client.client().delete(keyspace.INSTALLATION)  # as the earlier version left the board
    assert mend_board()
    keys = NodeKeys(settings.NODE_KEY_SECRETS)

    for host, is_known in ((before, True), (after, False)):
        met = agent(host)
        met.key = keys.issue(host.pk, 1)
        assert is_served(met) == is_known
        assert (asked(met) == INVALID) == (not is_known)
    met = agent(after.pk + 1_000)
    assert asked(met) == INVALID, "nor for a host that is none"


def test_a_restore_counts_once_and_the_next_one_repeats_no_number(agent: Meet, collect: Collect) -> None:
    backup = dump()
    restore(backup)
    mended(collect)
    epoch = redis_client.client().get(keyspace.EPOCH)

    assert mend_board()
    assert redis_client.client().get(keyspace.EPOCH) == epoch
    assert not installation.here().has_moved
    between = make_campaign(make_host())
    operator_verbs.forget(between.pk)
    restore(backup)
    mended(collect)
    assert make_campaign(make_host()).pk > between.pk


def test_who_comes_while_the_numbers_are_compared_is_of_this_life(agent: Meet) -> None:
    host = Host.objects.get(pk=machine(agent, "early").host)
    epoch, leapt = redis_client.client().get(keyspace.EPOCH), known_hosts.leapt()
    came = 0

    def let_others_come(execute: Callable[..., Any], sql: str, *given: Any) -> Any:
        """Between any two questions of whoever looks, somebody enrolls and something is launched."""
        nonlocal came
        answer = execute(sql, *given)
        if "pg_sequences" in sql or "agents_installation" in sql:
            came += 1
            with ThreadPoolExecutor(1) as beside:
                beside.submit(comes, f"late-{came}", host).result()
        return answer

    with connection.execute_wrapper(let_others_come):
        assert mend_board()

    assert came >= 2
    assert redis_client.client().get(keyspace.EPOCH) == epoch, "what was whole was written anew"
    assert known_hosts.leapt() == leapt


def test_a_revoked_number_does_not_shut_out_who_has_it_after_a_restore(agent: Meet, collect: Collect) -> None:
    first = machine(agent, "first")
    machine(agent, "sent away")
    operator_verbs.set_floor(first.host + 1, 9)
    put_back_as_it_was(first.host)
    mended(collect)

    newcomer = machine(agent, "newcomer")
    assert newcomer.host == first.host + 1
    assert is_served(newcomer)
