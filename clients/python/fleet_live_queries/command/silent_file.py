"""The file of `--silent`: which hosts stayed silent, as `--hosts @FILE` reads them."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from fleet_live_queries.errors import BadInputError


class SilentFile:
    """A file that is open already; what it held stays until the silent hosts are known."""

    def __init__(self, name: str, file: TextIO) -> None:
        self.name, self._file = name, file
        self.is_written = False

    def write(self, targets: Iterable[dict[str, Any]]) -> int:
        """Write a line for each; give how many there were."""
        lines = [f"id:{each['host']['id']}  # {each['host']['hostname']!a} {each['state']}\n" for each in targets]
        if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            self._file.truncate(0)
        self._file.writelines(lines)
        self._file.flush()
        self.is_written = True
        return len(lines)


@contextmanager
def opened(name: str | None) -> Iterator[SilentFile | None]:
    """Open the file, so that nothing is launched where it cannot be written; a new one that was not needed goes.

    Raise BadInputError.
    """
    if name is None:
        yield None
        return
    if name == "-":
        raise BadInputError("--silent '-' is not the name of a file: stdout is for rows")
    is_new = not Path(name).exists()
    try:
        file = open(name, "a", encoding="utf-8")  # noqa: SIM115 - closed below
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadInputError(f"--silent {name!r} cannot be written: {why}") from error
    with file:
        silent = SilentFile(name, file)
        try:
            yield silent
        finally:
            if is_new and not silent.is_written:
                Path(name).unlink(missing_ok=True)
