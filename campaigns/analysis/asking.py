"""One question in SQL over answers: what it may name, the copies it needs, the process that runs it, its answer."""

import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore
from typing import IO, Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User

from campaigns.analysis import processes
from campaigns.analysis.copies import Source, keep_within, written_apart
from campaigns.analysis.sight import Sight, sight_of
from campaigns.analysis.tables import Table
from campaigns.models import Campaign
from fleet.counting import counted, plural
from fleet.errors import BadInputError, NotFoundError, TooManyError, UnavailableError
from fleet.text import is_text

logger = logging.getLogger(__name__)

MOST_SQL_BYTES = 64 * 2**10
START_SECONDS = 30.0  # for Python and the engine to be there; a machine may be busy
GRACE_SECONDS = 2.0  # for the process to obey, after its time; then it is killed
MOST_CAMPAIGNS = 20
NAMED = re.compile(r"campaign_(\d{1,18})\b|\banswers_of\s*\(\s*(\d{1,18})\s*\)", re.IGNORECASE)
MISSING = re.compile(r'Table with name "?campaign_([^" ]*)"? does not exist')
NO_TABLE = re.compile(r"(Table with name .* does not exist)!( Did you mean .*)?")  # tables of the engine's own
NO_EXTENSION = re.compile(r"is not in the catalog, but it exists in the (\w+) extension\. .*")
NO_SETTING = re.compile(r" Use \"SET .*$")
LISTING = r"show|information_schema|duckdb_\w+"  # what lists tables
OFFERED = "answers, targets, hosts, campaign_ID and answers_of(ID)"

_at_once = BoundedSemaphore(settings.ANALYSES_AT_ONCE)


@dataclass(frozen=True)
class Limits:
    """How much one question may take and give; 0 = no limit for rows or bytes."""

    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0


@dataclass
class Answer:
    """What came of it: columns with their types, rows, and whether there are more."""

    columns: list[dict[str, str]] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    truncated: bool = False
    took_ms: int = 0

    def as_json(self, last_seq: int) -> dict[str, Any]:
        """Give it as the API shows it; `last_seq`: up to which seq answers were looked at."""
        return {
            "columns": self.columns,
            "rows": self.rows,
            "truncated": self.truncated,
            "took_ms": self.took_ms,
            "as_of_seq": last_seq,
        }


def limits_of_people() -> Limits:
    """Give the limits of what people ask."""
    return Limits(settings.ANALYSIS_MAX_ROWS, settings.ANALYSIS_MAX_BYTES, settings.ANALYSIS_SECONDS)


def ask(campaign: Campaign, sql: str, by: User | AnonymousUser) -> Answer:
    """Run a person's SQL over the answers of a campaign. Raise a FleetError."""
    check_text(sql)
    tables = Tables(sight_of(by))
    tables.add_named(whole(campaign), sql, by)
    return answer(sql, tables, limits_of_people())


def whole(campaign: Campaign) -> Campaign:
    """Give the campaign itself where it is a copy for who sees a part: places of columns are those of all."""
    found = Campaign.objects.filter(pk=campaign.pk).first() if campaign.limits else campaign
    if found is None:
        raise NotFoundError(f"campaign {campaign.pk} was deleted meanwhile")
    return found


def check_text(sql: str) -> None:
    """Raise BadInputError for what is no SQL of a size that is read."""
    if not is_text(sql):
        raise BadInputError("sql holds a NUL or a lone surrogate, which no text has", "sql")
    if len(sql.encode()) > MOST_SQL_BYTES:
        raise BadInputError(f"sql has {len(sql.encode())} bytes, allowed are {MOST_SQL_BYTES}", "sql")


def named_in(sql: str) -> set[int]:
    """Give the numbers of the campaigns that the SQL may name."""
    return {int(first or second) for first, second in NAMED.findall(sql)}


class Tables:
    """The tables of one question: which copies they lie in. Nothing is copied before the SQL is known to be well."""

    def __init__(self, sight: Sight, offered: str = OFFERED) -> None:
        self.offered = offered  # which tables a person may name
        self.hint = ""  # said beside a column that is not there
        self._sight = sight
        self._answers: dict[str, Campaign] = {}
        self._plain: dict[str, tuple[Campaign, str]] = {}
        self._prepare: list[str] = []
        self._names: dict[int, str] = {}
        self._apart: dict[str, tuple[Table, Sequence[str]]] = {}
        self._files: list[Path] = []
        self._held: list[IO[bytes]] = []

    def add_named(self, campaign: Campaign, sql: str, by: User | AnonymousUser) -> None:
        """Add what the SQL may mean: more than it does, since names also stand in texts and comments."""
        self.add_others(sql, by)
        if campaign.pk in named_in(sql):
            self.add_answers(f"campaign_{campaign.pk}", campaign)
        for name in ("answers", "targets", "hosts"):
            if re.search(rf"\b({name}|{LISTING})\b", sql, re.IGNORECASE):
                self.add(name, campaign)

    def add_others(self, sql: str, by: User | AnonymousUser) -> None:
        """Add the campaigns that the SQL names, as far as the person may look at them."""
        others = Campaign.objects.visible_to(by).filter(pk__in=named_in(sql))
        if len(others) > MOST_CAMPAIGNS:
            raise BadInputError(f"the SQL names {len(others)} campaigns, allowed are {MOST_CAMPAIGNS}", "sql")
        for other in others:
            self.add_answers(f"campaign_{other.pk}", other)

    def add(self, table: str, campaign: Campaign) -> None:
        """Add a table under its own name."""
        if table == "answers":
            self.add_answers(table, campaign)
        else:
            self.add_plain(table, campaign, table)

    def add_answers(self, name: str, campaign: Campaign) -> None:
        """Add the answers of a campaign under a name."""
        if not campaign.columns:
            self.hint = f"; {name} has no columns of answers yet: they come with the first row"
        self._answers[name] = campaign

    def add_plain(self, name: str, campaign: Campaign, table: str) -> None:
        """Add a table of a campaign under a name, as it was copied."""
        self._plain[name] = (campaign, table)

    def add_apart(self, name: str, table: Table, ours: Sequence[str]) -> None:
        """Add a table of several campaigns: its copy lasts as long as the question. `ours` stand before the answers."""
        self._apart[name] = (table, ours)

    def close(self) -> None:
        """Delete what was copied for this question alone, and let go of what was not."""
        while self._files:
            self._files.pop().unlink(missing_ok=True)
        if self._held:
            while self._held:
                self._held.pop().close()
            keep_within(settings.ANALYSIS_CACHE_BYTES)

    def _copied_apart(self, copies: dict[str, str]) -> dict[str, tuple[str, Sequence[str]]]:
        for name, (table, _) in self._apart.items():
            self._files.append(written_apart(table))
            copies[f"{name}_copy"] = str(self._files[-1])
        return {name: (f"{name}_copy", ours) for name, (_, ours) in self._apart.items()}

    def forget_copies(self) -> None:
        """Delete the copies, one of which cannot be read: whoever asks next has them written anew."""
        for file in self._held:
            Path(file.name).unlink(missing_ok=True)

    def copied(self) -> dict[str, Any]:
        """Have copies of all of it; give what the process is told."""
        copies: dict[str, str] = {}
        answers = {name: self._copied_answers(campaign, copies) for name, campaign in self._answers.items()}
        plain = {name: self._copied(campaign, table, copies) for name, (campaign, table) in self._plain.items()}
        apart = self._copied_apart(copies)
        size = sum(os.fstat(file.fileno()).st_size for file in self._held)
        if size > settings.ANALYSIS_CACHE_BYTES:
            raise BadInputError(
                f"the tables that the SQL names have {counted(size, 'byte')} as copies, {settings.ANALYSIS_CACHE_BYTES}"
                " are the most (ANALYSIS_CACHE_BYTES): name fewer campaigns",
                "sql",
            )
        return {"copies": copies, "answers": answers, "plain": plain, "apart": apart, "prepare": self._prepare}

    def prepare(self, *statements: str) -> None:
        """Run statements of ours before the question; never a person's."""
        self._prepare += statements

    def _copied_answers(self, campaign: Campaign, copies: dict[str, str]) -> tuple[str, str]:
        return self._copied(campaign, "answers", copies), self._copied(campaign, "hosts", copies)

    def _copied(self, campaign: Campaign, table: str, copies: dict[str, str]) -> str:
        alias = f"{table}_copy_{campaign.pk}"
        if alias not in copies:
            name = self._names.setdefault(campaign.pk, "") or self._sight.name_for(campaign.pk)
            self._names[campaign.pk] = name
            source = Source(campaign, table, self._sight, name)
            self._held.append(source.held())
            copies[alias] = self._held[-1].name
        return alias


# --- running ---------------------------------------------------------------------------------------------------


def answer(sql: str, tables: Tables, limits: Limits) -> Answer:
    """Run one SELECT over these tables, and give all of its answer."""
    return answers([sql], tables, limits)[0]


def answers(sql: list[str], tables: Tables, limits: Limits) -> list[Answer]:
    """Run several, one after the other in one process."""
    began = time.monotonic()
    found: list[Answer] = []
    with running(sql, tables, limits) as messages:
        for message in messages:
            if isinstance(message, list):
                found[-1].rows += message
            elif "columns" in message:
                found.append(Answer(columns=message["columns"]))
            else:
                found[-1].truncated = message["truncated"]
    for each in found:
        each.took_ms = round((time.monotonic() - began) * 1000)
    logger.info("analysis done rows=%s took_ms=%s", sum(len(each.rows) for each in found), found[0].took_ms)
    return found


def check(sql: str, by: User | AnonymousUser) -> None:
    """Raise BadInputError unless the SQL is one SELECT that is run here; of what tables it is, nobody looks."""
    check_text(sql)
    tables = Tables(sight_of(by))
    with _process() as worker, _in_time(limits_of_people().seconds):
        _begin(worker, [sql], tables, limits_of_people())


@contextmanager
def running(sql: list[str], tables: Tables, limits: Limits) -> Iterator[Iterator[Any]]:
    """Run SELECTs; give what the process says, as it says it: columns, lists of rows, whether there are more."""
    try:
        with _process() as worker:
            yield _messages(worker, sql, tables, limits)
    finally:
        tables.close()


@contextmanager
def _process() -> Iterator[processes.Process]:
    """Start a process when it is its turn. Raise TooManyError when that takes long."""
    if not _at_once.acquire(timeout=settings.ANALYSIS_WAIT_SECONDS):
        raise TooManyError(
            f"{settings.ANALYSES_AT_ONCE} analyses are running, which is the most at once (ANALYSES_AT_ONCE): try again"
            " in a moment",
            wait=settings.ANALYSIS_WAIT_SECONDS,
        )
    try:
        with processes.started("worker.py", START_SECONDS) as worker:
            yield worker
    finally:
        _at_once.release()


def _messages(worker: processes.Process, sql: list[str], tables: Tables, limits: Limits) -> Iterator[Any]:
    seconds = limits.seconds or settings.ANALYSIS_SECONDS
    with _in_time(seconds):
        _begin(worker, sql, tables, limits)
        told = tables.copied()
        worker.extend(time.monotonic() + seconds + GRACE_SECONDS)
        worker.send(told)
        while "done" not in (message := _said(worker.line(), sql[0], seconds, tables)):
            yield message


def _begin(worker: processes.Process, sql: list[str], tables: Tables, limits: Limits) -> None:
    """Tell the process what is asked; it has looked at the SQL when this comes back."""
    seconds = limits.seconds or settings.ANALYSIS_SECONDS
    worker.send(
        {
            "sql": sql,
            "memory": settings.ANALYSIS_MEMORY_BYTES,
            "threads": settings.ANALYSIS_THREADS,
            "seconds": seconds,
            "cpu_seconds": int((seconds + GRACE_SECONDS) * settings.ANALYSIS_THREADS) + 2,
            "most_rows": limits.rows,
            "most_bytes": limits.bytes,
        }
    )
    _said(worker.line(), sql[0], seconds, tables)


@contextmanager
def _in_time(seconds: float) -> Iterator[None]:
    try:
        yield
    except processes.LostError as error:
        raise _too_long(seconds) if not error.in_time else _too_much() from error


def _said(message: Any, sql: str, seconds: float, tables: Tables) -> Any:
    """Give what the process says. Raise what went wrong there."""
    if message is None:
        raise _too_much()  # the engine answers for what it cannot get; a process that dies had no room even for that
    if not isinstance(message, dict) or "error" not in message:
        return message
    if message["kind"] == "time":
        raise _too_long(seconds)
    if message["kind"] == "memory":
        raise _too_much()
    if message["kind"] == "copy":
        tables.forget_copies()
        raise UnavailableError("a copy of the answers cannot be read and is written anew: try again")
    raise BadInputError(_sentence(message["error"], sql, message.get("position"), tables), "sql")


def _too_long(seconds: float) -> BadInputError:
    return BadInputError(
        f"the SQL ran longer than {seconds:g} {plural(seconds, 'second')}, which is the limit (ANALYSIS_SECONDS)", "sql"
    )


def _too_much() -> BadInputError:
    return BadInputError(
        f"the SQL needs more than {settings.ANALYSIS_MEMORY_BYTES // 2**20} MiB of memory, which is the limit"
        " (ANALYSIS_MEMORY_BYTES): narrow it with WHERE, or group earlier",
        "sql",
    )


def _sentence(text: str, sql: str, position: int | None, tables: Tables) -> str:
    """Give the engine's sentence with its place in the SQL."""
    sentence = " ".join(text.split())
    if missing := MISSING.search(sentence):
        if f"campaign_{missing[1]}" not in sql.lower() and missing[1] not in map(str, named_in(sql)):
            return "answers_of takes the number of a campaign as it is written, as in answers_of(12)"
        return f"campaign {missing[1]} does not exist, or you may not look at it"
    if no_table := NO_TABLE.fullmatch(sentence):
        sentence = f"{no_table[1]}, there are {tables.offered}"
    if "not found in FROM clause" in sentence:
        sentence += tables.hint
    sentence = NO_EXTENSION.sub(r"is of the extension \1, and none is loaded here", NO_SETTING.sub("", sentence))
    if position is None or position > len(sql.encode()):
        return sentence
    before = sql.encode()[:position].decode(errors="replace")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return f"{sentence} (line {line}, character {column})"
