"""Estimates: who a launch would ask, what the same SQL cost before, and in how many queries."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest.mock import ANY

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from agents.board import keyspace, redis_client
from agents.models import Presence, TableSchema
from campaigns.launching import control
from campaigns.launching.estimates import SLOW_MS, estimate
from campaigns.models import Campaign, Query
from campaigns.running import rebuild
from campaigns.states import State
from tests.conftest import Agent
from tests.factories import answer, make_campaign, make_host, make_hosts, make_label, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Api = Callable[[User | None], APIClient]
SLOW = "SELECT * FROM hash WHERE path = '/'"


def ask(client: APIClient, **body: Any) -> Any:
    return client.post("/api/v1/campaigns/estimate/", {"target": {"all": True}, **body}, format="json")


def test_hosts_are_counted_by_platform_and_by_when_they_were_seen(api: Api, operator: User) -> None:
    online, today, _never = make_host(), make_host(), make_host(platform="darwin")
    Presence.objects.create(host=online, last_seen=timezone.now())
    Presence.objects.create(host=today, last_seen=timezone.now() - timedelta(hours=23))

    assert ask(api(operator)).json() == {
        "targeted": 3,
        "online": 1,
        "seen_last_day": 2,
        "platforms": {"linux": 2, "darwin": 1},
        "cost": None,
        "warnings": [],
        "approval": None,
        "quotas": ANY,
    }
    assert not Campaign.objects.exists()


def test_the_cost_is_what_the_same_sql_cost_before(api: Api, operator: User) -> None:
    hosts = make_hosts(20)
    campaign = make_campaign(*hosts, sql=SLOW)
    for place, host in enumerate(hosts[:19], 1):
        answer(campaign, host, wall_ms=place * 10, memory_bytes=place)
    answer(campaign, hosts[19], state=State.DENYLISTED)
    make_campaign(*hosts, sql="SELECT 1")

    body = ask(api(operator), sql=f"\n{SLOW} ").json()

    assert body["cost"] == {
        "campaigns": 1,
        "hosts": 19,
        "wall_ms": {"median": 100, "p95": 190},
        "memory_bytes": {"median": 10, "p95": 19},
        "denylisted": 1,
    }
    assert "denylisted it in earlier campaigns: 1" in body["warnings"][0]
    assert ask(api(operator), sql="SELECT 2").json()["cost"] is None


def test_a_saved_query_is_looked_up_by_its_sql(api: Api, operator: User) -> None:
    host = make_host()
    answer(make_campaign(host, sql=SLOW), host, wall_ms=7)
    query = Query.objects.create(name="slow", sql=SLOW)

    assert ask(api(operator), query=query.pk).json()["cost"]["wall_ms"]["median"] == 7
    assert ask(api(operator), query=query.pk + 1).status_code == 400


def test_what_a_launch_would_refuse_is_refused_or_warned_of(api: Api, operator: User, settings: Any) -> None:
    make_hosts(3)
    settings.TARGETS_PER_CAMPAIGN = 2

    warnings = ask(api(operator), sql="SELECT * FROM carves").json()["warnings"]

    assert "target selects 3 hosts, allowed are 2" in warnings[0]
    assert "carves" in warnings[1]
    assert ask(api(operator), sql="SELEC").status_code == 400
    assert ask(api(operator), target={"labels": ["lost"]}).json()["error"] == "unknown label: 'lost'"


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        ({"timeout": 1}, "timeout 1 is below the minimum of 10 seconds"),
        ({"answer_within": 3_000_000}, "answer_within 3000000 is above the maximum of 30 days"),
        ({"start_at": "2020-01-01T00:00:00Z"}, "is in the past"),
        ({"rollout": {"x": 1}}, "rollout has an unknown member 'x'"),
        ({"rollout": {"canary": {"percent": 101}}}, "rollout.canary has percent 101"),
        ({"query": 1, "sql": "SELECT 1"}, "give either sql or query"),
    ],
)
def test_what_a_launch_refuses_of_the_body_an_estimate_refuses(
    api: Api, operator: User, member: dict[str, Any], sentence: str
) -> None:
    make_host()

    answer = ask(api(operator), **{"sql": "SELECT 1", **member})

    assert answer.status_code == 400
    assert sentence in answer.json()["error"]


def test_hosts_that_cannot_run_the_sql_are_counted(api: Api, operator: User) -> None:
    make_hosts(2, platform="windows", osquery_version="5.1.0")
    make_host(platform="windows", osquery_version="5.2.0")
    make_host(osquery_version="5.2.0")
    make_host(platform="darwin", osquery_version="5.2.0")  # of a kind that has not told its tables
    for platform, version, table in (("windows", "5.1.0", "p"), ("windows", "5.2.0", "p"), ("linux", "5.2.0", "apps")):
        tables = {table: [["name", "TEXT", False]]}
        TableSchema.objects.create(platform=platform, osquery_version=version, tables=tables, learned_at=timezone.now())

    body = ask(api(operator), sql="SELECT name FROM apps").json()
    nobody = ask(api(operator), sql="SELECT name FROM apps", target={"platforms": ["windows"]})

    assert body["platforms"] == {"windows": 3, "linux": 1, "darwin": 1}
    assert body["warnings"] == ["3 Windows hosts cannot run it and would not be asked: no such table: apps"]
    assert nobody.status_code == 400
    assert "is wrong on every host that is meant: no such table: apps" in nobody.json()["error"]


def test_an_estimate_takes_a_few_queries_whatever_the_number_of_hosts() -> None:
    hosts = make_hosts(30)
    make_label("ours", *hosts)
    earlier = make_campaign(*hosts, sql=SLOW)
    target = {
        "labels": ["ours"],
        "hosts": [host.hostname for host in hosts],
        "campaign": {"id": earlier.pk, "states": ["waiting"]},
        "sample": {"count": 20},
    }
    admin = make_user(admin=True)

    with CaptureQueriesContext(connection) as queries:
        assert estimate(target, admin, SLOW)["targeted"] == 20

    said = "scope, labels, campaign, hosts by name, the count, views, the cost, tables of each kind, rules"
    assert len(queries) == 9, said


def test_sql_that_was_slow_before_shares_no_read(agent: Callable[[Any], Agent]) -> None:
    host = make_host()
    before = make_campaign(host, sql=SLOW)
    answer(before, host, wall_ms=SLOW_MS)
    control.stop(before.pk, "somebody", "enough")
    slow = make_campaign(host, sql=SLOW)
    quick = make_campaign(host, sql="SELECT 2")

    reader = agent(host)

    assert set(reader.read()["queries"]) == {f"c{slow.pk}"}
    assert reader.write(slow.pk, []) == {}
    assert set(reader.read()["queries"]) == {f"c{quick.pk}"}


def test_sql_that_was_denylisted_before_shares_no_read_even_when_the_board_was_lost(
    agent: Callable[[Any], Agent],
) -> None:
    host = make_host()
    answer(make_campaign(host, sql=SLOW), host, state=State.DENYLISTED)
    quick, deadly = make_campaign(host, sql="SELECT 2"), make_campaign(host, sql=SLOW)
    redis_client.client().delete(keyspace.EPOCH)
    assert rebuild.rebuild()

    assert set(agent(host).read()["queries"]) == {f"c{quick.pk}"}
    assert deadly.goes_alone
