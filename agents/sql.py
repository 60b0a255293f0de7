"""Check SQL before anything is sent, with SQLite itself, the engine that osquery is made of.

`check` needs no schema: what SQLite says of tables, columns and functions it does not have is left to `trouble_on`,
which asks again with the tables that hosts of one kind told of, and with osquery's own functions.
"""

import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import apsw
from django.conf import settings

from agents.models import TableSchema
from fleet.errors import BadInputError

MAX_SQL_BYTES = 64 * 1024
READING = ("SELECT", "VALUES", "EXPLAIN", "WITH")
CHANGING = ("INSERT", "UPDATE", "DELETE", "REPLACE")
SCHEMAS_KEPT = 64  # databases with the tables of one kind of host, 100 to 300 KB each

# What SQLite says of things that only the hosts know.
_UNKNOWN_HERE = re.compile(r"no such (table|column|function|module|collation)|wrong number of arguments")
# Text, quoted names and comments, in which a word is not a keyword.
_OPAQUE = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | \[[^\]]*\] | --[^\n]* | /\*.*?(?:\*/|\Z)""", re.X | re.S
)
_TEXT = re.compile(r"""'(?:[^']|'')*' | --[^\n]* | /\*.*?(?:\*/|\Z)""", re.X | re.S)
_WORD = re.compile(r"\w+")
_PARENTHESES = re.compile(r"\([^()]*\)")
_CHANGES = re.compile(rf"\b({'|'.join(CHANGING)})\b", re.I)

# Functions and collations that osquery adds to SQLite (osquery/sql/sqlite_*.cpp).
OSQUERY_FUNCTIONS = (
    *("acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "atn2", "carve", "ceil", "ceiling", "charindex"),
    *("community_id_v1", "concat", "concat_ws", "conditional_to_base64", "cos", "cosh", "cot", "coth", "degrees"),
    *("exp", "floor", "from_base64", "in_cidr_block", "inet_aton", "leftstr", "log", "log10", "lower_quartile"),
    *("md5", "median", "mode", "padc", "padl", "padr", "pi", "power", "proper", "radians", "regex_match"),
    *("regex_split", "replicate", "reverse", "rightstr", "sha1", "sha256", "sign", "sin", "sinh", "sleep", "split"),
    *("sqrt", "square", "ssdeep_compare", "stdev", "strfilter", "tan", "tanh", "to_base64", "upper_quartile"),
    *("variance", "version_compare"),
)
OSQUERY_COLLATIONS = ("version", "version_arch", "version_dpkg", "version_rhel")


class Checked(NamedTuple):
    """SQL that may be sent, and why it needs a permission of its own, in sentences; none = it needs none."""

    text: str
    restricted: list[str]


def check(sql: str, restricted_tables: Collection[str] = ()) -> Checked:
    """Give the SQL to send, without outer blanks. Raise BadInputError with SQLite's sentence and the place."""
    text = sql.strip()
    if len(text.encode()) > MAX_SQL_BYTES:
        raise BadInputError(f"sql has {len(text.encode())} bytes, allowed are {MAX_SQL_BYTES}", "sql")
    if "\0" in text:
        raise BadInputError("sql holds a NUL character", "sql")
    statements = list(_statements(text))
    if not statements:
        raise BadInputError(f"sql {excerpt(text)} is empty: there is nothing to ask", "sql")
    with apsw.Connection(":memory:") as connection:
        for statement in statements:
            error = _prepare(connection, text, statement)
            if error is not None and not _UNKNOWN_HERE.search(error):
                raise BadInputError(f"sql {excerpt(text)} is wrong: {error}", "sql")
    return Checked(text, list(_restrictions(text, statements, restricted_tables)))


def check_reading(sql: str) -> str:
    """Give SQL that hosts are asked again and again, a label's. Raise BadInputError also for what is restricted."""
    checked = check(sql, settings.RESTRICTED_TABLES)
    if checked.restricted:
        raise BadInputError(f"{checked.restricted[0]}: a label's SQL only reads", "queries")
    return checked.text


def trouble_on(text: str, schema: TableSchema) -> str | None:
    """Give what SQLite finds wrong on hosts of one kind, and where; None when they can run it."""
    connection = _database_of(schema.pk, schema.learned_at and schema.learned_at.timestamp())
    for statement in _statements(text):
        error = _prepare(connection, text, statement)
        if error is not None:
            return error
    return None


@lru_cache(maxsize=SCHEMAS_KEPT)
def _database_of(schema_id: int, _learned_at: float | None) -> apsw.Connection:
    """Make an empty database with the tables of one kind of host; made anew when they are learned anew."""
    connection = apsw.Connection(":memory:")
    for table, columns in TableSchema.objects.get(pk=schema_id).tables.items():
        listed = ", ".join(f"{_quoted(name)} {_quoted(kind)}" for name, kind, _ in columns)
        connection.execute(f"CREATE TABLE IF NOT EXISTS {_quoted(table)} ({listed})")
    for name in OSQUERY_FUNCTIONS:
        connection.create_scalar_function(name, _never_run, -1)
    for name in OSQUERY_COLLATIONS:
        connection.create_collation(name, _never_run)
    return connection


def _never_run(*_: Any) -> int:
    raise NotImplementedError("SQL is prepared here, never run")


def _prepare(connection: apsw.Connection, text: str, statement: re.Match[str]) -> str | None:
    """Let SQLite parse one statement; give its sentence, and where in the whole text, when it refuses."""
    said = statement[0]
    explained = said if said.lstrip()[:7].upper() == "EXPLAIN" else f"EXPLAIN {said}"
    try:
        connection.execute(explained)
    except apsw.Error as error:
        sentence = str(error).partition(": ")[2] if str(error).startswith("SQLError: ") else str(error)
        place = getattr(error, "error_offset", -1) - (len(explained.encode()) - len(said.encode()))
        return sentence if place < 0 else f"{sentence} ({_place(text, statement.start(), place)})"
    return None


def _place(text: str, start: int, offset: int) -> str:
    """Say where a byte of a statement stands, as people count: lines and columns from 1."""
    before = text[:start] + text[start:].encode()[:offset].decode(errors="ignore")
    line = before.count("\n") + 1
    return f"line {line}, column {len(before) - before.rfind(chr(10))}"


def _statements(text: str) -> Iterator[re.Match[str]]:
    """Split a text where semicolons end statements; those that say nothing are left out."""
    bare = _bare(text)
    for found in re.finditer(r"[^;]+", bare):
        if found[0].strip():
            yield re.compile(".*", re.S).match(text, found.start(), found.end())  # type: ignore[misc]  # matches all


def _bare(text: str) -> str:
    """Blank out whatever is no SQL word, every character in its place."""
    return _OPAQUE.sub(lambda found: " " * len(found[0]) if found[0][:1] in "-/" else "x" * len(found[0]), text)


def _restrictions(text: str, statements: list[re.Match[str]], tables: Collection[str]) -> Iterator[str]:
    if len(statements) > 1:
        yield f"sql {excerpt(text)} has {len(statements)} statements"
    for statement in statements:
        bare = _bare(statement[0]).strip()
        first = bare.lstrip("( \n\t").split(None, 1)[0].upper()
        outside = bare
        while _PARENTHESES.search(outside):
            outside = _PARENTHESES.sub(" ", outside)
        if first in CHANGING or (first == "WITH" and _CHANGES.search(outside)):
            yield f"sql {excerpt(statement[0].strip())} does not only read"
        elif not first.startswith(READING):
            allowed = ", ".join(READING)
            raise BadInputError(f"sql {excerpt(text)} does not only read: allowed are {allowed}", "sql")
    named = {word.lower() for word in _WORD.findall(_TEXT.sub(" ", text))}
    for table in sorted(named & {name.lower() for name in tables}):
        yield f"sql uses {table!r}, which is one of RESTRICTED_TABLES"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def excerpt(text: str) -> str:
    """Quote SQL in a sentence, shortened."""
    return repr(text if len(text) <= 60 else text[:57] + "…")
