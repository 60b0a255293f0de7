"""Run one distributed query on one host: real SQLite over that host's tables, reading only, with an end.

A query gets an in-memory database with all tables of the host, empty. SQLite's EXPLAIN tells which of them it would
open; those are filled, and the query runs. So wrong SQL fails with SQLite's own sentence.
"""

import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from agents.simulator.functions import add_functions
from agents.simulator.machine import Machine
from agents.simulator.schema import SCHEMAS
from fleet.counting import plural

_READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_READ_PRAGMAS = frozenset({"table_info", "table_xinfo", "table_list", "function_list", "index_list", "database_list"})
_STEPS_BETWEEN_LOOKS = 10_000
_LONGEST_VALUE = 64 * 1024 * 1024

ResultRow = dict[str, str]


class Answer(NamedTuple):
    """What a host answers to one query; `rows_json` is the array as it goes on the wire, raw bytes included."""

    rows_json: bytes
    status: int
    message: str
    stats: dict[str, int]

    @property
    def rows(self) -> list[ResultRow]:
        """Decode the rows; bytes that are not UTF-8 become lone surrogates (surrogateescape)."""
        rows: list[ResultRow] = json.loads(self.rows_json.decode("utf-8", "surrogateescape"))
        return rows


@dataclass(frozen=True)
class Limits:
    """Where a query is stopped. osquery itself has no such limits: its watchdog kills the worker instead."""

    steps: int = 20_000_000
    seconds: float = 5.0
    rows: int = 250_000


class StoppedError(Exception):
    """The query went over a limit; the sentence says which."""


def execute(machine: Machine, sql: str, limits: Limits | None = None) -> Answer:
    """Answer one query as the host would. Never raises for what the SQL is."""
    began, cpu = time.perf_counter(), time.thread_time()
    try:
        rows, message = _Run(machine, limits or Limits()).rows(sql), ""
    except (sqlite3.Error, sqlite3.Warning, StoppedError) as error:
        rows, message = [], str(error)
    encoded = json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape")
    stats = {
        "wall_time_ms": round((time.perf_counter() - began) * 1000),
        "user_time": round((time.thread_time() - cpu) * 1000),
        "system_time": 0,
        "memory": len(encoded),
    }
    return Answer(encoded, 1 if message else 0, message, stats)


def refuse(message: str, stats: dict[str, int] | None = None) -> Answer:
    """Give the answer of a host that did not run the query."""
    return Answer(b"[]", 1, message, stats or {})


class _Run:
    """One query text with a database of its own."""

    def __init__(self, machine: Machine, limits: Limits) -> None:
        self._machine = machine
        self._limits = limits
        self._steps_left = limits.steps
        self._filled: set[str] = set()
        self._stopped = ""

    def rows(self, text: str) -> list[ResultRow]:
        """Run every statement of the text; rows are appended under the columns of the first one."""
        statements = list(_statements(text))
        if not statements:
            raise StoppedError("not an error")  # SQLite's word for an empty statement, with osquery's status 1
        self._connection = _empty_database(self._machine.platform)
        try:
            self._ends = time.monotonic() + self._limits.seconds
            self._connection.set_progress_handler(self._look, _STEPS_BETWEEN_LOOKS)
            rows: list[ResultRow] = []
            names: list[str] | None = None
            for statement in statements:
                cursor = self._run(statement)
                found = [entry[0] for entry in cursor.description or ()]
                names = found if names is None else names
                self._collect(cursor, found, names, rows)
            return rows  # noqa: TRY300 - the connection is closed on every way out
        except (sqlite3.OperationalError, UnicodeEncodeError) as error:
            raise StoppedError(self._stopped or str(error)) from error
        finally:
            self._connection.close()

    def _run(self, statement: str) -> sqlite3.Cursor:
        self._connection.set_authorizer(self._authorize)
        try:
            program = self._connection.execute(f"EXPLAIN {statement}").fetchall()
        except sqlite3.Error:
            # Wrong SQL, or an EXPLAIN already: running the text as it is gives the error as the host would see it.
            return self._connection.execute(statement)
        self._connection.set_authorizer(None)
        reads = self._tables_of(program)
        if "carves" in reads:
            self._machine.carver.scan(statement)
        for table in sorted(reads - self._filled):
            self._fill(table)
        self._connection.set_authorizer(self._authorize)
        return self._connection.execute(statement)

    def _tables_of(self, program: list[tuple[Any, ...]]) -> set[str]:
        """Name the tables that a program of SQLite opens: (address, opcode, p1, p2 = the table's first page, …)."""
        pages = _first_pages(self._machine.platform)
        return {pages[step[3]] for step in program if step[1] == "OpenRead" and step[3] in pages}

    def _fill(self, table: str) -> None:
        columns = self._machine.schema[table]
        marks = ",".join("CAST(? AS TEXT)" if column.type == "TEXT" else "?" for column in columns)
        rows = self._machine.rows(table)
        insert = f'INSERT INTO "{table}" VALUES ({marks})'  # noqa: S608 - names come from the schema
        try:
            self._connection.executemany(insert, rows)
        except UnicodeEncodeError:  # text with bytes that are not UTF-8: go by bytes, which the CAST makes text again
            self._connection.execute(f'DELETE FROM "{table}"')  # noqa: S608 - as above
            self._connection.executemany(insert, ([_bytes(value) for value in row] for row in rows))
        self._filled.add(table)

    def _collect(self, cursor: sqlite3.Cursor, found: list[str], names: list[str], rows: list[ResultRow]) -> None:
        kept = frozenset(names)
        for values in cursor:
            if len(rows) >= self._limits.rows:
                raise StoppedError(f"interrupted: more than {self._limits.rows:,} {plural(self._limits.rows, 'row')}")
            rows.append({name: _cell(value) for name, value in zip(found, values, strict=True) if name in kept})

    def _authorize(self, action: int, first: str | None, second: str | None, _schema: Any, _trigger: Any) -> int:
        if action == sqlite3.SQLITE_FUNCTION:
            return sqlite3.SQLITE_DENY if second == "load_extension" else sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_UPDATE and first == "sqlite_master":
            return sqlite3.SQLITE_OK  # SQLite declares pragma_table_xinfo so; by SQL it refuses to change that table
        if action == sqlite3.SQLITE_PRAGMA:
            return sqlite3.SQLITE_OK if first in _READ_PRAGMAS else sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY

    def _look(self) -> int:
        """Stop the query when a limit is passed; SQLite calls this now and then, and a true value interrupts it."""
        self._steps_left -= _STEPS_BETWEEN_LOOKS
        if self._steps_left < 0:
            self._stopped = f"interrupted: more than {self._limits.steps:,} steps"
        elif time.monotonic() > self._ends:
            self._stopped = f"interrupted: more than {self._limits.seconds:g} {plural(self._limits.seconds, 'second')}"
        return bool(self._stopped)


@lru_cache(maxsize=len(SCHEMAS))
def _template(platform: str) -> bytes:
    """Give an image of a database with every table of the platform, empty."""
    with sqlite3.connect(":memory:") as connection:
        for table, columns in SCHEMAS[platform].items():
            listed = ", ".join(f'"{column.name}" {column.type}' for column in columns)
            connection.execute(f'CREATE TABLE "{table}" ({listed})')
    image = connection.serialize()
    connection.close()
    return image


@lru_cache(maxsize=len(SCHEMAS))
def _first_pages(platform: str) -> dict[int, str]:
    """Give the tables of a platform by their first page in the image."""
    connection = _empty_database(platform)
    pages: dict[int, str] = dict(connection.execute("SELECT rootpage, name FROM sqlite_schema"))
    connection.close()
    return pages


def _empty_database(platform: str) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
    connection.deserialize(_template(platform))
    connection.text_factory = _decode
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.execute("PRAGMA journal_mode = OFF")
    add_functions(connection)
    return connection


def _statements(text: str) -> Iterator[str]:
    """Split a text into its statements, leaving out empty ones; a semicolon within a literal ends none."""
    text = text.partition("\0")[0]
    pending = ""
    for part in text.replace(";", ";\0").split("\0"):
        pending += part
        if sqlite3.complete_statement(pending) or part is text:
            if _says_something(pending):
                yield pending
            pending = ""
    if _says_something(pending):
        yield pending


def _says_something(statement: str) -> bool:
    """Tell whether anything but blanks, comments and semicolons is there."""
    rest = statement.strip("; \t\r\n\f")
    while rest.startswith(("--", "/*")):
        _, _, rest = rest.partition("\n" if rest.startswith("--") else "*/")
        rest = rest.strip("; \t\r\n\f")
    return bool(rest)


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _bytes(value: Any) -> Any:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def _cell(value: Any) -> str:
    """Turn a value into text as osquery does: NULL is empty, text and blobs end at the first NUL."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        text = f"{value:.15g}"
        return text if "." in text else f"{text}.0"
    text = value if isinstance(value, str) else _decode(value)
    return text.partition("\0")[0]
