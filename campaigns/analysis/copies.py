"""Columnar copies of what PostgreSQL holds, a file for each (campaign, table, version, what the person sees).

They make the second question over a million rows start at once, and are never the truth: they are written anew when
they are missed, go when their campaign goes, and the longest unused first when together they are larger than
ANALYSIS_CACHE_BYTES, but never from under a question: whoever reads one holds it. Consoles and workers of one
installation share the folder, as they do that of carves.

Answers are numbered in the order in which they are stored, and none changes: a copy of a campaign that runs is the one
before it with what came since. Names hold the last answer's host and moment, so that a copy from before the database
was restored is never taken for one of now.
"""

import fcntl
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import IO, Any
from uuid import uuid4
from zlib import crc32

from django.conf import settings
from django.db import connection

from campaigns.analysis import processes
from campaigns.analysis.sight import Sight
from campaigns.analysis.tables import Table, answers_table, hosts_table, targets_table
from campaigns.models import Campaign, Result
from fleet.counting import counted
from fleet.errors import BadInputError, FleetError, NotFoundError, UnavailableError

logger = logging.getLogger(__name__)

NAME = re.compile(
    r"(?P<campaign>\d+)\.(?P<table>[a-z]+)\.(?P<sight>[0-9a-z-]+)\.(?P<version>\d+)(-[0-9a-f]+){0,2}\.duckdb"
)
APART = "apart-"  # begins the names of copies that belong to one question
FACTS_SECONDS = 60.0  # how old facts of hosts, and states of a campaign that ended, may be
STATES_SECONDS = 1.0  # the same of states while a campaign is under way
UNFINISHED_SECONDS = 600.0  # after which a file that nobody finished is left by a process that died
SUPERSEDED_SECONDS = 60.0  # how long an older copy stays for whoever is about to open it
PIECE = 2**20
TRIES = 3  # of having a copy, each of which another process may delete before it is held

_making: dict[str, Lock] = {}  # by name, so that two people who ask at once wait for one copy
_guard = Lock()


@dataclass(frozen=True)
class Source:
    """One table of one campaign, as one person sees it."""

    campaign: Campaign
    table: str
    sight: Sight
    sight_name: str

    @property
    def stem(self) -> str:
        """Give what all versions of its copy are called by."""
        return f"{self.campaign.pk}.{self.table}.{self.sight_name}"

    def held(self) -> IO[bytes]:
        """Give the copy, open: nobody makes room of it until it is closed. Raise what writing it raises."""
        for _ in range(TRIES):
            file = _held(getattr(self, self.table)())
            if file is not None:
                return file
        raise UnavailableError(
            f"there is no room for a copy of campaign {self.campaign.pk} beside what others ask now"
            f" ({counted(settings.ANALYSIS_CACHE_BYTES, 'byte')} in all: ANALYSIS_CACHE_BYTES)"
        )

    def answers(self) -> Path:
        """Give the copy of the answers up to the campaign's last seq."""
        seq = self.campaign.last_seq
        path = folder() / self._names([seq])[seq]
        return self._copy(path, path.exists, lambda: self._write_answers(path, seq))

    def targets(self) -> Path:
        """Give the copy of the targets, a second old at most while they change."""
        age = FACTS_SECONDS if self.campaign.is_over else STATES_SECONDS
        path = folder() / f"{self.stem}.{self._states}.duckdb"
        table = partial(targets_table, self.campaign, self.sight)
        return self._copy(path, lambda: _is_younger(path, age), lambda: _write(path, table(), _part_of(path)))

    def hosts(self) -> Path:
        """Give the copy of the facts of hosts, a minute old at most."""
        path = folder() / f"{self.stem}.{self.campaign.count_targeted}.duckdb"
        table = partial(hosts_table, self.campaign, self.sight)
        return self._copy(path, lambda: _is_younger(path, FACTS_SECONDS), lambda: _write(path, table(), _part_of(path)))

    def _names(self, seqs: list[int]) -> dict[int, str]:
        """Name the copies up to each of these seqs, by what was stored under it."""
        results = Result.objects.filter(campaign_id=self.campaign.pk, seq__in=seqs)
        found = {
            seq: f"-{round(moment.timestamp() * 1e6):x}-{host_id:x}"
            for seq, moment, host_id in results.values_list("seq", "received_at", "host_id")
        }
        return {seq: f"{self.stem}.{seq}{found.get(seq, '')}.duckdb" for seq in seqs}

    def _write_answers(self, path: Path, seq: int) -> None:
        """Write the copy of the answers: an earlier one with what came since, or all of it."""
        part = _part_of(path)
        after = self._begun(part, seq)
        _write(path, answers_table(self.campaign, seq, self.sight, after), part, extends=after > 0)

    def _begun(self, part: Path, seq: int) -> int:
        """Begin with the newest earlier copy that has half of the answers at least; give up to which seq, 0 = none."""
        there = {int(name["version"]): path for path, name, _ in _files() if path.name.startswith(f"{self.stem}.")}
        earlier = {version: path for version, path in there.items() if seq <= 2 * version < 2 * seq}
        names = self._names(list(earlier))
        for version, path in sorted(earlier.items(), reverse=True):
            if path.name == names[version] and _is_copied(path, part):
                return version
        return 0

    @property
    def _states(self) -> int:
        """Number the states of the targets by their counts: another number means others."""
        counts = [self.campaign.last_seq, *(count for name, count in self.campaign.counts.items() if name != "online")]
        return crc32(json.dumps(counts).encode())

    def _copy(self, path: Path, is_there: Callable[[], bool], write: Callable[[], None]) -> Path:
        with _lock_of(path.name):
            if is_there():
                with suppress(FileNotFoundError):  # another process made room of it: it is written when it is missed
                    os.utime(path, (time.time(), path.stat().st_mtime))  # read now, written when it was
            else:
                write()
                if not Campaign.objects.filter(pk=self.campaign.pk).exists():
                    forget(self.campaign.pk)
                    raise NotFoundError(f"campaign {self.campaign.pk} was deleted meanwhile")
                keep_within(settings.ANALYSIS_CACHE_BYTES, path)
        return path


def folder() -> Path:
    """Give the folder, which nobody else may enter."""
    path = Path(settings.ANALYSIS_DIR)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _lock_of(name: str) -> Lock:
    with _guard:
        if len(_making) > 1000:
            for idle in [other for other, lock in _making.items() if not lock.locked()]:
                del _making[idle]
        return _making.setdefault(name, Lock())


def _is_younger(path: Path, seconds: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime < seconds
    except FileNotFoundError:
        return False


def written_apart(table: Table) -> Path:
    """Write a copy that belongs to one question, which deletes it."""
    path = folder() / f"{APART}{uuid4().hex}.duckdb"
    _write(path, table, _part_of(path))
    return path


# --- writing ---------------------------------------------------------------------------------------------------


def _part_of(path: Path) -> Path:
    """Give where a copy lies until it is whole."""
    return path.with_name(f"{path.name}.{uuid4().hex}.part")


def _is_copied(path: Path, part: Path) -> bool:
    """Copy a copy; say whether it was there still."""
    try:
        shutil.copyfile(path, part)
    except FileNotFoundError:
        return False
    return True


def _write(path: Path, table: Table, part: Path, *, extends: bool = False) -> None:
    """Write a copy, whole or not at all: PostgreSQL sends, another process takes in, and neither holds all of it."""
    began = time.monotonic()
    try:
        with processes.started("loader.py", settings.ANALYSIS_COPY_SECONDS) as loader:
            _send(loader, table, part, extends=extends)
        part.chmod(0o600)
        size = part.stat().st_size
        part.replace(path)
    except processes.LostError as error:
        if error.in_time:
            raise
        raise UnavailableError(
            f"copying the answers took longer than {counted(settings.ANALYSIS_COPY_SECONDS, 'second')}"
            " (ANALYSIS_COPY_SECONDS)"
        ) from error
    finally:
        part.unlink(missing_ok=True)
        part.with_name(f"{part.name}.wal").unlink(missing_ok=True)
    logger.info("copy written copy=%s bytes=%s seconds=%.1f", path.name, size, time.monotonic() - began)


def _send(loader: processes.Process, table: Table, part: Path, *, extends: bool) -> None:
    order = {
        "path": str(part),
        "extends": extends,
        "columns": table.columns,
        "shown": table.shown,
        "answers": table.answers,
        "texts": table.texts,
        "most_bytes": settings.ANALYSIS_CACHE_BYTES,
        "memory": settings.ANALYSIS_MEMORY_BYTES,
        "threads": settings.ANALYSIS_THREADS,
    }
    content = json.dumps(order).encode()
    complaint = ""
    try:
        loader.stdin.write(b"%010d" % len(content) + content)
        with connection.cursor() as cursor:
            sql = cursor.mogrify(table.sql, table.values).decode()
            cursor.copy_expert(f"COPY ({sql}) TO STDOUT (FORMAT csv, NULL '\\N')", loader.stdin, PIECE)
        loader.stdin.close()
    except BrokenPipeError:
        complaint = loader.complaint()
    if loader.wait():
        complaint = complaint or loader.complaint()
        logger.error("copy failed part=%s reason=%s", part.name, complaint)
        raise refusal(complaint)


def refusal(complaint: str) -> FleetError:
    """Say in words why a copy could not be written; the log has the rest."""
    most = settings.ANALYSIS_CACHE_BYTES
    if "File too large" in complaint:
        return BadInputError(
            f"a copy of the answers has more than {most} bytes, which is the limit (ANALYSIS_CACHE_BYTES)"
        )
    if "No space left" in complaint:
        return UnavailableError("the answers could not be copied: the disk of ANALYSIS_DIR is full")
    return UnavailableError("the answers could not be copied: the process that copies them failed; the log says how")


# --- going away ------------------------------------------------------------------------------------------------


def _files() -> Iterator[tuple[Path, re.Match[str], os.stat_result]]:
    for path in folder().iterdir():
        found = NAME.match(path.name)
        with suppress(FileNotFoundError):  # another process deleted it since the folder was read
            if found:
                yield path, found, path.stat()


def forget(campaign_id: int) -> None:
    """Delete every copy of a campaign: no copied row outlives it."""
    if not Path(settings.ANALYSIS_DIR).exists():
        return
    for path, found, _ in list(_files()):
        if int(found["campaign"]) == campaign_id:
            path.unlink(missing_ok=True)


def forget_gone() -> None:
    """Delete copies whose campaign is gone, facts and states that nobody reads any more, files that nobody finished."""
    if not Path(settings.ANALYSIS_DIR).exists():
        return
    found = list(_files())
    there = set(
        Campaign.objects.filter(pk__in={int(match["campaign"]) for _, match, _ in found}).values_list("pk", flat=True)
    )
    for path in folder().glob(f"{APART}*"):
        if not _is_younger(path, UNFINISHED_SECONDS):
            path.unlink(missing_ok=True)
    for path, match, stat in found:
        age = time.time() - stat.st_mtime
        left = path.suffix != ".duckdb" and age > UNFINISHED_SECONDS
        if int(match["campaign"]) not in there or left:
            path.unlink(missing_ok=True)
        elif match["table"] != "answers" and age > FACTS_SECONDS + SUPERSEDED_SECONDS:
            _delete_unused(path)


def keep_within(most_bytes: int, newest: Path | None = None) -> None:
    """Delete what a newer copy stands for, then the longest unused, until all fit; never the newest or what is held."""
    now, stem = time.time(), newest.name.rpartition(".duckdb")[0].rpartition(".")[0] if newest else ""
    kept: list[tuple[Path, Any]] = []
    for path, _, stat in _files():
        is_older = stem and path != newest and path.name.startswith(f"{stem}.")
        if is_older and now - max(stat.st_atime, stat.st_mtime) > SUPERSEDED_SECONDS:
            _delete_unused(path)
        elif path.suffix == ".duckdb":
            kept.append((path, stat))
    total = sum(stat.st_size for _, stat in kept)
    for path, stat in sorted(kept, key=lambda item: item[1].st_atime):
        if total <= most_bytes:
            return
        if path != newest and _delete_unused(path):
            total -= stat.st_size


def _held(path: Path) -> IO[bytes] | None:
    """Open a copy and hold it; None when it was deleted, or written anew, before it could be held."""
    with suppress(FileNotFoundError):
        file = path.open("rb")
        fcntl.flock(file, fcntl.LOCK_SH)
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
        file.close()
    return None


def _delete_unused(path: Path) -> bool:
    """Delete a copy unless somebody holds it; say whether it is gone."""
    try:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True
