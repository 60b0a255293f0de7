"""Labels by SQL and built-in labels, as the API keeps them and hosts answer them; and the learned tables."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone
from rest_framework.test import APIClient

from agents.board import operator_verbs
from agents.inventory import facts, housekeeping
from agents.inventory.models import LabelSqlRecord
from agents.models import Host, HousekeepingQuery, Label, TableSchema
from agents.tasks import ask_everybody
from campaigns.launching import kill_switch
from tests.conftest import Agent
from tests.factories import learn, make_host, make_label, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Meet = Callable[[Host | int], Agent]
WEB = "SELECT 1 FROM listening_ports WHERE port = 443"


@pytest.fixture
def admin(api: Callable[[User | None], APIClient]) -> APIClient:
    """Give the API for somebody who may do everything."""
    return api(make_user(admin=True))


def make(admin: APIClient, **body: Any) -> Any:
    return admin.post("/api/v1/labels/", {"name": "web", **body}, format="json")


def members(label: int) -> set[str]:
    return set(Label.objects.get(pk=label).hosts.values_list("hostname", flat=True))


def tell(agent: Agent, rows: Any) -> None:
    (name,) = agent.read()["queries"]
    assert agent.post("distributed/write", {"node_key": agent.key, "queries": {name: rows}}) == {}


def ask_all() -> None:
    for query in HousekeepingQuery.objects.filter(kind="label"):
        ask_everybody(query.pk)


def test_a_row_makes_a_member_and_no_row_ends_it(admin: APIClient, agent: Meet, collect: Callable[[], int]) -> None:
    linux, mac = make_host(hostname="web-1"), make_host(hostname="mac", platform="darwin")
    label = make(admin, queries={"linux": WEB}).json()
    assert label["queries"] == {"linux": WEB}

    ask_all()
    assert agent(mac).read() == {}, "it has no SQL for that platform"
    tell(agent(linux), [{"1": "1"}])
    collect()
    assert members(label["id"]) == {"web-1"}

    ask_all()
    tell(agent(linux), [])
    collect()
    assert members(label["id"]) == set()


def test_changed_sql_is_asked_again_and_dropped_sql_is_not(admin: APIClient, agent: Meet) -> None:
    host = make_host()
    label = make(admin, queries={"linux": WEB}).json()["id"]
    ask_all()
    admin.patch(f"/api/v1/labels/{label}/", {"queries": {"linux": "SELECT 2"}}, format="json")
    ask_all()
    assert list(agent(host).read()["queries"].values()) == ["SELECT 2"]

    ask_all()
    admin.patch(f"/api/v1/labels/{label}/", {"queries": {}}, format="json")
    assert agent(host).read() == {}


def test_an_answer_to_the_sql_before_a_change_says_nothing_of_the_new(
    admin: APIClient, agent: Meet, collect: Callable[[], int]
) -> None:
    stays, leaves = make_host(hostname="stays"), make_host(hostname="leaves")
    label = make(admin, queries={"linux": WEB}).json()["id"]
    ask_all()
    tell(agent(stays), [{"1": "1"}])
    collect()
    ask_all()
    (old,) = agent(stays).read()["queries"]
    agent(leaves).read()

    admin.patch(f"/api/v1/labels/{label}/", {"queries": {"linux": "SELECT 2"}}, format="json")
    ask_all()
    for host, rows in ((stays, []), (leaves, [{"1": "1"}])):
        body = {"node_key": agent(host).key, "queries": {old: rows}}
        assert agent(host).post("distributed/write", body) == {}
    collect()

    assert members(label) == {"stays"}, "as it was told last"
    tell(agent(stays), [])
    tell(agent(leaves), [{"1": "1"}])
    collect()
    assert members(label) == {"leaves"}


def test_sql_that_stays_as_it_was_is_not_asked_anew(admin: APIClient) -> None:
    label = make(admin, queries={"linux": WEB, "darwin": WEB}).json()["id"]
    before = HousekeepingQuery.objects.get(platform="linux").pk

    admin.patch(f"/api/v1/labels/{label}/", {"queries": {"linux": WEB, "darwin": "SELECT 2"}}, format="json")

    assert HousekeepingQuery.objects.get(platform="linux").pk == before


def test_an_answer_to_a_deleted_label_changes_nothing(
    admin: APIClient, agent: Meet, collect: Callable[[], int]
) -> None:
    host = make_host()
    label = make(admin, queries={"linux": WEB}).json()["id"]
    ask_all()
    (name,) = agent(host).read()["queries"]

    assert admin.delete(f"/api/v1/labels/{label}/").status_code == 204
    agent(host).post("distributed/write", {"node_key": agent(host).key, "queries": {name: [{"1": "1"}]}})

    assert collect() == 0
    assert not HousekeepingQuery.objects.filter(kind="label").exists()


@pytest.mark.parametrize(
    ("queries", "sentence"),
    [
        ({"amiga": "SELECT 1"}, "platform 'amiga' is unknown"),
        ({"linux": "SELEC 1"}, "syntax error"),
        ({"linux": "DELETE FROM users"}, "a label's SQL only reads"),
        ("SELECT 1", "dictionary"),
    ],
)
def test_wrong_sql_is_refused_and_no_label_is_kept(admin: APIClient, queries: Any, sentence: str) -> None:
    before = Label.objects.count()

    answer = make(admin, queries=queries)

    assert answer.status_code == 400
    assert sentence in str(answer.json())
    assert Label.objects.count() == before


def test_hosts_are_not_put_by_hand_where_sql_or_platform_decides(admin: APIClient) -> None:
    host = make_host()
    by_sql = make(admin, queries={"linux": WEB}).json()["id"]
    built_in = Label.objects.get(built_in="linux").pk

    for label, sentence in ((by_sql, "has SQL"), (built_in, "is built in")):
        answer = admin.post(f"/api/v1/labels/{label}/hosts/", {"hosts": [host.pk]}, format="json")
        assert answer.status_code == 409
        assert sentence in answer.json()["error"]


@pytest.mark.parametrize("body", [{"name": "penguins"}, {"description": "all"}, {"queries": {"linux": WEB}}])
def test_a_built_in_label_stays_as_it_is(admin: APIClient, body: Any) -> None:
    before = Label.objects.filter(built_in="linux").values().get()
    address = f"/api/v1/labels/{before['id']}/"

    changed, deleted = admin.patch(address, body, format="json"), admin.delete(address)

    assert (changed.status_code, deleted.status_code) == (409, 409)
    assert "is built in" in changed.json()["error"]
    assert Label.objects.filter(built_in="linux").values().get() == before


def test_sql_given_to_a_label_by_hand_takes_other_platforms_out(admin: APIClient) -> None:
    linux, mac = make_host(hostname="one"), make_host(hostname="two", platform="darwin")
    label = make_label("by hand", linux, mac)

    admin.patch(f"/api/v1/labels/{label.pk}/", {"queries": {"linux": WEB}}, format="json")

    assert members(label.pk) == {"one"}


def test_the_learned_tables_are_given_by_name(admin: APIClient) -> None:
    now = timezone.now()
    TableSchema.objects.create(
        platform="linux",
        osquery_version="5.23.0",
        learned_at=now,
        tables={"users": [["uid", "BIGINT", False]], "rpm_packages": [["name", "TEXT", False]]},
    )
    TableSchema.objects.create(
        platform="darwin",
        osquery_version="5.20.0",
        learned_at=now,
        tables={"users": [["uid", "BIGINT", False], ["is_hidden", "INTEGER", True]]},
    )

    everything = admin.get("/api/v1/schema/").json()
    macs = admin.get("/api/v1/schema/?platform=darwin&search=USER").json()

    assert [table["name"] for table in everything["results"]] == ["rpm_packages", "users"]
    assert everything["results"][1] == {
        "name": "users",
        "platforms": ["darwin", "linux"],
        "columns": [
            {"name": "uid", "type": "BIGINT", "hidden": False, "platforms": ["darwin", "linux"]},
            {"name": "is_hidden", "type": "INTEGER", "hidden": True, "platforms": ["darwin"]},
        ],
    }
    assert macs["count"] == 1
    assert admin.get("/api/v1/schema/?platform=amiga").status_code == 400
    assert operator_verbs.housekept() is None, "reading asks nobody"


def test_sql_that_is_kept_is_checked_as_a_launch_is(admin: APIClient, api: Callable[[User | None], APIClient]) -> None:
    learn("linux", "listening_ports", "users")
    learn("darwin", "apps")
    make_host(osquery_version="5.23.0")
    make_host(osquery_version="5.23.0", platform="darwin")
    writer = make_user()
    writer.user_permissions.set(
        Permission.objects.filter(codename__in=["view_query", "view_label", "add_query", "add_label", "add_campaign"])
    )

    def kept(who: APIClient, text: str) -> tuple[int, int]:
        name = f"{text}-{id(who)}"[-50:]
        query = who.post("/api/v1/queries/", {"name": name, "sql": text}, format="json")
        label = who.post("/api/v1/labels/", {"name": name, "queries": {"linux": text}}, format="json")
        return query.status_code, label.status_code

    assert kept(admin, "NOT SQL AT ALL") == (400, 400)
    assert kept(admin, "SELECT * FROM nowhere") == (400, 400)
    assert kept(admin, "SELECT 1; SELECT 2") == (400, 400)
    assert kept(admin, "SELECT name FROM apps") == (201, 400), "hosts of another platform can run it"
    assert kept(api(writer), "SELECT name FROM users") == (201, 201)
    assert kept(api(writer), "SELECT * FROM main.SHADOW") == (403, 403)
    make_host(osquery_version="5.24.0")
    assert kept(admin, "SELECT * FROM nowhere") == (201, 201), "a kind of host has not told its tables yet"


def test_sql_of_a_label_needs_the_permission_to_launch(api: Callable[[User | None], APIClient]) -> None:
    writer = make_user()
    writer.user_permissions.set(Permission.objects.filter(codename__in=["view_label", "add_label", "change_label"]))
    made = make(api(writer), queries={"linux": "SELECT 1"})
    plain = make(api(writer))

    changed = api(writer).patch(
        f"/api/v1/labels/{plain.json()['id']}/", {"queries": {"linux": "SELECT 1"}}, format="json"
    )

    for refused in (made, changed):
        assert refused.status_code == 403
        assert "needs the permission campaigns.add_campaign" in refused.json()["error"]
    assert plain.status_code == 201
    assert not HousekeepingQuery.objects.filter(kind="label").exists()


# --- it runs as a campaign does --------------------------------------------------------------------------------


def report(agent: Agent, status: int, message: str = "", rows: Any = ()) -> None:
    (name,) = agent.read()["queries"]
    body = {"queries": {name: list(rows)}, "statuses": {name: status}, "messages": {name: message}}
    assert agent.post("distributed/write", {"node_key": agent.key, **body}) == {}


def test_the_kill_switch_holds_sql_of_labels_and_no_facts(admin: APIClient, agent: Meet) -> None:
    host = make_host()
    make(admin, queries={"linux": WEB})
    ask_all()
    housekeeping.ask(HousekeepingQuery.objects.get(kind="details"), Host.objects.all())

    kill_switch.turn(make_user(admin=True), "a mishap", on=False)

    assert list(agent(host).read()["queries"].values()) == [facts.SQL]
    assert agent(host).read() == {}
    kill_switch.turn(make_user(admin=True), "", on=True)
    assert list(agent(host).read()["queries"].values()) == [WEB]


def test_hosts_that_denylist_it_stop_it(
    admin: APIClient, agent: Meet, collect: Callable[[], int], settings: Any
) -> None:
    settings.DENYLISTED_BRAKE = 2
    hosts = [make_host(), make_host(), make_host()]
    label = make(admin, queries={"linux": WEB}).json()["id"]
    for host in (hosts[0], hosts[0], hosts[1]):
        assert not HousekeepingQuery.objects.get(kind="label").stopped_at
        ask_all()
        report(agent(host), 1, "distributed query is denylisted")
        collect()

    state = admin.get(f"/api/v1/labels/{label}/").json()["queries_state"]["linux"]
    assert state["denylisted"] == 2, "hosts, not answers"
    assert state["stopped_at"]
    assert "2 hosts denylisted it (limit 2)" in state["trouble"]
    ask_all()
    assert agent(hosts[2]).read() == {}
    admin.patch(f"/api/v1/labels/{label}/", {"queries": {"linux": "SELECT 2"}}, format="json")
    ask_all()
    assert list(agent(hosts[2]).read()["queries"].values()) == ["SELECT 2"], "other SQL goes on"


def test_sql_that_fails_everywhere_says_so_until_a_host_can_run_it(
    admin: APIClient, agent: Meet, collect: Callable[[], int]
) -> None:
    one, two = make_host(hostname="one"), make_host()
    label = make(admin, queries={"linux": WEB}).json()["id"]

    def trouble() -> str:
        return str(admin.get(f"/api/v1/labels/{label}/").json()["queries_state"]["linux"]["trouble"])

    assert trouble() == ""
    ask_all()
    report(agent(one), 1, "no such table: listening_ports")
    collect()
    assert trouble() == "fails on every host that was asked: one: no such table: listening_ports"
    report(agent(two), 0)
    collect()
    assert trouble() == ""


def test_who_wrote_sql_of_a_label_is_kept_for_good(api: Callable[[User | None], APIClient]) -> None:
    ann, ben = make_user("ann", admin=True), make_user("ben", admin=True)
    label = make(api(ann), queries={"linux": WEB}).json()
    assert label["queries_state"]["linux"]["written_by"] == "ann"

    api(ben).patch(f"/api/v1/labels/{label['id']}/", {"queries": {"linux": "SELECT 2"}}, format="json")
    api(ann).delete(f"/api/v1/labels/{label['id']}/")

    kept = LabelSqlRecord.objects.order_by("id").values_list("label", "platform", "sql", "action", "by")
    assert list(kept) == [
        ("web", "linux", WEB, "written", "ann"),
        ("web", "linux", WEB, "removed", "ben"),
        ("web", "linux", "SELECT 2", "written", "ben"),
        ("web", "linux", "SELECT 2", "removed", "ann"),
    ]
