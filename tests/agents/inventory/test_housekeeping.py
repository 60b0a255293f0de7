"""What hosts are asked on the server's own behalf: over the same wire, in reads of its own, at most hourly."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.board import clock, keyspace, operator_verbs, redis_client
from agents.board.bitmaps import bits_of
from agents.enrolling import config_document
from agents.enrolling.enrollment import Application, enroll
from agents.inventory import facts, housekeeping, schemas
from agents.inventory.labels import set_queries
from agents.models import EnrollSecret, Host, HousekeepingQuery, Label, TableSchema
from campaigns.collecting.models import DeadLetter
from tests.conftest import Agent
from tests.factories import make_campaign, make_host, make_label

pytestmark = pytest.mark.django_db(transaction=True)

Meet = Callable[[Host | int], Agent]
TOLD = {
    "osquery_version": "5.23.0",
    "hostname": "web-1",
    "uuid": "U-1",
    "hardware_serial": "S-1",
    "cpu_brand": "a quick one",
    "physical_memory": "17179869184",
    "os_name": "Debian",
    "os_version": "12",
    "distributed_interval": "2",
    "extensions": "",
    "addresses": "10.1.2.3\n2001:db8::7",
}
TABLES = [
    {"table": "processes", "column": "pid", "type": "BIGINT", "hidden": "0"},
    {"table": "processes", "column": "phys_footprint", "type": "BIGINT", "hidden": "1"},
    {"table": "users", "column": "uid", "type": "BIGINT", "hidden": "0"},
]


def details() -> HousekeepingQuery:
    return HousekeepingQuery.objects.get(kind="details")


def schema_query() -> HousekeepingQuery:
    return HousekeepingQuery.objects.get(kind="schema")


def name_of(query: HousekeepingQuery) -> str:
    return f"h{query.pk}"


def tell(agent: Agent, query: HousekeepingQuery, rows: Any, status: int = 0, message: str = "") -> Any:
    name = name_of(query)
    return agent.post(
        "distributed/write",
        {
            "node_key": agent.key,
            "queries": {name: rows},
            "statuses": {name: status},
            "messages": {name: message},
        },
    )


def test_a_host_that_enrolls_is_asked_for_its_facts(agent: Meet, collect: Callable[[], int]) -> None:
    EnrollSecret.objects.offer("all", "s3cret-of-16-characters")
    body = {"enroll_secret": "s3cret-of-16-characters", "host_identifier": "U-1", "platform_type": "9"}
    host, _ = enroll(Application.read(body, "192.0.2.7"))
    asked = agent(host)

    assert asked.read() == {"queries": {name_of(details()): facts.SQL}}
    assert tell(asked, details(), [TOLD]) == {}
    collect()

    host.refresh_from_db()
    assert (host.hostname, host.physical_memory, host.os_version) == ("web-1", 17179869184, "12")
    assert host.addresses.split() == ["10.1.2.3", "2001:db8::7"]
    assert host.address == "192.0.2.7", "the peer that enrolled, which may be a router"
    assert host.details_at is not None
    assert [label.name for label in host.labels.all()] == ["Linux"]


def test_only_hosts_whose_minute_came_are_asked(board: None) -> None:
    minute = int(clock.now().timestamp() // 60)
    operator_verbs.note_housekept(minute - 2)
    hosts = [make_host() for _ in range(60)]
    due = {host.pk for host in hosts if (host.pk + details().pk) % 60 in {(minute - 1) % 60, minute % 60}}

    housekeeping.ask_due()

    assert asked_hosts(details()) & {host.pk for host in hosts} == due
    operator_verbs.withdraw(details().board_id)
    housekeeping.ask_due()
    assert asked_hosts(details()) == set(), "the same minute again asks nobody"


def test_the_questions_of_one_host_are_spread_over_the_hour(board: None) -> None:
    make_host()
    label = make_label("web")
    set_queries(label, {"linux": "SELECT 1"})
    asked = {}
    for minute in range(60):
        operator_verbs.note_housekept(minute)
        with time_of(minute + 1):
            asked[minute] = housekeeping.ask_due()

    assert sorted(asked.values())[-3:] == [0, 1, 1], "the details in one minute, the label's SQL in another"


@contextmanager
def time_of(minute: int) -> Iterator[None]:
    """Let the board's clock stand at a minute of Unix time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: datetime.fromtimestamp(minute * 60, UTC))
        yield


def test_after_a_long_pause_everybody_is_asked_once(board: None) -> None:
    operator_verbs.note_housekept(1)
    hosts = {make_host().pk for _ in range(5)}

    housekeeping.ask_due()

    assert asked_hosts(details()) >= hosts


def asked_hosts(query: HousekeepingQuery) -> set[int]:
    return set(bits_of(operator_verbs.offered(query.board_id, 0)))


def test_live_work_and_housekeeping_never_share_a_read(agent: Meet, collect: Callable[[], int]) -> None:
    host = make_host()
    asked = agent(host)
    housekeeping.ask(details(), Host.objects.all())
    campaign = make_campaign(host)

    assert asked.read()["queries"] == {f"c{campaign.pk}": "SELECT 1"}
    assert asked.read() == {}, "the answer of the live query may be on its way"
    asked.write(campaign.pk, [])
    assert asked.read()["queries"] == {name_of(details()): facts.SQL}
    assert asked.read() == {}, "housekeeping is offered once"


def test_an_answer_nobody_asked_for_is_dropped(agent: Meet, collect: Callable[[], int]) -> None:
    host = make_host(hostname="before")

    assert tell(agent(host), details(), [TOLD]) == {}

    assert collect() == 0
    host.refresh_from_db()
    assert host.hostname == "before"


def test_an_error_is_noted_and_changes_nothing(agent: Meet, collect: Callable[[], int]) -> None:
    host = make_host(hostname="before")
    housekeeping.ask(details(), Host.objects.all())

    tell(agent(host), details(), [], status=1, message="no such table: osquery_info")
    collect()

    host.refresh_from_db()
    assert host.hostname == "before"
    assert details().last_error == "before: no such table: osquery_info"
    assert not DeadLetter.objects.exists()


def test_a_slow_poller_is_told_to_come_quickly(agent: Meet, collect: Callable[[], int]) -> None:
    host = make_host()
    asked = agent(host)
    for interval, expected in (("60", 60), ("2", None)):
        housekeeping.ask(details(), Host.objects.all())
        asked.read()
        tell(asked, details(), [{**TOLD, "distributed_interval": interval}])
        collect()
        campaign = make_campaign(host)
        assert asked.read().get("accelerate") == expected
        asked.write(campaign.pk, [])


def test_one_host_of_a_kind_teaches_its_tables(agent: Meet, collect: Callable[[], int]) -> None:
    first, second = make_host(), make_host()
    housekeeping.ask(details(), Host.objects.all())
    for host in (first, second):
        tell(agent(host), details(), [TOLD])
    collect()

    assert agent(first).read()["queries"][name_of(schema_query())] == schemas.SQL
    assert name_of(schema_query()) not in agent(second).read().get("queries", {})
    tell(agent(first), schema_query(), TABLES)
    collect()

    schema = TableSchema.objects.get()
    assert schema.tables == {
        "processes": [["pid", "BIGINT", False], ["phys_footprint", "BIGINT", True]],
        "users": [["uid", "BIGINT", False]],
    }
    assert schema.learned_at is not None


def test_when_the_first_of_a_kind_is_silent_the_next_is_asked(agent: Meet, collect: Callable[[], int]) -> None:
    hosts = [make_host() for _ in range(2)]
    housekeeping.ask(details(), Host.objects.all())
    tell(agent(hosts[0]), details(), [TOLD])
    collect()
    TableSchema.objects.update(asked_at=clock.now() - timedelta(minutes=11))

    tell(agent(hosts[1]), details(), [TOLD])
    collect()

    assert agent(hosts[1]).read()["queries"][name_of(schema_query())] == schemas.SQL


def test_other_extensions_are_another_kind(agent: Meet, collect: Callable[[], int]) -> None:
    hosts = [make_host() for _ in range(2)]
    housekeeping.ask(details(), Host.objects.all())
    tell(agent(hosts[0]), details(), [TOLD])
    tell(agent(hosts[1]), details(), [{**TOLD, "extensions": "macadmins 1.2"}])
    collect()

    assert set(TableSchema.objects.values_list("extensions", flat=True)) == {"", "macadmins 1.2"}


def test_a_campaign_and_a_housekeeping_query_of_one_number_are_two_things(
    agent: Meet, collect: Callable[[], int]
) -> None:
    host = make_host(hostname="before")
    campaign = make_campaign(host)

    agent(host).post("distributed/write", {"node_key": agent(host).key, "queries": {f"h{campaign.pk}": [TOLD]}})

    assert collect() == 0
    assert agent(host).write(campaign.pk, []) == {}
    assert collect() == 1


def test_the_questions_and_built_in_labels_survive_another_migration(db: None) -> None:
    housekeeping.prepare()
    housekeeping.prepare()

    assert HousekeepingQuery.objects.count() == 5, "those of the inventory, and the one of carves"
    assert set(Label.objects.exclude(built_in="").values_list("name", flat=True)) == {
        "Linux",
        "macOS",
        "Windows",
        "FreeBSD",
    }


def test_a_built_in_label_that_was_renamed_is_not_made_again(db: None) -> None:
    Label.objects.filter(built_in="linux").update(name="All Linux")
    before = Label.objects.count()

    housekeeping.prepare()

    assert Label.objects.get(built_in="linux").name == "All Linux"
    assert Label.objects.count() == before


def test_no_board_leaves_the_minute_for_later(board: None) -> None:
    make_host()
    operator_verbs.note_housekept(1)
    redis_client.client().delete(keyspace.EPOCH)

    with pytest.raises(keyspace.NoBoardError):
        housekeeping.ask_due()

    assert operator_verbs.housekept() == 1


# --- learning again --------------------------------------------------------------------------------------------


def question(kind: str) -> HousekeepingQuery:
    return HousekeepingQuery.objects.get(kind=kind)


def test_a_host_whose_tables_differ_from_its_kind_teaches_its_own(agent: Meet, collect: Callable[[], int]) -> None:
    plain, extended = make_host(), make_host()
    tables = {plain: TABLES, extended: [*TABLES, {"table": "ours", "column": "x", "type": "TEXT", "hidden": "0"}]}
    for host, digest in ((plain, "aa"), (extended, "bb")):
        housekeeping.ask(details(), Host.objects.filter(pk=host.pk))
        agent(host).read()
        tell(agent(host), details(), [{**TOLD, "registry_digest": digest}])
    collect()
    for host, rows in tables.items():
        assert agent(host).read()["queries"][name_of(schema_query())] == schemas.SQL
        tell(agent(host), schema_query(), rows)
    collect()

    learned = {schema.registry_digest: set(schema.tables) for schema in TableSchema.objects.all()}
    assert learned == {"aa": {"processes", "users"}, "bb": {"processes", "users", "ours"}}


def test_functions_and_flags_are_learned_for_the_kind(agent: Meet, collect: Callable[[], int]) -> None:
    host = make_host(osquery_version="5.23.0")
    housekeeping.learn_again(Host.objects.all())
    asked = {**agent(host).read()["queries"], **agent(host).read()["queries"]}
    assert {schemas.FUNCTIONS_SQL, schemas.FLAGS_SQL} <= set(asked.values())

    tell(agent(host), question("functions"), [{"name": "soundex", "arguments": "1", "kind": "s"}, {"name": "md5"}])
    tell(agent(host), question("flags"), [{"name": "verbose"}, {"name": "pack_delimiter"}])
    collect()

    schema = TableSchema.objects.get()
    assert schema.functions == [["md5", -1, ""], ["soundex", 1, "s"]]
    assert schema.flags == ["pack_delimiter", "verbose"]


def test_tables_are_learned_again_after_a_day_and_after_an_enrollment(db: None) -> None:
    now = clock_now()
    host = make_host(osquery_version="5.23.0", enrolled_at=now - timedelta(days=9))
    assert schemas.is_wanted(host, now)
    assert not schemas.is_wanted(host, now), "somebody is asked already"
    schemas.learn(host, TABLES, now)

    assert not schemas.is_wanted(host, now + timedelta(hours=23))
    assert schemas.is_wanted(host, now + timedelta(hours=25))
    schemas.learn(host, TABLES, now + timedelta(hours=25))
    host.enrolled_at = now + timedelta(hours=26)
    assert schemas.is_wanted(host, now + timedelta(hours=26))


def clock_now() -> datetime:
    return datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("platform", "os_platform", "os_name", "said"),
    [
        ("linux", "debian", "Debian GNU/Linux", ""),
        ("darwin", "darwin", "macOS", ""),
        ("windows", "windows", "Microsoft Windows 11", ""),
        ("linux", "", "", ""),
        ("other", "windows", "", ""),
        ("windows", "ubuntu", "Ubuntu", "platform_type says windows, os_version says Ubuntu (ubuntu), which is linux"),
        ("linux", "darwin", "macOS", "platform_type says linux, os_version says macOS (darwin), which is darwin"),
        ("darwin", "", "Microsoft Windows 10", "platform_type says darwin, os_version says Microsoft Windows 10,"),
    ],
)
def test_a_platform_that_contradicts_the_os_is_told(platform: str, os_platform: str, os_name: str, said: str) -> None:
    found = facts.contradiction(platform, os_platform, os_name)

    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_a_host_that_enrolls_with_a_contradiction_shows_it(board: None) -> None:
    EnrollSecret.objects.offer("all", "s3cret-of-sixteen")
    body = {"enroll_secret": "s3cret-of-sixteen", "host_identifier": "U-1", "platform_type": "2"}
    details_sent = {"os_version": {"platform": "rhel", "name": "Rocky Linux"}}

    enroll(Application.read({**body, "host_details": details_sent}, "192.0.2.7"))

    assert "which is linux" in Host.objects.get(host_identifier="U-1").platform_contradiction


def test_options_that_no_host_has_a_flag_for_are_named(db: None) -> None:
    document = {"options": {"verbose": True, "pack_delimeter": "_", "newer": 1, "custom_ours": 1}}
    assert list(config_document.unknown_options(document)) == []
    TableSchema.objects.create(platform="linux", osquery_version="5.23.0", flags=["verbose", "newer"])
    TableSchema.objects.create(platform="linux", osquery_version="5.19.0", flags=["verbose"])

    newer, misspelt = config_document.unknown_options(document)

    assert "'newer'" in newer
    assert "linux 5.19.0" in newer
    assert "'pack_delimeter' is unknown to every kind of host" in misspelt
