"""Check SQL before anything is sent, with SQLite itself, the engine that osquery is made of.

`check` needs no schema: what SQLite says of tables, columns and functions it does not have is left to `trouble_on`,
which asks again with the tables that hosts of one kind told of, and with osquery's own functions.
"""

import re
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple, cast

import apsw

from agents.models import TableSchema
from fleet.errors import BadInputError

MAX_SQL_BYTES = 64 * 1024
READING = ("SELECT", "VALUES", "EXPLAIN", "WITH")
CHANGING = ("INSERT", "UPDATE", "DELETE", "REPLACE")
PRAGMAS = "; what a PRAGMA tells is a table as well, as in SELECT * FROM pragma_table_info('processes')"
CODE_LOADING = ("fts3_tokenizer", "load_extension")  # functions of SQLite by which SQL brings code into the agent
CARVES = frozenset({"carve", "carves"})  # what carving takes of the restricted tables and functions
NO_VIEWS: Mapping[str, str] = {}
SCHEMAS_KEPT = 64  # databases with the tables of one kind of host, 100 to 300 KB each

# What SQLite says of things that only the hosts know.
_UNKNOWN_HERE = re.compile(r"no such (table|column|function|module|collation)|wrong number of arguments")
_WRONG_NUMBER = re.compile(r"wrong number of arguments to function (.*?)\(\)")
# SQLite's own rules of where a token ends (tokenize.c); nothing is tried twice, so it takes as long as the text is.
_TOKEN = re.compile(
    r"""(?P<comment> --[^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<text> '[^']*(?:''[^']*)*(?:'|\Z) )
    | (?P<name> "[^"]*(?:""[^"]*)*(?:"|\Z) | `[^`]*(?:``[^`]*)*(?:`|\Z) | \[[^\]]*(?:\]|\Z) )
    | (?P<word> (?!\ufeff)[\w$\u0080-\U0010ffff]+ )
    | (?P<mark> [^\s\ufeff] )""",
    re.X | re.S | re.A,
)

# Functions that osquery 5.23 adds to SQLite (osquery/sql/sqlite_*.cpp), for kinds of host that have not told theirs.
FALLBACK_FUNCTIONS = (
    *("acos", "asin", "atan", "carve", "ceil", "community_id_v1", "community_id_v1_strict", "concat", "concat_ws"),
    *("conditional_to_base64", "cos", "cot", "degrees", "exp", "find_file_path_in_cmd", "floor", "from_base64"),
    *("in_cidr_block", "inet_aton", "is_path_deterministic", "log", "log10", "md5", "parent_directory", "pi", "power"),
    *("radians", "regex_match", "regex_split", "sha1", "sha256", "sin", "soundex", "split", "sqrt", "ssdeep_compare"),
    *("tan", "to_base64", "version_compare"),
)
# Collations cannot be asked for by SQL that osquery runs.
OSQUERY_COLLATIONS = ("version", "version_arch", "version_dpkg", "version_rhel")


class Checked(NamedTuple):
    """SQL that may be sent, and why it needs a permission of its own, in sentences; none = it needs none."""

    text: str
    restricted: list[str]
    only_carves: bool  # it needs that for carving alone


class Trouble(NamedTuple):
    """What SQLite says of a text, and where, as people count: lines and columns from 1, 0 = it does not say."""

    sentence: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.sentence} (line {self.line}, column {self.column})" if self.line else self.sentence


class WrongSqlError(BadInputError):
    """SQL is wrong on every host, whatever tables it has; `trouble` says what and where."""

    def __init__(self, sentence: str, trouble: Trouble) -> None:
        super().__init__(sentence, "sql")
        self.trouble = trouble


class Token(NamedTuple):
    """A word, a mark, a text in '…' or a name in other quotes; what is in quotes is given without them."""

    kind: str
    content: str
    start: int
    end: int

    def says(self, *words: str) -> bool:
        """Say whether it is one of these keywords; in quotes it is none."""
        return self.kind == "word" and self.content.upper() in words


class Statement(NamedTuple):
    """One statement, where it starts in the whole text, and its tokens; comments are none."""

    text: str
    start: int
    tokens: list[Token]

    @property
    def is_explained(self) -> bool:
        """Say whether it asks how SQLite would go about it."""
        return self.tokens[0].says("EXPLAIN")

    @property
    def verb(self) -> str:
        """Give the keyword that says what it does: behind WITH and EXPLAIN, which do nothing by themselves."""
        tokens = self.tokens
        if self.is_explained:
            tokens = tokens[3 if len(tokens) > 1 and tokens[1].says("QUERY") else 1 :]
        first = tokens[0].content.upper() if tokens else ""
        return first if first != "WITH" else _behind_with(tokens) or first

    def without(self, text: str) -> "Statement":
        """Give the statement with a blob in place of this text, wherever it has it."""
        changed, ends = "", 0
        for token in self.tokens:
            if token.kind == "text" and token.content.lower() == text:
                changed, ends = f"{changed}{self.text[ends : token.start]}x''", token.end
        return self._replace(text=changed + self.text[ends:])


def _behind_with(tokens: list[Token]) -> str:
    """Give the first word that follows the parentheses of a WITH; AS follows the names of columns."""
    depth, before = 0, ""
    for token in tokens:
        if not depth and before == ")" and token.kind == "word" and not token.says("AS"):
            return token.content.upper()
        before = token.content if token.kind == "mark" else ""
        depth += {"(": 1, ")": -1}.get(before, 0)
    return ""


def check(sql: str, restricted_tables: Collection[str] = (), views: Mapping[str, str] = NO_VIEWS) -> Checked:
    """Give the SQL to send, without outer blanks. Raise BadInputError with SQLite's sentence and the place.

    `views` are those that hosts have, in small letters, with the SQL behind them: it reads what they read.
    """
    text = sql.strip()
    if len(text.encode()) > MAX_SQL_BYTES:
        raise BadInputError(f"sql has {len(text.encode())} bytes, allowed are {MAX_SQL_BYTES}", "sql")
    if "\0" in text:
        raise BadInputError("sql holds a NUL character", "sql")
    statements = list(_statements(text))
    if not statements:
        raise BadInputError(f"sql {excerpt(text)} is empty: there is nothing to ask", "sql")
    with _connection() as connection:
        for statement in statements:
            error = _prepare(connection, text, statement)
            if error is not None and not _UNKNOWN_HERE.search(error.sentence):
                raise WrongSqlError(f"sql {excerpt(text)} is wrong: {error}", error)
        _refuse_several(text, statements)
        names = _restricted_names(connection, statements[0], restricted_tables, views)
        restricted = [*_not_only_reading(statements[0]), *map(_why_restricted, names)]
    return Checked(text, restricted, only_carves=0 < len(restricted) == len(names) and CARVES.issuperset(names))


def _refuse_several(text: str, statements: list[Statement]) -> None:
    if len(statements) < 2:
        return
    line, column = _place(text, statements[1].start + statements[1].tokens[0].start, 0)
    raise WrongSqlError(
        f"sql {excerpt(text)} has {len(statements)} statements, the second one at line {line}, column {column}: osquery"
        " explains the whole text as one to learn its columns, so that several fail or lose columns; send one"
        " statement",
        Trouble("a second statement begins here: send one statement", line, column),
    )


def changes(text: str) -> bool:
    """Say whether checked SQL writes: into tables of extensions, say."""
    return next(_statements(text)).verb in CHANGING


def tables_named(text: str, tables: Collection[str], views: Mapping[str, str] = NO_VIEWS) -> list[str]:
    """Give which of these tables checked SQL may mean, in order of name: more than it does rather than less."""
    statement = next(_statements(text))
    return sorted(set(_named(_connection(), statement, {name.lower() for name in tables}, views)))


def trouble_on(text: str, schema: TableSchema | None) -> str | None:
    """Give what SQLite finds wrong on hosts of one kind, and where; None when they can run it, as far as is known."""
    trouble = find_trouble(text, schema)
    return None if trouble is None else str(trouble)


def find_trouble(text: str, schema: TableSchema | None) -> Trouble | None:
    """Give the same, with the place apart. Without a schema they have not told their tables."""
    if schema is None:
        return _trouble_of_changing_any(text)
    database = _database_for(schema, "all")
    with database.lock:
        for statement in _statements(text):
            error = _prepare(database.connection, text, statement)
            if error is not None:
                return error._replace(sentence=_as_hosts_say(error.sentence, schema))
            if statement.verb in CHANGING and (table := _changed_table(database.connection, statement)):
                return _trouble_of_changing(table, statement.verb, schema)
    return None


def _trouble_of_changing_any(text: str) -> Trouble | None:
    """Say that SQL changes a table that some hosts have as osquery's own: no host has it from an extension then."""
    if not changes(text):
        return None
    statement = next(_statements(text))
    for schema in TableSchema.objects.filter(extensions="").exclude(learned_at=None).defer("tables"):
        database = _database_for(schema, "all")
        with database.lock:
            if table := _changed_table(database.connection, statement):
                return _only_read(table, statement.verb)
    return None


def _changed_table(connection: apsw.Connection, statement: Statement) -> str:
    """Give the table that a statement changes, which SQLite tells whoever may forbid it; "" = it tells none."""
    changed = ""

    def note(action: int, table: str | None, *_: Any) -> int:
        nonlocal changed
        if action in (apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE):
            changed = table or ""
        return _no_pragma(action)

    connection.authorizer = note
    try:
        _prepare(connection, statement.text, statement)
    finally:
        connection.authorizer = _no_pragma
    return changed


def _trouble_of_changing(table: str, verb: str, schema: TableSchema) -> Trouble | None:
    """Say that a table takes no changes: osquery lets SQL change tables, but only extensions make any that take it.

    Which tables are an extension's no host tells; those are not that hosts without extensions have as well.
    """
    if schema.extensions and not _has_own_table(schema.platform, table):
        return None
    return _only_read(table, verb)


def _only_read(table: str, verb: str) -> Trouble:
    return Trouble(f"{verb} is for tables of extensions: {table} is one of osquery's own, which are only read")


def _has_own_table(platform: str, table: str) -> bool:
    plain = TableSchema.objects.filter(platform=platform, extensions="").exclude(learned_at=None)
    return plain.filter(tables__has_key=table).exists()


def repeated_columns(text: str, schema: TableSchema | None) -> list[str]:
    """Name the columns that the result has more than once, of which osquery keeps one, on hosts of one kind.

    Without a schema, only what can be said without tables.
    """
    statement = next(_statements(text))
    if statement.is_explained:
        return []
    if schema is None:
        return _repeated(_connection(), statement)
    for columns in ("shown", "all"):  # * means the shown columns alone; hidden ones can be asked for by name
        database = _database_for(schema, columns)
        with database.lock:
            if _prepare(database.connection, text, statement) is None:
                return _repeated(database.connection, statement)
    return []


def _repeated(connection: apsw.Connection, statement: Statement) -> list[str]:
    names: list[str] = []

    def note(cursor: apsw.Cursor, *_: Any) -> bool:
        names.extend(str(column[0]) for column in cursor.get_description())
        return False  # prepared is enough

    cursor = connection.cursor()
    cursor.exec_trace = note
    with suppress(apsw.Error):  # that it is wrong is said by who checks it; here it has no columns
        cursor.execute(statement.text)
    return [name for name, many in Counter(names).items() if many > 1]


class _Database(NamedTuple):
    """What launches share; a connection of SQLite serves one thread at a time."""

    connection: apsw.Connection
    lock: threading.Lock


def _database_for(schema: TableSchema, columns: str) -> _Database:
    return _database_of(schema.pk, schema.learned_at and schema.learned_at.timestamp(), len(schema.functions), columns)


@lru_cache(maxsize=SCHEMAS_KEPT)
def _database_of(schema_id: int, _learned_at: float | None, _functions: int, columns: str) -> _Database:
    """Make an empty database with tables and functions of one kind of host; made anew when they are learned anew."""
    connection = _connection()
    schema = TableSchema.objects.get(pk=schema_id)
    for table, listed in schema.tables.items():
        kept = [column for column in listed if columns == "all" or not column[2]] or listed
        names = ", ".join(f"{_quoted(name)} {_quoted(kind)}" for name, kind, _ in kept)
        connection.execute(f"CREATE TABLE IF NOT EXISTS {_quoted(table)} ({names})")
    _give_functions(connection, schema.functions)
    for name in OSQUERY_COLLATIONS:
        connection.create_collation(name, _never_run)
    return _Database(connection, threading.Lock())


def _give_functions(connection: apsw.Connection, learned: Sequence[Sequence[Any]]) -> None:
    """Let the connection know the functions that hosts told of, and no other; without any, osquery's of our list."""
    if not learned:
        for name in FALLBACK_FUNCTIONS:
            connection.create_scalar_function(name, _never_run, -1)
        return
    own = _own_functions()
    for name, arguments, kind in learned:
        if name.lower() not in own:
            _create_function(connection, name, arguments, kind)
    for name in own - {str(name).lower() for name, *_ in learned}:
        # One that takes any number of arguments hides SQLite's own of that name, and then goes away and hides it still.
        connection.create_scalar_function(name, _never_run, -1)
        connection.create_scalar_function(name, None, -1)


@lru_cache(maxsize=1)
def _own_functions() -> frozenset[str]:
    """Name the functions of the SQLite that checks; it may be newer or older than that of hosts."""
    listed = apsw.Connection(":memory:").execute("SELECT name FROM pragma_function_list")
    return frozenset(str(row[0]).lower() for row in listed)


def _create_function(connection: apsw.Connection, name: str, arguments: int, kind: str) -> None:
    many = arguments if -1 <= arguments <= 127 else -1
    if kind == "w":
        connection.create_window_function(name, cast(Any, _never_run), many)
    elif kind == "a":
        connection.create_aggregate_function(name, cast(Any, _never_run), many)
    else:
        connection.create_scalar_function(name, _never_run, many)


def _as_hosts_say(error: str, schema: TableSchema) -> str:
    """Say of a function that was taken away here that there is none: SQLite still remembers its name."""
    found = _WRONG_NUMBER.match(error)
    if found and schema.functions and found[1].lower() not in {str(name).lower() for name, *_ in schema.functions}:
        return f"no such function: {found[1]}{error[found.end() :]}"
    return error


def _connection() -> apsw.Connection:
    """Open an empty database that runs no PRAGMA: some act while they are prepared, and on the whole process."""
    connection = apsw.Connection(":memory:")
    connection.authorizer = _no_pragma
    return connection


def _no_pragma(action: int, *_: Any) -> int:
    return apsw.SQLITE_DENY if action == apsw.SQLITE_PRAGMA else apsw.SQLITE_OK


def _never_run(*_: Any) -> int:
    raise NotImplementedError("SQL is prepared here, never run")


def _prepare(connection: apsw.Connection, text: str, statement: Statement) -> Trouble | None:
    """Let SQLite parse one statement; give its sentence, and where in the whole text, when it refuses.

    Raise what says nothing of the SQL: that memory is short, say.
    """
    statement_text = statement.text
    explained = statement_text if statement.is_explained else f"EXPLAIN {statement_text}"
    try:
        connection.execute(explained)
    except apsw.AuthError:
        return None  # a PRAGMA, which its verb refuses
    except (apsw.SQLError, apsw.BindingsError, apsw.TooBigError) as error:
        sentence = str(error).partition(": ")[2] if str(error).startswith("SQLError: ") else str(error)
        place = getattr(error, "error_offset", -1) - (len(explained.encode()) - len(statement_text.encode()))
        if sentence == "incomplete input":
            place = len(statement_text.encode())
        return Trouble(sentence) if place < 0 else Trouble(sentence, *_place(text, statement.start, place))
    return None


def _place(text: str, start: int, offset: int) -> tuple[int, int]:
    """Say where a byte of a statement stands, as people count: lines and columns from 1."""
    before = text[:start] + text[start:].encode()[:offset].decode(errors="ignore")
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _statements(text: str) -> Iterator[Statement]:
    """Split a text where semicolons end statements; those that say nothing are left out."""
    start, tokens = 0, []
    for token in _tokens(text):
        if (token.kind, token.content) != ("mark", ";"):
            tokens.append(token._replace(start=token.start - start, end=token.end - start))
            continue
        if tokens:
            yield Statement(text[start : token.start], start, tokens)
        start, tokens = token.end, []
    if tokens:
        yield Statement(text[start:], start, tokens)


def _tokens(text: str) -> Iterator[Token]:
    for found in _TOKEN.finditer(text):
        kind, content = str(found.lastgroup), found[0]
        if kind in ("text", "name"):
            mark = {"[": "]"}.get(content[0], content[0])
            content = content[1:].removesuffix(mark).replace(mark * 2, mark)
        if kind != "comment":
            yield Token(kind, content, *found.span())


def _not_only_reading(statement: Statement) -> Iterator[str]:
    if statement.verb in CHANGING:
        yield f"sql {excerpt(statement.text.strip())} does not only read"
    elif statement.verb not in READING:
        allowed = f"{', '.join(READING)}{PRAGMAS if statement.verb == 'PRAGMA' else ''}"
        raise BadInputError(f"sql {excerpt(statement.text.strip())} does not only read: allowed are {allowed}", "sql")


def _restricted_names(
    connection: apsw.Connection, statement: Statement, tables: Collection[str], views: Mapping[str, str]
) -> list[str]:
    restricted = {name.lower() for name in tables}.union(CODE_LOADING)
    return sorted(set(_named(connection, statement, restricted, views)))


def _why_restricted(name: str) -> str:
    why = "loads code into the agent" if name in CODE_LOADING else "is one of RESTRICTED_TABLES"
    return f"sql uses {name!r}, which {why}"


def _named(
    connection: apsw.Connection, statement: Statement, tables: set[str], views: Mapping[str, str]
) -> Iterable[str]:
    """Give which of these tables and functions a statement may mean, by itself and through views."""
    looked_at: set[str] = set()
    left = [statement]
    while left:
        one = left.pop()
        yield from _named_by_itself(connection, one, tables)
        for view in set(_named_by_itself(connection, one, views.keys() - looked_at)):
            looked_at.add(view)
            left += _statements(views[view])


def _named_by_itself(connection: apsw.Connection, statement: Statement, tables: set[str]) -> Iterable[str]:
    """Give which of these names a statement may mean: more than it does rather than less."""
    for kind in ("word", "name", "text"):
        for table in tables & {token.content.lower() for token in statement.tokens if token.kind == kind}:
            if kind != "text" or _is_name(connection, statement, table):
                yield table


def _is_name(connection: apsw.Connection, statement: Statement, text: str) -> bool:
    """Say whether a text is a name where it stands, as in FROM 'curl'. A blob can stand for values alone."""
    trouble = _prepare(connection, statement.text, statement.without(text))
    return trouble is not None and "syntax error" in trouble.sentence


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def excerpt(text: str) -> str:
    """Quote SQL in a sentence, shortened."""
    return repr(text if len(text) <= 60 else text[:57] + "…")
