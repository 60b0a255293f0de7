"""Launching: who is meant, what is refused and in which words, and that nothing is half-done."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from rest_framework.test import APIClient

from agents.board import operator_verbs
from campaigns.launching import control, launch
from campaigns.launching.once import once
from campaigns.models import Campaign, Query, Target, TargetRange
from campaigns.running.rebuild import rebuild
from campaigns.running.targeting import write_range
from campaigns.states import State, Status
from tests.conftest import Agent
from tests.end_to_end.conftest import wait_for
from tests.factories import learn, make_campaign, make_host, make_hosts, make_label, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Api = Callable[[User | None], APIClient]
LINUX = {"platforms": ["linux"]}


def post(api: APIClient, **body: Any) -> Any:
    order = {"sql": "SELECT 1", "target": {"all": True}, **body}
    return api.post("/api/v1/campaigns/", order, format="json")


def test_a_launch_answers_with_the_campaign(api: Api, operator: User) -> None:
    make_hosts(3)

    answer = post(api(operator), name="three", timeout=20)

    assert answer.status_code == 201
    body = answer.json()
    assert (body["expected"], body["status"], body["created_by"]) == (3, "targeting", "operator")
    assert body["created_at"][19:20] == "."
    assert len(body["created_at"]) == len("2026-01-01T00:00:00.000Z")
    assert set(body["counts"]) == {*State.values, "targeted", "rows", "online"}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"target": {"labels": ["servers"]}}, "unknown label: 'servers'"),
        ({"target": {"hosts": ["nobody"]}}, "unknown host: 'nobody'"),
        ({"target": {"hosts": [424242]}}, "unknown host: 424242"),
        ({"target": {"platforms": ["amiga"]}}, "platform 'amiga' is unknown"),
        ({"target": {"hosts": []}}, "selects no enrolled host"),
        ({"target": {"platforms": ["windows"]}}, "selects no enrolled host"),
        ({"target": {}}, "give at least one of"),
        ({"target": {"everything": True}}, "unknown member 'everything'"),
        ({"target": {"online": True}}, "give at least one of"),
        ({"target": []}, "is not an object"),
        ({"target": {"hosts": [True]}}, "has True"),
        ({"sql": ""}, "is empty"),
        ({"sql": "-- only a comment"}, "is empty"),
        ({"sql": "SELEC pid"}, 'near "SELEC": syntax error'),
        ({"sql": "DROP TABLE users"}, "does not only read"),
        ({"sql": "SELECT '" + "x" * 70_000 + "'"}, "allowed are 65536"),
        ({"timeout": 9}, "timeout 9 is below the minimum of 10 seconds"),
        ({"timeout": 2_592_001}, "timeout 2592001 is above the maximum"),
        ({"timeout": "soon"}, "timeout"),
        ({"colour": "red"}, "unknown member 'colour'"),
        ({"query": 99, "sql": "SELECT 1"}, "either sql or query"),
    ],
)
def test_bad_input_is_refused_with_a_sentence_and_nothing_is_kept(
    api: Api, operator: User, body: dict[str, Any], sentence: str
) -> None:
    make_host()

    answer = post(api(operator), **body)

    assert answer.status_code == 400
    assert sentence in answer.json()["error"]
    assert not Campaign.objects.exists()
    assert not TargetRange.objects.exists()


def test_who_may_launch_and_look(api: Api, operator: User, observer: User, stranger: User) -> None:
    make_host()

    assert [post(api(who)).status_code for who in (operator, observer, stranger, None)] == [201, 403, 403, 401]
    looks = [api(who).get("/api/v1/campaigns/").status_code for who in (operator, observer, stranger, None)]
    assert looks == [200, 200, 403, 401]


def test_whoever_launched_may_stop_and_others_need_the_permission(
    api: Api, operator: User, observer: User, stranger: User
) -> None:
    campaign = make_campaign(make_host(), by=stranger)
    path = f"/api/v1/campaigns/{campaign.pk}/stop/"

    assert api(observer).post(path).status_code == 403
    assert api(None).post(path).status_code in (401, 403)
    assert api(stranger).post(path).status_code == 202
    assert api(operator).post(path).status_code == 202, "a second stop is the first"
    campaign.refresh_from_db()
    assert campaign.ended_by == "stranger"
    assert campaign.is_closed


def test_the_same_idempotency_key_launches_once(api: Api, operator: User, observer: User) -> None:
    make_host()
    client = api(operator)
    first = client.post("/api/v1/campaigns/", ORDER, format="json", headers={"Idempotency-Key": "k"})
    again = client.post("/api/v1/campaigns/", ORDER, format="json", headers={"Idempotency-Key": "k"})
    other = client.post("/api/v1/campaigns/", {**ORDER, "name": "x"}, format="json", headers={"Idempotency-Key": "k"})

    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.json()["id"] == again.json()["id"]
    assert Campaign.objects.count() == 1
    for key, sentence in (("", "is empty: without one"), (" ", "is empty"), ("k" * 256, "has 256 characters")):
        refused = client.post("/api/v1/campaigns/", ORDER, format="json", headers={"Idempotency-Key": key})
        assert (refused.status_code, sentence in refused.json()["error"]) == (400, True)


def test_two_launches_under_one_key_at_once_are_one(operator: User) -> None:
    host, found, under_way = make_host(), [], threading.Event()

    def someone_waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            return bool(cursor.rowcount) or not second.is_alive()

    def launched_while_another_waits() -> Campaign:
        under_way.set()
        wait_for(someone_waits, 90)
        return make_campaign(host, by=operator)

    def twin() -> None:
        under_way.wait(90)
        found.append(once(operator, "k", "digest", lambda: make_campaign(host, by=operator)))
        connection.close()

    second = threading.Thread(target=twin)
    second.start()
    first = once(operator, "k", "digest", launched_while_another_waits)
    second.join()

    assert [first, *found] == [(Campaign.objects.get(), True), (Campaign.objects.get(), False)]


def test_a_saved_query_that_was_edited_is_the_same_body(api: Api, operator: User) -> None:
    make_host()
    query = Query.objects.create(name="ours", sql="SELECT 1")
    other = Query.objects.create(name="theirs", sql="SELECT 1")
    client = api(operator)

    def order(query: Query) -> Any:
        body = {"query": query.pk, "target": {"all": True}}
        return client.post("/api/v1/campaigns/", body, format="json", headers={"Idempotency-Key": "k"})

    first = order(query)
    Query.objects.filter(pk=query.pk).update(sql="SELECT 2")
    again = order(query)

    assert (first.status_code, again.status_code, order(other).status_code) == (201, 200, 409)
    assert (again.json()["id"], again.json()["sql"]) == (first.json()["id"], "SELECT 1")


ORDER = {"sql": "SELECT 1", "target": {"all": True}}


def test_labels_and_platforms_narrow_each_other_and_hosts_are_added() -> None:
    linux, mac, other = make_host(), make_host(platform="darwin"), make_host(platform="windows")
    make_label("ours", linux, mac)
    target = {"labels": ["ours"], "platforms": ["linux"], "hosts": [other.pk]}

    campaign = make_campaign(target=target)

    assert set(campaign.targets.values_list("host_id", flat=True)) == {linux.pk, other.pk}


def test_filters_hold_for_named_hosts_too() -> None:
    kept, left_out = make_hosts(2)
    make_label("fragile", left_out)

    campaign = make_campaign(target={"hosts": [kept.hostname, left_out.hostname], "exclude_labels": ["fragile"]})

    assert list(campaign.targets.values_list("host_id", flat=True)) == [kept.pk]


def test_a_hostname_that_several_bear_means_all_and_is_said() -> None:
    make_hosts(2, hostname="twin")

    campaign = make_campaign(target={"hosts": ["twin"]})

    assert campaign.count_targeted == 2
    assert "2 hosts are called 'twin'" in campaign.warnings[0]


def test_revoked_hosts_are_not_meant() -> None:
    make_host()
    make_host(revoked_at="2026-01-01T00:00:00Z")

    assert make_campaign(target={"all": True}).count_targeted == 1


def test_an_estimate_counts_and_launches_nothing(api: Api, operator: User) -> None:
    make_hosts(2)
    make_host(platform="darwin")

    body = api(operator).post("/api/v1/campaigns/estimate/", ORDER, format="json").json()

    assert body["targeted"] == 3
    assert body["platforms"] == {"linux": 2, "darwin": 1}
    assert not Campaign.objects.exists()


def test_a_range_written_twice_changes_nothing() -> None:
    host = make_host()
    campaign = make_campaign(host)

    write_range(campaign.pk, host.pk >> 16)

    campaign.refresh_from_db()
    assert campaign.count_targeted == Target.objects.count() == 1
    assert campaign.status == Status.RUNNING


def test_hosts_of_several_ranges_are_all_asked() -> None:
    near, far = make_host(), make_host(pk=200_000)

    campaign = make_campaign(near, far)

    assert campaign.ranges.count() == 2
    assert campaign.count_targeted == 2
    assert operator_verbs.offered(campaign.pk, 200_000 >> 16)


def test_a_range_that_comes_after_the_stop_asks_nobody() -> None:
    host = make_host()
    campaign = launch.launch(launch.Order("SELECT 1", {"hosts": [host.pk]}), make_campaign(host).created_by)
    control.stop(campaign.pk, "somebody", "a mistake")

    write_range(campaign.pk, host.pk >> 16)

    assert not campaign.targets.exists()
    assert not operator_verbs.offered(campaign.pk, host.pk >> 16)


@pytest.mark.parametrize(
    "text", ["SELECT * FROM main.Yara", "SELECT load_extension('x')", "DELETE FROM users", "SELECT * FROM carves"]
)
def test_sql_that_changes_hosts_needs_a_permission(api: Api, operator: User, text: str) -> None:
    make_host()

    refused = post(api(operator), sql=text)

    assert refused.status_code == 403
    assert "needs the permission campaigns.launch_restricted" in refused.json()["error"]
    assert not Campaign.objects.exists()
    assert post(api(make_user(admin=True)), sql=text).status_code == 201


def test_a_change_of_what_takes_none_is_refused_everywhere_unless_it_is_forced(api: Api) -> None:
    learn("linux", "users")
    host, boss = make_host(osquery_version="5.23.0"), api(make_user(admin=True))
    untold = make_host(osquery_version="", platform="windows")
    order = {"sql": "DELETE FROM users", "target": {"hosts": [host.pk, untold.pk]}}
    addresses = ("campaigns/", "campaigns/estimate/", "queries/")
    bodies = (order, order, {"name": "emptied", "sql": order["sql"]})

    refused = [boss.post(f"/api/v1/{at}", body, format="json") for at, body in zip(addresses, bodies, strict=True)]

    sentence = "DELETE is for tables of extensions: users is one of osquery's own, which are only read"
    for answered in refused:
        assert answered.status_code == 400
        assert sentence in answered.json()["error"]
        assert "sql 'DELETE FROM users' is wrong on every host" in answered.json()["error"]
    assert (
        sentence
        in boss.post("/api/v1/campaigns/", {**order, "target": {"hosts": [untold.pk]}}, format="json").json()["error"]
    )
    theirs = boss.post("/api/v1/campaigns/", {**order, "sql": "DELETE FROM theirs"}, format="json").json()
    assert theirs["warnings"] == ["1 Linux host cannot run it and will not be asked: no such table: theirs"]
    assert boss.post("/api/v1/campaigns/", {**order, "force": True}, format="json").status_code == 201


def test_hosts_that_lack_a_table_are_never_asked(agent: Callable[[Any], Agent], collect: Callable[[], int]) -> None:
    learn("linux", "users", "deb_packages")
    learn("darwin", "users")
    linux, unknown = make_host(osquery_version="5.23.0"), make_host(osquery_version="4.9.0")
    mac = make_host(osquery_version="5.23.0", platform="darwin")
    campaign = make_campaign(linux, mac, unknown, sql="SELECT name FROM deb_packages")

    assert campaign.counts["unsupported"] == 1
    target = campaign.targets.get(host=mac)
    assert (target.state, target.error) == ("unsupported", "no such table: deb_packages")
    assert agent(mac).read() == {}
    for asked in (linux, unknown):
        assert agent(asked).read()["queries"] == {f"c{campaign.pk}": "SELECT name FROM deb_packages"}
    collect()
    assert rebuild()
    assert agent(mac).read() == {}, "nor after the board was lost"


def test_sql_that_no_meant_host_can_run_is_refused_with_sqlites_sentence(api: Api, operator: User) -> None:
    learn("linux", "users")
    make_host(osquery_version="5.23.0")

    answer = post(api(operator), sql="SELECT nam FROM users")

    assert answer.status_code == 400
    assert "no such column: nam (line 1, column 8)" in answer.json()["error"]
    assert not Campaign.objects.exists()


def test_what_an_unknown_kind_of_host_can_run_is_its_own_to_say(api: Api, operator: User) -> None:
    learn("linux", "users")
    make_host(osquery_version="5.23.0")
    make_host(osquery_version="6.0.0")

    assert post(api(operator), sql="SELECT name FROM brand_new").status_code == 201


def test_forced_sql_is_sent_in_spite_of_what_was_learned(agent: Callable[[Any], Agent], api: Api) -> None:
    learn("linux", "users")
    host = make_host(osquery_version="5.23.0")
    admin, text = api(make_user(admin=True)), "SELECT name, name FROM fresh_table"

    refused = post(admin, sql=text)
    launched = post(admin, sql=text, force=True)

    assert refused.status_code == 400
    assert "no such table: fresh_table" in refused.json()["error"]
    assert launched.status_code == 201
    assert "1 Linux host will be asked in spite of the check, which says: no such table: fresh_table" in str(
        launched.json()["warnings"]
    )
    estimate = admin.post(
        "/api/v1/campaigns/estimate/", {"sql": text, "target": {"all": True}, "force": True}, format="json"
    )
    assert estimate.json()["warnings"] == launched.json()["warnings"]
    write_range(launched.json()["id"], host.pk >> 16)
    assert agent(host).read()["queries"] == {f"c{launched.json()['id']}": text}


def test_force_opens_nothing_that_is_restricted_or_wrong(api: Api, operator: User) -> None:
    learn("linux", "users")
    make_host(osquery_version="5.23.0")

    assert post(api(operator), sql="SELECT * FROM shadow", force=True).status_code == 403
    assert post(api(make_user(admin=True)), sql="NOT SQL", force=True).status_code == 400
    assert post(api(make_user(admin=True)), sql="SELECT 1; SELECT 2", force=True).status_code == 400


def test_what_a_kind_lacks_while_another_is_unknown_is_a_warning(api: Api) -> None:
    learn("linux", "users")
    make_host(osquery_version="5.23.0")
    make_host(osquery_version="5.24.0")

    launched = post(api(make_user(admin=True)), sql="SELECT name FROM fresh_table")

    assert launched.status_code == 201
    assert launched.json()["warnings"] == [
        "1 Linux host cannot run it and will not be asked: no such table: fresh_table"
    ]
