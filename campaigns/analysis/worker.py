"""The process that runs one question: a script of its own, which holds nothing but the copies it is told of.

It is started clean (`-I`, no environment, no Django) and knows no more than two lines of JSON on stdin: the SQL, and
when that can be read at all, the copies. It answers in lines of JSON: `{"columns"}`, arrays of rows, `{"truncated"}`,
or `{"error", "kind"}`. Whoever started it kills it when it takes too long.
"""

import ctypes
import datetime
import decimal
import json
import math
import os
import re
import resource
import signal
import sys
import threading
from typing import Any

import _duckdb as duckdb  # the engine alone: what lies around it takes a tenth of a second to load

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
ROWS_A_LINE = 500
CHANGING = re.compile(r'"type":"(INSERT|UPDATE|DELETE|MERGE)\w*_NODE"')
# What the engine tells of itself: where files lie, how it is set. Names of tables, columns and functions tell nothing.
OF_THE_SERVER = re.compile(
    r"(?!(duckdb_(columns|constraints|functions|keywords|schemas|tables|types|views)|pragma_(show|table_info))$)"
    r"(duckdb_.*|pragma_.*|pg_settings|current_setting|which_secret)"
)
FROM_TEXTS = re.compile(r'"function_name":"(query|query_table|json_execute_serialized_sql)"')  # may be put together
NAMED = re.compile(r'"qualified_name":\{"path":\[("(?:[^"\\]|\\.)*"(?:,"(?:[^"\\]|\\.)*")*)\]')
SPACE = 3 * 2**30  # of addresses, beside the memory of the data: code, stacks and what allocators set aside


class RefusedError(Exception):
    """The SQL is not one that is run here; the sentence says what is."""


class CopyError(Exception):
    """A copy is not there any more, or is none that can be read."""


def confine(memory: int, seconds: int) -> None:
    """Give up what the question does not need; whoever started this process takes it along when it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (2 * memory + SPACE,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))


def engine(memory: int, threads: int) -> Any:
    """Give an empty database in memory that fetches no extension, keeps no secret and spills nothing to a disk."""
    return duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{memory // 2**20}MiB",
            "threads": str(threads),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "allow_persistent_secrets": "false",
            "temp_directory": "",
            "show_behavior": "TABLE",  # never a setting
            "errors_as_json": "true",
        },
    )


def check(connection: Any, sql: str) -> None:
    """Raise RefusedError unless the SQL is one statement that only reads."""
    statements = connection.extract_statements(sql)
    if not statements:
        raise RefusedError("the SQL is empty, expected is one SELECT")
    if len(statements) > 1:
        raise RefusedError(f"the SQL holds {len(statements)} statements, allowed is one SELECT")
    kind = str(statements[0].type).rpartition(".")[2]
    if kind == "MULTI":
        raise RefusedError("PIVOT is allowed with the values it is to make columns of: PIVOT … ON name IN ('a', 'b')")
    tree = tree_of(connection, sql) if kind == "SELECT" else ""
    changes = CHANGING.search(tree)
    if kind != "SELECT" or changes:
        what = f"{changes[1]} within a SELECT" if changes else kind
        raise RefusedError(f"{what} is not allowed here, only one SELECT: answers are read, never changed")
    check_names(tree)


def check_names(tree: str) -> None:
    """Raise RefusedError for a table or a function that tells of the server, or that would run a text."""
    for path in NAMED.findall(tree):
        name = str(json.loads(f"[{path}]")[-1]).strip('"').lower()
        if OF_THE_SERVER.fullmatch(name):
            raise RefusedError(f"{name} is out of reach of this SQL: it tells of the server, its files and settings")
    if found := FROM_TEXTS.search(tree):
        raise RefusedError(f"{found[1]} is not allowed here: it takes its SQL from a text, write the SQL itself")


def tree_of(connection: Any, sql: str) -> str:
    """Give the tree of a SELECT as JSON. Texts within it have their quotes escaped, so that none looks like a node."""
    found = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    return str(found[0])


def quoted(name: str) -> str:
    """Give an identifier as SQL writes it."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


# --- tables ----------------------------------------------------------------------------------------------------


def attach(connection: Any, copies: dict[str, str]) -> None:
    """Open the copies, each under its alias; they stay readable when files are out of reach. Raise CopyError."""
    for alias, path in copies.items():
        escaped = path.replace("'", "''")
        try:
            connection.execute(f"ATTACH '{escaped}' AS {quoted(alias)} (READ_ONLY)")
        except (duckdb.IOException, duckdb.SerializationException, duckdb.InternalException) as error:
            raise CopyError(str(error)) from error


def lock(connection: Any) -> None:
    """Put files, network and settings out of reach for good."""
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def columns_of(connection: Any, alias: str) -> list[tuple[str, str, str]]:
    """Give the columns of answers in a copy: name, where it lies, type."""
    found: list[tuple[str, str, str]] = connection.execute(
        f"SELECT name, place, type FROM {quoted(alias)}.columns ORDER BY rowid"  # noqa: S608 - an alias of ours
    ).fetchall()
    return found


def make_answers(connection: Any, view: str, alias: str, facts: str) -> None:
    """Make the table of a campaign's answers: who answered, what is to be known of it, and what was answered."""
    own = "".join(f", {_typed(place, kind)} AS {quoted(name)}" for name, place, kind in columns_of(connection, alias))
    connection.execute(
        f"CREATE VIEW {quoted(view)} AS SELECT cells.host_id, cells.host, host.platform,"  # noqa: S608 - ours, quoted
        f" host.labels, cells.received_at, cells.late, cells.truncated{own} FROM {quoted(alias)}.cells AS cells"
        f" LEFT JOIN {quoted(facts)}.cells AS host ON host.host_id = cells.host_id WHERE cells.place IS NOT NULL"
    )


def make_apart(connection: Any, view: str, alias: str, ours: list[str]) -> None:
    """Make a table of answers of several campaigns, whose hosts are told of in the same copy."""
    columns = columns_of(connection, alias)
    own = [*map(quoted, ours), *(f"{_typed(place, kind)} AS {quoted(name)}" for name, place, kind in columns)]
    connection.execute(
        f"CREATE VIEW {quoted(view)} AS SELECT {', '.join(own)}"  # noqa: S608 - ours, quoted
        f" FROM {quoted(alias)}.cells AS cells WHERE cells.place IS NOT NULL"
    )


def _typed(place: str, kind: str) -> str:
    cell = f"cells.{quoted(place)}"
    typed = cell if kind == "VARCHAR" else f"CAST(nullif({cell}, '') AS {kind})"
    return f"CAST({typed} AS TIMESTAMP)" if kind == "TIMESTAMPTZ" else typed  # in UTC, which all processes here run in


def make_tables(connection: Any, tables: dict[str, Any]) -> None:
    """Make the tables that the question may name."""
    for view, (alias, facts) in tables["answers"].items():
        make_answers(connection, view, alias, facts)
    for view, (alias, ours) in tables["apart"].items():
        make_apart(connection, view, alias, ours)
    for view, alias in tables["plain"].items():
        connection.execute(
            f"CREATE VIEW {quoted(view)} AS SELECT * FROM {quoted(alias)}.cells"  # noqa: S608 - ours, quoted
        )
    for statement in tables["prepare"]:  # ours, never a person's
        connection.execute(statement)
    connection.execute("CREATE MACRO answers_of(campaign) AS TABLE FROM query_table('campaign_' || campaign)")


# --- the answer ------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Give what JSON has no word for as a text; times as the API writes them."""
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, decimal.Decimal):
        return _number(value)
    is_json = value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return value if is_json else _text(value)


def _number(value: decimal.Decimal) -> int | float | str:
    """Give a decimal as the number that JSON has for it, as a text where that would be another number."""
    if value == value.to_integral_value():
        return int(value)
    number = float(value)
    return number if decimal.Decimal(repr(number)) == value else str(value)


def _text(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    if isinstance(value, datetime.timedelta):  # within a list or the like
        return str(value) if value >= datetime.timedelta() else f"-{-value}"
    return value.hex() if isinstance(value, bytes) else str(value)


def execute(connection: Any, sql: str) -> list[dict[str, str]]:
    """Run it; give its columns. Intervals are told as the engine writes them: the driver makes 30 days of a month.

    Only then it runs twice: to plan every question before would cost those of hundreds of columns more.
    """
    columns = [{"name": column[0], "type": str(column[1])} for column in connection.execute(sql).description]
    kinds = [column["type"] for column in columns]
    if "INTERVAL" in kinds:
        places = enumerate(kinds, 1)
        cells = [f"CAST(#{place} AS VARCHAR)" if kind == "INTERVAL" else f"#{place}" for place, kind in places]
        escaped = sql.replace("'", "''")
        connection.execute(f"SELECT {', '.join(cells)} FROM query('{escaped}')")  # noqa: S608 - looked at before
    return columns


def say(message: Any) -> int:
    """Write one line; give its length."""
    line = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
    return len(line)


def send_rows(connection: Any, most_rows: int, most_bytes: int) -> bool:
    """Send rows up to the limits (0 = none); give whether there are more."""
    rows, size = 0, 0
    while found := connection.fetchmany(min(ROWS_A_LINE, most_rows + 1 - rows) if most_rows else ROWS_A_LINE):
        batch: list[Any] = []
        for row in found:
            line = plain(row)
            size += len(json.dumps(line))
            batch.append(line)
            if most_bytes and size > most_bytes:
                if rows + len(batch) == 1:
                    raise RefusedError(f"the first row has {size} bytes as JSON, allowed are {most_bytes} for all rows")
                say(batch[:-1])
                return True
        rows += len(found)
        if most_rows and rows > most_rows:
            say(batch[: most_rows - rows])
            return True
        say(batch)
    return False


def run(question: dict[str, Any]) -> None:
    """Look at the SQL, wait for the copies, run it: one SELECT of a person, or several of ours."""
    connection = engine(question["memory"], question["threads"])
    for sql in question["sql"]:
        check(connection, sql)
    say({"ready": True})
    tables = json.loads(sys.stdin.buffer.readline() or "null")
    if tables is None:
        return
    attach(connection, tables["copies"])
    timer = threading.Timer(question["seconds"], connection.interrupt)
    timer.daemon = True
    timer.start()
    make_tables(connection, tables)
    lock(connection)
    for sql in question["sql"]:
        say({"columns": execute(connection, sql)})
        say({"truncated": send_rows(connection, question["most_rows"], question["most_bytes"])})
    say({"done": True})


def failure(error: BaseException) -> dict[str, Any]:
    """Say what went wrong: the engine's sentence, where in the SQL, and of which kind it is."""
    if isinstance(error, duckdb.InterruptException):
        return {"error": "", "kind": "time"}
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError):
        return {"error": "", "kind": "memory"}
    if isinstance(error, CopyError):
        return {"error": "", "kind": "copy"}
    if isinstance(error, duckdb.PermissionException):
        return {"error": "files and the network are out of reach of this SQL: it reads answers alone", "kind": "input"}
    text = str(error)
    try:
        details = json.loads(text[text.index("{") :])
    except ValueError:
        details = {}
    position = details.get("position")
    return {
        "error": details.get("exception_message", text),
        "kind": "input",
        "position": int(position) if str(position or "").isdecimal() else None,
    }


def main() -> None:
    """Answer one question and end, without tearing anything down: there is nothing that could be lost."""
    question = json.loads(sys.stdin.buffer.readline())
    confine(question["memory"], question["cpu_seconds"])
    try:
        run(question)
    except (duckdb.Error, MemoryError, RefusedError, CopyError) as error:
        say(failure(error))
    os._exit(0)


if __name__ == "__main__":
    main()
