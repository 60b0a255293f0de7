"""Check SQL before anything is sent, with SQLite itself, the engine that osquery is made of.

No schema is known here, so what SQLite says of tables, columns and functions it does not have is not an error: the
hosts say that. Everything else it finds wrong is wrong everywhere.
"""

import re
import sqlite3

from fleet.errors import BadInputError

MAX_SQL_BYTES = 64 * 1024
READING = ("SELECT", "VALUES", "EXPLAIN", "WITH")

# What SQLite says of things that only the hosts know.
_UNKNOWN_HERE = re.compile(r"no such (table|column|function|module|collation)|wrong number of arguments")
# Text, quoted names and comments, in which a word is not a keyword.
_OPAQUE = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | \[[^\]]*\] | --[^\n]* | /\*.*?(?:\*/|\Z)""", re.X | re.S
)
_PARENTHESES = re.compile(r"\([^()]*\)")
_CHANGING = re.compile(r"\b(INSERT|UPDATE|DELETE|REPLACE)\b", re.I)


def check(sql: str) -> str:
    """Give the SQL to send, without outer blanks. Raise BadInputError with SQLite's sentence."""
    text = sql.strip()
    if len(text.encode()) > MAX_SQL_BYTES:
        raise BadInputError(f"sql has {len(text.encode())} bytes, allowed are {MAX_SQL_BYTES}", "sql")
    if "\0" in text:
        raise BadInputError("sql holds a NUL character", "sql")
    bare = _OPAQUE.sub(" ", text).strip().rstrip(";").strip()
    if not bare:
        raise BadInputError(f"sql {_excerpt(text)} is empty: there is nothing to ask", "sql")
    _check_syntax(text)
    _check_reads_only(bare)
    return text


def _check_syntax(text: str) -> None:
    """Let SQLite parse it; the grammar is checked before any name is looked up."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(text if text[:7].upper() == "EXPLAIN" else f"EXPLAIN {text}")
    except (sqlite3.Error, sqlite3.Warning) as error:
        if not _UNKNOWN_HERE.search(str(error)):
            raise BadInputError(f"sql {_excerpt(text)} is wrong: {error}", "sql") from error
    except ValueError as error:
        raise BadInputError(f"sql {_excerpt(text)} is wrong: {error}", "sql") from error
    finally:
        connection.close()


def _check_reads_only(bare: str) -> None:
    """Refuse statements that change something: extensions have tables that can be written."""
    first = bare.lstrip("( \n\t").split(None, 1)[0].upper()
    outside = bare
    while _PARENTHESES.search(outside):
        outside = _PARENTHESES.sub(" ", outside)
    if not first.startswith(READING) or (first == "WITH" and _CHANGING.search(outside)):
        raise BadInputError(
            f"sql {_excerpt(bare)} does not only read: allowed are SELECT, VALUES, WITH, EXPLAIN", "sql"
        )


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "…")
