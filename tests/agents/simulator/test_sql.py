"""What pretend hosts answer: SQL run for real, reading only, with an end, over tables that agree with each other."""

import os

import pytest

from agents.inventory import facts, schemas
from agents.simulator.schema import SCHEMAS
from agents.simulator.simulated_tables import SimulatedHost
from agents.simulator.sql import Answer, Limits, execute
from agents.simulator.this_machine import ThisMachine

PLATFORMS = ("linux", "darwin", "windows")


def host_of(platform: str) -> SimulatedHost:
    return next(host for host in map(SimulatedHost, range(200)) if host.platform == platform)


@pytest.fixture(params=PLATFORMS)
def host(request: pytest.FixtureRequest) -> SimulatedHost:
    """Give a host of each platform."""
    return host_of(request.param)


def ask(host: SimulatedHost | ThisMachine, sql: str, **limits: float) -> Answer:
    return execute(host, sql, Limits(**limits) if limits else None)  # type: ignore[arg-type]


def column(host: SimulatedHost | ThisMachine, sql: str) -> list[str]:
    answer = ask(host, sql)
    assert answer.status == 0, answer.message
    return [next(iter(row.values())) for row in answer.rows]


# --- SQL -------------------------------------------------------------------------------------------------------


def test_every_table_can_be_read(host: SimulatedHost) -> None:
    for table, columns in SCHEMAS[host.platform].items():
        answer = ask(host, f"SELECT * FROM {table}")  # noqa: S608 - a name of the schema
        assert answer.status == 0, (table, answer.message)
        visible = [each.name for each in columns if each.type != "HIDDEN"]
        assert all(list(row) == visible for row in answer.rows), table


def test_a_pretend_host_tells_of_itself_what_every_host_is_asked(host: SimulatedHost) -> None:
    (row,) = ask(host, facts.SQL).rows

    assert row["addresses"] == host.address
    assert {*facts.TEXTS, *facts.NUMBERS, "os_platform"} == set(row)


def test_addresses_that_lead_nowhere_else_are_not_told() -> None:
    (row,) = ask(ThisMachine(), facts.SQL).rows

    assert not [address for address in row["addresses"].split() if address.startswith(("127.", "fe80:", "::1"))]


def test_joins_groups_and_functions_are_sqlite_s(host: SimulatedHost) -> None:
    sql = (
        "WITH busy AS (SELECT uid, count(*) AS many FROM processes GROUP BY uid)"
        " SELECT username, many FROM busy JOIN users USING (uid) ORDER BY many DESC, username LIMIT 2"
    )
    rows = ask(host, sql).rows

    assert rows
    assert all(set(row) == {"username", "many"} and row["many"].isdigit() for row in rows)


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("SELEC 1", 'near "SELEC": syntax error'),
        ("SELECT * FROM nowhere", "no such table: nowhere"),
        ("SELECT absent FROM processes", "no such column: absent"),
        ("SELECT absent(1)", "no such function: absent"),
        ("", "not an error"),
    ],
)
def test_wrong_sql_fails_with_sqlite_s_sentence(sql: str, sentence: str) -> None:
    answer = ask(host_of("linux"), sql)

    assert (answer.status, answer.message, answer.rows) == (1, sentence, [])


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM processes",
        "CREATE TABLE mine (a)",
        "UPDATE users SET uid = 0",
        "ATTACH '/etc/passwd' AS it",
        "PRAGMA journal_mode = WAL",
        "SELECT load_extension('it')",
        "SELECT 1; DROP TABLE processes",
    ],
)
def test_nothing_but_reading_is_allowed(sql: str) -> None:
    host = host_of("linux")
    before = len(ask(host, "SELECT pid FROM processes").rows)

    answer = ask(host, sql)

    assert (answer.status, answer.rows) == (1, [])
    assert answer.message
    assert len(ask(host, "SELECT pid FROM processes").rows) == before


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT {} FROM n"


@pytest.mark.parametrize(
    ("sql", "limits", "sentence"),
    [
        (ENDLESS.format("count(*)"), {"steps": 200_000}, "interrupted: more than 200,000 steps"),
        (ENDLESS.format("count(*)"), {"seconds": 0.05, "steps": 10**12}, "interrupted: more than 0.05 seconds"),
        (ENDLESS.format("i"), {"rows": 100}, "interrupted: more than 100 rows"),
    ],
)
def test_endless_sql_is_stopped(sql: str, limits: dict[str, float], sentence: str) -> None:
    answer = ask(host_of("linux"), sql, **limits)

    assert (answer.status, answer.message) == (1, sentence)


def test_values_are_text_as_osquery_writes_it() -> None:
    row = ask(host_of("linux"), "SELECT 1 AS i, 2.0 AS f, NULL AS n, 'a' || char(0) || 'b' AS z, x'6869' AS b").rows[0]

    assert row == {"i": "1", "f": "2.0", "n": "", "z": "a", "b": "hi"}


# --- made-up tables --------------------------------------------------------------------------------------------


def test_a_host_is_the_same_each_time_and_another_is_not(host: SimulatedHost) -> None:
    sql = "SELECT uuid, hostname, hardware_serial FROM system_info"
    number = int(host.hostname[-5:])
    again, other = SimulatedHost(number), SimulatedHost(number + 1)

    assert ask(host, sql).rows == ask(again, sql).rows != ask(other, sql).rows


def test_tables_of_one_host_agree(host: SimulatedHost) -> None:
    pids = set(column(host, "SELECT pid FROM processes"))
    uids = set(column(host, "SELECT uid FROM users"))

    assert set(column(host, "SELECT pid FROM listening_ports")) <= pids
    assert set(column(host, "SELECT uid FROM processes")) <= uids
    assert set(column(host, "SELECT parent FROM processes")) <= pids | {"0", "1", "4", "-1"}
    assert column(host, "SELECT count(*) FROM osquery_info JOIN processes USING (pid)") == ["1"]
    assert column(host, "SELECT hostname FROM system_info") == [host.details()["system_info"]["hostname"]]
    assert column(host, "SELECT platform FROM os_version") != [""]


def test_platforms_have_tables_of_their_own() -> None:
    assert column(host_of("linux"), "SELECT count(*) FROM deb_packages UNION SELECT count(*) FROM rpm_packages") != [
        "0"
    ]
    assert column(host_of("darwin"), "SELECT name FROM apps LIMIT 1")
    assert column(host_of("windows"), "SELECT name FROM programs LIMIT 1")
    assert ask(host_of("windows"), "SELECT * FROM deb_packages").message == "no such table: deb_packages"


def test_a_host_tells_its_tables_and_columns(host: SimulatedHost) -> None:
    tables = set(column(host, "SELECT name FROM osquery_registry WHERE registry = 'table' AND active = 1"))

    assert tables >= {"processes", "users", "osquery_info"}
    assert "pid" in column(host, "SELECT name FROM pragma_table_xinfo('processes')")


# --- this very machine -----------------------------------------------------------------------------------------


def test_this_machine_tells_of_itself() -> None:
    here = ThisMachine()

    assert str(os.getpid()) in column(here, "SELECT pid FROM processes")
    assert column(here, "SELECT hostname FROM system_info") == [os.uname().nodename]
    assert "0" in column(here, "SELECT uid FROM users")
    assert column(here, "SELECT path FROM mounts WHERE path = '/'") == ["/"]
    assert column(here, "SELECT address FROM interface_addresses WHERE address = '127.0.0.1'") == ["127.0.0.1"]


def test_a_host_tells_its_functions_and_can_run_them() -> None:
    host = SimulatedHost(1)
    told = {row["name"] for row in execute(host, schemas.FUNCTIONS_SQL).rows}
    calls = {
        "parent_directory": ("parent_directory('/usr/bin/sh')", "/usr/bin"),
        "soundex": ("soundex('Robert')", "R163"),
        "is_path_deterministic": ("is_path_deterministic('/bin/sh')", "1"),
        "find_file_path_in_cmd": ("find_file_path_in_cmd('/bin/ls -l')", "/bin/ls"),
        # the example of the specification of Community ID
        "community_id_v1_strict": (
            "community_id_v1_strict('1.2.3.4', '5.6.7.8', 1122, 3344, 6)",
            "1:wCb3OG7yAFWelaUydu0D+125CLM=",
        ),
    }

    assert calls.keys() <= told
    assert "stdev" not in told
    for call, value in calls.values():
        assert execute(host, f"SELECT {call} AS x").rows == [{"x": value}]
    assert execute(host, "SELECT stdev(1)").message == "no such function: stdev"


def test_facts_and_tables_tell_the_same_digest() -> None:
    host = SimulatedHost(1)

    (of_tables,) = [row["type"] for row in execute(host, schemas.SQL).rows if not row["table"]]

    assert of_tables == execute(host, facts.SQL).rows[0]["registry_digest"] != ""


def test_paths_are_those_of_the_platform(host: SimulatedHost) -> None:
    paths = column(host, "SELECT path FROM processes")

    assert paths
    assert [path for path in paths if path.startswith("C:\\") != (host.platform == "windows")] == []
    assert [path for path in paths if "\\" in path and "/" in path] == []
