"""SQL is checked by SQLite before anything is sent: without a schema, and with what hosts of one kind told."""

import pytest
from django.utils import timezone

from agents import sql
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
        "VALUES (1)",
    ],
)
def test_sql_that_only_hosts_can_judge_is_sent(text: str) -> None:
    assert sql.check(f"  {text}\n", ["carves"]) == (text, [])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("SELECT FROM", r'near "FROM": syntax error \(line 1, column 8\)'),
        ("SELECT (1", "is wrong: incomplete input"),
        ("SELECT 1\n  FRM users, x", r'near "users": syntax error \(line 2, column 7\)'),
        ("SELECT 'ü' || || 1", r'near "\|\|": syntax error \(line 1, column 15\)'),
        ("SELECT 1; SELEC 2", r'near "SELEC": syntax error \(line 1, column 11\)'),
        ("ATTACH 'x' AS y", "does not only read"),
        ("PRAGMA user_version = 3", "does not only read"),
        ("CREATE TABLE x (y)", "does not only read"),
        ("x\0y", "NUL"),
        (" ; -- nothing\n", "is empty"),
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
        ("SELECT 1; SELECT 2", "has 2 statements"),
        ("SELECT * FROM Carves WHERE path = 1", "uses 'carves'"),
        ('SELECT * FROM "carves"', "uses 'carves'"),
        ("SELECT carve(path) FROM file", "uses 'carve'"),
    ],
)
def test_sql_that_changes_hosts_needs_a_permission(text: str, reason: str) -> None:
    (restricted,) = sql.check(text, ["carves", "carve"]).restricted
    assert reason in restricted


def test_the_name_of_a_restricted_table_in_a_text_is_only_a_word() -> None:
    assert sql.check("SELECT 'carves' -- carves", ["carves"]).restricted == []


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
        ("SELECT pid FROM processes;\nSELECT uper(name) FROM processes", "no such function: uper (line 2, column 8)"),
    ],
)
def test_sqlite_says_what_a_kind_of_host_cannot_run(schema: TableSchema, text: str, trouble: str | None) -> None:
    assert sql.trouble_on(text, schema) == trouble


def test_a_schema_that_was_learned_anew_is_used(schema: TableSchema) -> None:
    assert sql.trouble_on("SELECT 1 FROM apps", schema) is not None

    TableSchema.objects.update(tables={"apps": [["name", "TEXT", False]]}, learned_at=timezone.now())
    schema.refresh_from_db()

    assert sql.trouble_on("SELECT 1 FROM apps", schema) is None
