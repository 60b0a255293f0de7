"""SQL is checked by SQLite before anything is sent: without a schema, and with what hosts of one kind told."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import apsw
import pytest
from django.conf import settings
from django.utils import timezone

from agents.inventory import sql
from agents.models import TableSchema
from fleet.errors import BadInputError


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM processes",
        "select p.name from processes p join listening_ports l using (pid);",
        "WITH x AS (SELECT 'DELETE' AS word) SELECT * FROM x",
        "SELECT regex_match(name, 'a', 0) FROM programs -- osquery's own function; really",
        'SELECT "INSERT" FROM [update]',
        "SELECT ';' /* ; */",
        "EXPLAIN SELECT 1",
        "/* why */ EXPLAIN QUERY PLAN SELECT 1",
        "WITH x(a) AS (SELECT name FROM programs) SELECT replace(a, 'b', 'c') FROM x",
        "VALUES (1)",
    ],
)
def test_sql_that_only_hosts_can_judge_is_sent(text: str) -> None:
    assert sql.check(f"  {text}\n", ["carves"]) == (text, [], False)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("SELECT FROM", r'near "FROM": syntax error \(line 1, column 8\)'),
        ("SELECT (1", r"is wrong: incomplete input \(line 1, column 10\)"),
        ("SELECT 1 FROM processes\nWHERE; SELECT 2", r"incomplete input \(line 2, column 6\)"),
        ("SELECT 1\n  FRM users, x", r'near "users": syntax error \(line 2, column 7\)'),
        ("SELECT 'ü' || || 1", r'near "\|\|": syntax error \(line 1, column 15\)'),
        ("SELECT 1; SELEC 2", r'near "SELEC": syntax error \(line 1, column 11\)'),
        ("ATTACH 'x' AS y", "does not only read"),
        ("PRAGMA user_version = 3", r"does not only read: .*SELECT \* FROM pragma_table_info\('processes'\)$"),
        ("CREATE TABLE x (y)", "does not only read"),
        ("/* why */ DETACH y", "does not only read"),
        ("EXPLAIN PRAGMA user_version = 3", "does not only read"),
        ("EXPLAIN QUERY PLAN VACUUM", "does not only read"),
        ("SELECT 'carves", r"unrecognized token: \"'carves\" \(line 1, column 8\)"),
        ('SELECT 1 AS "carves', "unrecognized token"),
        ("x\0y", "NUL"),
        (" ; -- nothing\n", "is empty"),
        ("SELECT 1; SELECT 2", r"has 2 statements, the second one at line 1, column 11: osquery explains"),
        ("SELECT ';';\n\n  /* ; */ VALUES (1) ; EXPLAIN SELECT 3;", r"has 3 statements, the second one at line 3"),
        ("DELETE FROM users; DROP TABLE users", "has 2 statements"),
        ("SELECT '" + "x" * 70_000 + "'", "allowed are 65536"),
    ],
)
def test_sql_that_is_wrong_everywhere_is_refused_with_the_place(text: str, sentence: str) -> None:
    with pytest.raises(BadInputError, match=sentence):
        sql.check(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("DELETE FROM users", "does not only read"),
        ("WITH x AS (SELECT 1) DELETE FROM users", "does not only read"),
        ("/* why */ DELETE FROM users", "does not only read"),
        ("EXPLAIN DELETE FROM users", "does not only read"),
        ("WITH replace(a) AS MATERIALIZED (SELECT ')'), b AS (SELECT 1) UPDATE x SET a = 0", "does not only read"),
        ("WITH [--] AS (SELECT 1) /* ( */ REPLACE INTO users VALUES (1)", "does not only read"),
        ("SELECT * FROM Carves WHERE path = 1", "uses 'carves'"),
        ('SELECT * FROM "carves"', "uses 'carves'"),
        ("SELECT carve(path) FROM file", "uses 'carve'"),
    ],
)
def test_sql_that_changes_hosts_needs_a_permission(text: str, reason: str) -> None:
    (restricted,) = sql.check(text, ["carves", "carve"]).restricted
    assert reason in restricted


@pytest.mark.parametrize(
    "text",
    [
        'SELECT 1 AS "a--", carve(name) FROM processes',
        "SELECT 1 AS [a--], carve(name) FROM processes",
        "SELECT 1 AS `a--`, carve(name) FROM processes",
        "SELECT 1 AS '--', carve(name) FROM processes",
        'SELECT 1 AS "/*", carve(name) FROM processes',
        """SELECT 1 AS "'", carve(name) FROM processes WHERE path = '/'""",
        """SELECT 1 AS "a""--", carve(name) FROM processes""",
        "SELECT 1 AS 'a''--', carve(name) FROM processes",
        "SELECT /* /* */ carve(name) FROM processes",
        "SELECT 1 -- *\n, carve(name) FROM processes",
        'SELECT "Carve"(name) FROM processes',
        "SELECT [CARVE](name) FROM processes",
        "SELECT name FROM processes ORDER BY `carve`(name)",
        "SELECT 1 FROM processes WHERE (SELECT max(carve(path)) FROM file)",
        "SELECT path FROM file\ufeff/**/,\ufeffcarve",
        "SELECT * FROM main.carve",
        "SELECT * FROM main.'CARVE'",
        "SELECT * FROM 'carve'",
        "SELECT * FROM file JOIN'carve'",
        "SELECT * FROM file, 'carve' AS harmless WHERE file.path = 'carve'",
        "SELECT * FROM 'carve'('https://example.com/')",
        "SELECT * FROM carve('https://example.com/')",
        "SELECT path IN 'carve' FROM file",
        "WITH harmless AS (SELECT * FROM 'carve') SELECT * FROM harmless",
        "WITH carve AS (SELECT 1) SELECT * FROM carve",
        "EXPLAIN SELECT carve(name) FROM processes",
    ],
)
def test_no_spelling_hides_what_is_restricted(text: str) -> None:
    assert sql.check(text, ["carve"]).restricted == ["sql uses 'carve', which is one of RESTRICTED_TABLES"]


VIEWS = {
    "ours": "SELECT * FROM theirs AS t JOIN processes USING (pid)",
    "theirs": 'SELECT path FROM "Carve" UNION SELECT path FROM OURS',  # a circle, which hosts would refuse
    "harmless": "SELECT 'carve' FROM processes; ; not sql (",
}


@pytest.mark.parametrize(
    ("text", "restricted"),
    [
        ("SELECT * FROM ours", ["carve"]),
        ("SELECT 1 FROM main.[OURS] LIMIT 1", ["carve"]),
        ("WITH a AS (SELECT * FROM 'theirs') SELECT * FROM processes WHERE pid IN a", ["carve"]),
        ("SELECT * FROM harmless WHERE name = 'ours'", []),
        ("SELECT 1", []),
    ],
)
def test_what_a_view_of_the_config_reads_is_read_by_who_asks_it(text: str, restricted: list[str]) -> None:
    assert [name.split("'")[1] for name in sql.check(text, ["carve"], VIEWS).restricted] == restricted
    assert sql.tables_named(text, ["Carve", "file"], VIEWS) == restricted
    assert sql.tables_named(text, ["carve"]) == []


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'carve' -- carve",
        "SELECT name FROM processes WHERE name IN ('curl', 'carve') OR path LIKE 'carve' ESCAPE '/' /* carve",
        "SELECT group_concat(name, 'carve') FROM processes",
        "SELECT 'from carve', '\\u0063arve' FROM carves_of_ours",
        "SELECT * FROM carveé",
    ],
)
def test_the_name_of_what_is_restricted_in_a_text_is_only_a_word(text: str) -> None:
    assert sql.check(text, ["carve"]).restricted == []


@pytest.mark.parametrize("many", ["'", '"', "`", "[", "]", "(", ")", "-", "/", "/*", "*/", ";", "a,", "x;", "'carve',"])
def test_the_check_takes_as_long_as_the_sql_is(many: str) -> None:
    def taken(size: int) -> float:
        text = f"SELECT {many * (size // len(many))}"
        began = time.process_time()
        with suppress(BadInputError):
            sql.check(text, ["carve"])
        return time.process_time() - began

    eighth, whole = (min(taken(size) for _ in range(3)) for size in (8_000, 64_000))

    assert whole < 40 * eighth + 0.1, "eight times as much takes about eight times as long; squared, 64 times"


@pytest.fixture
def schema(db: None) -> TableSchema:
    """Give the tables of one kind of host."""
    columns = [["pid", "BIGINT", False], ["name", "TEXT", False], ["secret", "TEXT", True]]
    return TableSchema.objects.create(
        platform="linux", osquery_version="5.23.0", tables={"processes": columns}, learned_at=timezone.now()
    )


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("SELECT pid, secret FROM processes", None),
        ("SELECT split(name, '.', 1), sha256(name) FROM processes WHERE version_compare(name, '1') > 0", None),
        ("SELECT name FROM processes ORDER BY name COLLATE version", None),
        ("SELECT p.cid FROM pragma_table_xinfo('processes') AS p", None),
        ("SELECT pid FROM apps", "no such table: apps"),
        ("SELECT pidd FROM processes", "no such column: pidd (line 1, column 8)"),
        ("SELECT\nuper(name) FROM processes", "no such function: uper (line 2, column 1)"),
    ],
)
def test_sqlite_says_what_a_kind_of_host_cannot_run(schema: TableSchema, text: str, trouble: str | None) -> None:
    assert sql.trouble_on(text, schema) == trouble


@pytest.mark.parametrize(
    ("text", "verb"),
    [
        ("DELETE FROM Processes", "DELETE"),
        ("INSERT INTO processes (pid) VALUES (1)", "INSERT"),
        ("UPDATE main.processes SET pid = (SELECT 1)", "UPDATE"),
        ("REPLACE INTO 'processes' (pid) SELECT pid FROM processes", "REPLACE"),
        ("WITH x AS (SELECT 1 AS pid) DELETE FROM processes WHERE pid IN (SELECT pid FROM x)", "DELETE"),
        ("EXPLAIN DELETE FROM processes", "DELETE"),
    ],
)
def test_osquerys_own_tables_take_no_changes_and_those_of_extensions_may(
    schema: TableSchema, text: str, verb: str
) -> None:
    extended = TableSchema.objects.create(
        platform="linux",
        osquery_version="5.23.0",
        extensions="ours 1.0",
        tables={**schema.tables, "ours": schema.tables["processes"]},
        learned_at=timezone.now(),
    )
    sentence = f"{verb} is for tables of extensions: processes is one of osquery's own, which are only read"

    assert [sql.trouble_on(text, kind) for kind in (schema, extended)] == [sentence, sentence]
    theirs = text.replace("main.", "").replace("Processes", "ours").replace("processes", "ours")
    assert [sql.trouble_on(theirs, kind) for kind in (schema, extended)] == ["no such table: ours", None]


def test_a_schema_that_was_learned_anew_is_used(schema: TableSchema) -> None:
    assert sql.trouble_on("SELECT 1 FROM apps", schema) is not None

    TableSchema.objects.update(tables={"apps": [["name", "TEXT", False]]}, learned_at=timezone.now())
    schema.refresh_from_db()

    assert sql.trouble_on("SELECT 1 FROM apps", schema) is None


def test_launches_at_the_same_time_share_the_tables(schema: TableSchema) -> None:
    texts = [f"SELECT {', '.join(['name <> pid'] * many)} FROM processes" for many in range(500, 900)]  # noqa: S608
    sql.trouble_on(texts[0], schema)

    with ThreadPoolExecutor(8) as threads:
        troubles = set(threads.map(lambda text: sql.trouble_on(text, schema), texts))

    assert troubles == {None}


def test_what_says_nothing_of_the_sql_is_no_verdict(schema: TableSchema) -> None:
    assert schema.learned_at is not None
    sql._database_for(schema, "all").connection.close()

    with pytest.raises(apsw.ConnectionClosedError):
        sql.trouble_on("SELECT pid FROM processes", schema)
    sql._database_of.cache_clear()


@pytest.fixture
def told(schema: TableSchema) -> TableSchema:
    """Let that kind of host have told its functions: an older SQLite, and some of osquery's."""
    schema.functions = [["lower", 1, "s"], ["count", 0, "w"], ["count", 1, "w"], ["max", -1, "s"], ["max", 1, "w"]]
    schema.functions += [["parent_directory", 1, "s"], ["soundex", 1, "s"], ["our_own", 2, "s"], ["our_sum", 1, "a"]]
    schema.save()
    return schema


@pytest.mark.parametrize(
    ("call", "trouble"),
    [
        ("parent_directory(name)", None),
        ("Soundex(name)", None),
        ("our_own(name, pid)", None),
        ("our_sum(pid)", None),
        ("lower(name)", None),
        ("count(*)", None),
        ("max(pid)", None),
        ("max(pid, 1)", None),
        ("our_own(name)", "wrong number of arguments to function our_own() (line 1, column 8)"),
        ("median(pid)", "no such function: median (line 1, column 8)"),
        ("string_agg(name, ',')", "no such function: string_agg (line 1, column 8)"),
        ("jsonb('{}')", "no such function: jsonb (line 1, column 8)"),
        ("octet_length(name)", "no such function: octet_length (line 1, column 8)"),
        ("stdev(pid)", "no such function: stdev (line 1, column 8)"),
        ("split(name, '.', 0)", "no such function: split (line 1, column 8)"),
    ],
)
def test_the_functions_that_hosts_told_are_those_they_have(told: TableSchema, call: str, trouble: str | None) -> None:
    assert sql.trouble_on(f"SELECT {call} FROM processes", told) == trouble  # noqa: S608


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ("SELECT pid, pid FROM processes", ["pid"]),
        ("SELECT a.name, b.name, a.pid FROM processes a JOIN processes b USING (pid)", ["name"]),
        ("SELECT * FROM processes a, processes b", ["pid", "name"]),
        ("SELECT secret, secret FROM processes", ["secret"]),
        ("SELECT pid AS a, name AS a FROM processes", ["a"]),
        ("SELECT pid AS a, name AS A FROM processes", []),
        ("SELECT * FROM processes JOIN processes USING (pid, name)", []),
        ("WITH x AS (SELECT pid, pid FROM processes) SELECT 1 FROM x", []),
        ("EXPLAIN SELECT pid, pid FROM processes", []),
        ("SELECT count(*), count(*) FROM processes", ["count(*)"]),
    ],
)
def test_columns_that_osquery_would_lose_are_named(schema: TableSchema, text: str, repeated: list[str]) -> None:
    assert sql.repeated_columns(text, schema) == repeated


def test_columns_are_told_without_tables_too() -> None:
    assert sql.repeated_columns("SELECT 1 AS a, 2 AS b, 3 AS a", None) == ["a"]
    assert sql.repeated_columns("SELECT pid, pid FROM nobody_knows", None) == []


@pytest.mark.parametrize("call", ["load_extension('x')", "LOAD_EXTENSION('x', 'y')", '"load_extension"(1)'])
def test_what_loads_code_is_restricted_whatever_the_setting_says(call: str) -> None:
    assert sql.check(f"SELECT {call}", []).restricted == ["sql uses 'load_extension', which loads code into the agent"]


@pytest.mark.parametrize("table", ["carve", "curl", "process_envs", "shadow", "shell_history", "yara", "yara_events"])
def test_tables_that_tell_secrets_are_restricted_by_default(table: str) -> None:
    spellings = (
        "SELECT * FROM TABLE",
        "SELECT * FROM main.TABLE",
        "SELECT * FROM [main] . 'TABLE'",
        "SELECT * FROM `TABLE`('x')",
        "WITH TABLE AS (SELECT 1) SELECT * FROM TABLE",
        'WITH x AS (SELECT * FROM "TABLE") SELECT * FROM x',
        "SELECT (SELECT count(*) FROM temp.TABLE)",
    )

    for text in spellings:
        for name in (table, table.upper()):
            assert sql.check(text.replace("TABLE", name), settings.RESTRICTED_TABLES).restricted, text
