"""SQL of people over answers: what it finds, what it refuses, and that nothing else suffers."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from rest_framework.test import APIClient

from agents.models import Host
from campaigns.analysis import asking, worker
from campaigns.answers import retention
from campaigns.models import Campaign
from campaigns.people.scopes import Scope
from tests.conftest import Agent
from tests.factories import answer, end, make_campaign, make_label, make_person

pytestmark = pytest.mark.django_db(transaction=True)
Api = Callable[[User | None], APIClient]


def post(client: APIClient, campaign: Campaign, sql: str) -> Any:
    return client.post(f"/api/v1/campaigns/{campaign.pk}/sql/", {"sql": sql}, format="json")


def test_answers_are_a_table_with_the_types_of_what_they_hold(
    api: Api, observer: User, campaign: Campaign, hosts: list[Host]
) -> None:
    make_label("lab", hosts[0])

    body = post(api(observer), campaign, "SELECT * FROM answers ORDER BY host_id, pid").json()
    whole = post(
        api(observer),
        campaign,
        "SELECT (SELECT count(*) FROM targets), (SELECT list(state) FROM targets), count(*) FROM hosts",
    ).json()

    kinds = {column["name"]: column["type"] for column in body["columns"]}
    assert kinds == {
        "host_id": "BIGINT",
        "host": "VARCHAR",
        "platform": "VARCHAR",
        "labels": "VARCHAR[]",
        "received_at": "TIMESTAMP",
        "late": "BOOLEAN",
        "truncated": "BOOLEAN",
        "pid": "BIGINT",
        "cpu": "DOUBLE",
        "at": "TIMESTAMP",
        "code": "VARCHAR",
        "release": "VARCHAR",
        "size": "BIGINT",
    }
    first = dict(zip(kinds, body["rows"][0], strict=True))
    assert first["labels"] == ["lab"]
    assert (first["pid"], first["cpu"], first["at"]) == (7, 0.5, "2026-01-31T08:00:00.000Z")
    assert (first["code"], first["release"], first["size"]) == ("007", "1.10", None)
    assert (len(body["rows"]), body["truncated"], body["as_of_seq"]) == (4, False, 2)
    assert whole["rows"] == [[3, ["answered", "answered", "waiting"], 3]]


def test_each_of_many_columns_has_its_type(api: Api, observer: User, hosts: list[Host]) -> None:
    campaign = make_campaign(*hosts)
    columns = {f"c{place}": str(place / 2 if place % 2 else place) for place in range(90)}
    answer(campaign, hosts[0], {**columns, "t": "2026-01-01T00:00:00+02:00", "u": "2026-01-01 00:00:00Z"})

    body = post(api(observer), campaign, "SELECT * FROM answers").json()
    tables = post(api(observer), campaign, "SHOW TABLES").json()["rows"]

    assert [column["type"] for column in body["columns"][7:]] == ["BIGINT", "DOUBLE"] * 45 + ["TIMESTAMP"] * 2
    assert body["rows"][0][-2:] == ["2025-12-31T22:00:00.000Z", "2026-01-01T00:00:00.000Z"]
    assert tables == [["answers"], ["hosts"], ["targets"]]


def test_names_that_sql_does_not_have_are_made_ones_that_it_has(api: Api, observer: User, hosts: list[Host]) -> None:
    campaign = make_campaign(*hosts)
    early = post(api(observer), campaign, "SELECT name FROM answers").json()["error"]
    odd = {
        "Name": "A",
        "name": "b",
        "": "c",
        "host": "d",
        'q"uo;te': 'e,"\n\r\\N',
        "ünï": "\\N",
        "a.b": "'",
        "name_2": "f",
    }
    answer(campaign, hosts[0], odd, {"Name": ""})
    answer(campaign, hosts[1])

    body = post(api(observer), campaign, "SELECT * EXCLUDE (received_at, labels) FROM answers").json()

    names = [column["name"] for column in body["columns"]][5:]
    assert "answers has no columns of answers yet: they come with the first row" in early
    assert names == ["Name", "name_2", "column3", "row.host", 'q"uo;te', "ünï", "a.b", "name_2_2"]
    assert body["rows"][0][5:] == ["A", "b", "c", "d", 'e,"\n\r\\N', "\\N", "'", "f"]
    assert body["rows"][1][5:] == ["", *[None] * 7]
    assert len(body["rows"]) == 2


NO_SELECT = {
    "": "the SQL is empty",
    "-- nothing": "the SQL is empty",
    "SELECT 1; SELECT 2": "2 statements",
    "ATTACH '/etc/passwd' AS x": "ATTACH is not allowed",
    "EXPORT DATABASE '/tmp/stolen'": "EXPORT is not allowed",
    "PIVOT answers ON name": "PIVOT is allowed with the values",
    "PRAGMA database_list": "PRAGMA is not allowed",
    "INSTALL httpfs": "LOAD is not allowed",
    "SET memory_limit = '90GB'": "SET is not allowed",
    "CREATE TABLE x AS SELECT 1": "CREATE is not allowed",
    "DELETE FROM answers": "DELETE is not allowed",
    "WITH x AS (INSERT INTO answers VALUES (1) RETURNING *) SELECT * FROM x": "INSERT within a SELECT is not allowed",
}
OUT_OF_REACH = {
    "FROM duckdb_databases()": "duckdb_databases is out of reach of this SQL: it tells of the server",
    'SELECT * FROM system."main"."DuckDB_Databases"': "duckdb_databases is out of reach",
    "SELECT 'secret_directory'.current_setting()": "current_setting is out of reach",
    "SELECT 1 WHERE EXISTS (FROM (SUMMARIZE pragma_database_list))": "pragma_database_list is out of reach",
    "FROM query('FROM duckdb_settings()')": "query is not allowed here: it takes its SQL from a text",
    "FROM query_table('duckdb_' || 'databases')": "query_table is not allowed here",
    'FROM system."main"."Query"(\'SELECT 1\')': "query is not allowed here",
}
REFUSED = {
    "COPY answers TO '/tmp/stolen'": "COPY is not allowed",
    "SELECT * FROM read_csv('/etc/passwd')": "files and the network are out of reach",
    "SELECT * FROM read_text('https://192.0.2.1/x')": "files and the network are out of reach",
    "SELECT * FROM glob('/*')": "files and the network are out of reach",
    "SELECT\n  nope FROM answers": 'Referenced column "nope" not found in FROM clause! Candidate bindings:',
    "SELEC 1": 'syntax error at or near "SELEC" (line 1, character 1)',
    "SELECT 'é',\n pid pid pid FROM answers": "(line 2, character 10)",
    "SELECT * FROM campaign_999": "campaign 999 does not exist, or you may not look at it",
    "SELECT * FROM answers_of(999)": "campaign 999 does not exist, or you may not look at it",
    "SELECT * FROM campaign_99999999999999999999": "campaign 99999999999999999999 does not exist",
    "SELECT * FROM answers_of(990 + 9)": "answers_of takes the number of a campaign as it is written",
    "SELECT * FROM nope": "nope does not exist, there are answers, targets, hosts, campaign_ID and answers_of(ID) (",
    "FROM sqlite_scan('x', 'y')": "is of the extension sqlite_scanner, and none is loaded here",
    f"SELECT {'(' * 2000}1{')' * 2000}": "Max expression depth limit of 1000 exceeded.",
    "SELECT repeat('x', 3000000000)": "256 MiB of memory, which is the limit",
}


def test_what_is_no_select_is_refused_before_anything_is_copied() -> None:
    connection = worker.engine(2**28, 1)

    for sql, words in NO_SELECT.items():
        with pytest.raises(worker.RefusedError, match=words):
            worker.check(connection, sql)
    for sql in (
        "FROM answers",
        "SELECT 1; -- one",
        "VALUES (1)",
        "DESCRIBE answers",
        "SUMMARIZE answers",
        "SHOW TABLES",
        "WITH query AS (FROM answers) SELECT query.name FROM query",
    ):
        worker.check(connection, sql)


def ways_to(connection: Any) -> dict[str, str]:
    """Give SQL for everything that the engine's catalog has, by what is asked."""
    functions = connection.execute("SELECT DISTINCT function_name, function_type FROM duckdb_functions()").fetchall()
    views = connection.execute("SELECT schema_name, view_name FROM duckdb_views() WHERE internal").fetchall()
    tables = connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
    settings = connection.execute("SELECT name FROM duckdb_settings()").fetchall()
    asked = {f"view {schema}.{name}": f'FROM "{schema}"."{name}"' for schema, name in (*views, *tables)}
    for schema, name in views:
        asked[f"{name} of the system"] = f'FROM system."{schema}"."{name}"'
        asked[f"{name} by a text"] = f"FROM query_table('{schema}.{name}')"
    for name, kind in functions:
        for given in ("", "'answers'", "'secret_directory'", "'s3://x', 's3'"):
            if "table" in kind or "pragma" in kind:
                asked[f"{name}({given})"] = f'FROM "{name}"({given})'
                asked[f"query {name}({given})"] = (
                    "FROM query('FROM ' || '" + f'"{name}"({given})'.replace("'", "''") + "')"
                )
            elif "scalar" in kind or "macro" in kind:
                asked[f"{name}({given})"] = f'SELECT "{name}"({given})'
    for (name,) in settings:
        asked[f"setting {name}"] = f"SHOW {name}"
        asked[f"current setting {name}"] = f"SELECT current_setting('{name}')"
    return asked


def test_nothing_that_the_engine_has_tells_of_the_server(tmp_path: Path) -> None:
    copy = tmp_path / "here"
    with worker.duckdb.connect(str(copy)) as made:
        made.execute("CREATE TABLE cells AS SELECT 1 AS host_id")
    connection = worker.engine(2**28, 1)
    worker.attach(connection, {"one": str(copy)})
    worker.make_tables(connection, {"answers": {}, "apart": {}, "plain": {"answers": "one"}, "prepare": []})
    worker.lock(connection)
    telling: list[str] = []
    refused = 0

    for name, sql in ways_to(worker.engine(2**28, 1)).items():
        try:
            worker.check(connection, sql)
            worker.execute(connection, sql)
            said = str(connection.fetchmany(10_000))
        except worker.RefusedError as error:
            said, refused = str(error), refused + 1
        except worker.duckdb.Error as error:
            said = str(worker.failure(error)["error"])
        if any(told in said for told in (str(tmp_path), ".duckdb", "256.0 MiB", str(Path.home()))):
            telling.append(name)

    assert telling == []
    assert refused > 100
    for sql, words in OUT_OF_REACH.items():
        with pytest.raises(worker.RefusedError, match=words):
            worker.check(connection, sql)
    for sql in ("SHOW TABLES", "FROM duckdb_columns()", "FROM information_schema.tables", "SHOW answers"):
        worker.check(connection, sql)
        worker.execute(connection, sql)
        assert ("host_id" if sql == "SHOW answers" else "answers") in str(connection.fetchall())


def test_numbers_and_moments_are_told_as_they_are() -> None:
    asked = (
        "SELECT 12345678901234567.89::DECIMAL(38, 2), 1.10::DECIMAL(4, 2), 7::DECIMAL(4, 2), 'nan'::DOUBLE,"
        " TIMESTAMPTZ '2026-01-01 00:00:00+05', '294247-01-10'::TIMESTAMP, '\\xFF'::BLOB"
    )

    (row,) = worker.engine(2**28, 1).execute(asked).fetchall()

    moments = ["2025-12-31T19:00:00.000Z", "294247-01-10 00:00:00"]
    assert worker.plain(row) == ["12345678901234567.89", 1.1, 7, "nan", *moments, "ff"]


def test_intervals_are_told_as_they_are(api: Api, observer: User, campaign: Campaign) -> None:
    sql = """
        SELECT pid, age(TIMESTAMP '2026-03-01', TIMESTAMP '2026-01-01') AS a, INTERVAL '-1 minute' AS a,
            [INTERVAL '-1 minute'], TIMESTAMP '2026-01-01' - TIMESTAMP '2026-01-02 00:00:01'
        FROM answers ORDER BY pid DESC, host_id; -- the largest first
    """

    body = post(api(observer), campaign, sql).json()

    assert [row[0] for row in body["rows"]] == [1000, 1000, 7, 7]
    assert body["rows"][0][1:] == ["2 months", "-00:01:00", ["-0:01:00"], "-1 day -00:00:01"]
    assert [column["name"] for column in body["columns"][:3]] == ["pid", "a", "a"]
    assert [column["type"] for column in body["columns"][1:4]] == ["INTERVAL", "INTERVAL", "INTERVAL[]"]


def test_what_goes_too_far_or_nowhere_is_refused_in_words(
    api: Api, observer: User, campaign: Campaign, settings: Any
) -> None:
    settings.ANALYSIS_MEMORY_BYTES = 256 * 2**20
    client = api(observer)

    for sql, words in REFUSED.items():
        refused = post(client, campaign, sql)

        assert refused.status_code == 400, sql
        assert words in refused.json()["error"], (sql, refused.json())
    assert "sql" in post(client, campaign, "SELECT 1" + " " * 70_000).json()["fields"]
    assert post(client, campaign, "SELECT '\0'").status_code == 400
    assert not Path("/tmp/stolen").exists()  # noqa: S108 - what the SQL above names


def test_a_result_is_cut_at_its_limits_and_says_so(api: Api, observer: User, campaign: Campaign, settings: Any) -> None:
    settings.ANALYSIS_MAX_ROWS, settings.ANALYSIS_MAX_BYTES = 600, 20_000
    client = api(observer)

    by_rows = post(client, campaign, "SELECT range FROM range(10000)").json()
    whole = post(client, campaign, "SELECT range FROM range(600)").json()
    by_bytes = post(client, campaign, "SELECT repeat('x', 999) FROM range(100)").json()
    too_large = post(client, campaign, "SELECT repeat('x', 30000)")

    assert (len(by_rows["rows"]), by_rows["truncated"]) == (600, True)
    assert (len(whole["rows"]), whole["truncated"]) == (600, False)
    assert (len(by_bytes["rows"]), by_bytes["truncated"]) == (19, True)
    assert "20000" in too_large.json()["error"]


def test_a_cross_join_of_everything_ends_at_its_limit_beside_a_live_campaign(
    api: Api,
    observer: User,
    hosts: list[Host],
    agent: Callable[[Host], Agent],
    collect: Callable[[], int],
    settings: Any,
) -> None:
    settings.ANALYSIS_SECONDS, settings.ANALYSES_AT_ONCE, settings.ANALYSIS_WAIT_SECONDS = 2.0, 2, 0
    campaign = make_campaign(*hosts)
    agent(hosts[0]).read()
    agent(hosts[0]).write(campaign.pk, [{"n": str(number)} for number in range(3000)])
    collect()
    joined = "SELECT count(*) FROM answers a, answers b, answers c, answers d WHERE a.n + b.n + c.n > d.n"
    found: list[Any] = []
    asked = [threading.Thread(target=lambda: found.append(post(api(observer), campaign, joined))) for _ in range(3)]

    for thread in asked:
        thread.start()
    agent(hosts[1]).read()
    agent(hosts[1]).write(campaign.pk, [{"n": "1"}])
    collect()
    seen = Campaign.objects.get(pk=campaign.pk).count_answered
    for thread in asked:
        thread.join()

    assert seen == 2
    told = sorted((answer.status_code, answer.json()["error"]) for answer in found)
    assert [status for status, _ in told] == [400, 400, 429]
    assert "ran longer than 2 seconds, which is the limit" in told[0][1]
    assert "2 analyses are running, which is the most at once" in told[2][1]
    assert post(api(observer), Campaign.objects.get(pk=campaign.pk), "SELECT count(*) FROM answers").json()["rows"] == [
        [3001]
    ]


def test_the_process_holds_nothing_of_the_server(campaign: Campaign, operator: User) -> None:
    tables = asking.Tables(asking.sight_of(operator))

    with asking.running(["SELECT range FROM range(100000000)"], tables, asking.Limits()) as messages:
        next(messages)
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
        (worker,) = (
            Path("/proc") / pid for pid in children if b"worker.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        environment = (worker / "environ").read_bytes()
        files = {str(link.readlink()).partition(":")[0] for link in (worker / "fd").iterdir()}

    assert environment == b"TZ=UTC\0"
    assert not {name for name in files if name.startswith("socket")}
    assert not worker.exists()


def test_who_may_not_look_at_a_campaign_analyses_nothing_of_it(
    api: Api, observer: User, stranger: User, campaign: Campaign, hosts: list[Host]
) -> None:
    other, launcher = make_campaign(hosts[2]), make_person("campaigns.add_campaign")
    answer(other, hosts[2], {"pid": "7", "secret": "x"})
    own = make_campaign(hosts[0], by=launcher)
    joined = f"SELECT a.host, b.secret FROM answers a JOIN answers_of({other.pk}) b USING (pid) ORDER BY a.host_id"  # noqa: S608

    assert post(api(stranger), campaign, "SELECT 1").status_code == 403
    assert post(api(None), campaign, "SELECT 1").status_code in (401, 403)
    refused = post(api(launcher), own, f"FROM campaign_{other.pk}")
    assert f"campaign {other.pk} does not exist, or you may not look at it" in refused.json()["error"]
    assert "os_name" not in str(post(api(launcher), own, "FROM hosts").json()["columns"])
    assert post(api(observer), campaign, joined).json()["rows"] == [[host.hostname, "x"] for host in hosts[:2]]


def test_a_person_with_a_scope_analyses_its_hosts_alone(
    api: Api, observer: User, campaign: Campaign, hosts: list[Host]
) -> None:
    limited = make_person("campaigns.view_campaign", "agents.view_host")
    label, group = make_label("mine", hosts[0]), Group.objects.create(name="team")
    Scope.objects.create(group=group).labels.add(label)
    limited.groups.add(group)
    limited = User.objects.get(pk=limited.pk)
    everything = (
        "SELECT (SELECT list(DISTINCT host_id) FROM answers), (SELECT list(host_id) FROM targets),"  # noqa: S608
        f" (SELECT list(host_id) FROM hosts), (SELECT count(*) FROM answers_copy_{campaign.pk}.cells)"
    )

    whole = post(api(observer), campaign, everything).json()["rows"][0]
    part = post(api(limited), campaign, everything).json()["rows"][0]

    assert [len(ids) for ids in whole[:3]] == [2, 3, 3]
    assert part == [[hosts[0].pk]] * 3 + [2]


def test_copies_are_used_again_follow_the_answers_and_go_with_the_campaign(
    api: Api, observer: User, campaign: Campaign, hosts: list[Host], copies_folder: Path, settings: Any
) -> None:
    count = "SELECT count(*) FROM answers"
    settings.LATE_ANSWER_SECONDS = 0

    post(api(observer), campaign, count)
    first = {path.name: path.stat().st_ino for path in copies_folder.iterdir()}
    post(api(observer), campaign, count)
    second = {path.name: path.stat().st_ino for path in copies_folder.iterdir()}
    answer(campaign, hosts[2], {"pid": "1", "new": "2"})
    third = post(api(observer), campaign, f"{count} WHERE new = 2 OR new IS NULL").json()
    modes = {path.stat().st_mode & 0o777 for path in copies_folder.iterdir()}
    retention.delete(end(campaign, timedelta(days=2)).pk, "tester")

    assert first == second
    assert (third["rows"], third["as_of_seq"]) == ([[5]], 3)
    assert (modes, copies_folder.stat().st_mode & 0o777) == ({0o600}, 0o700)
    assert list(copies_folder.iterdir()) == []
