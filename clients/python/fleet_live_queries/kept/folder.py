"""A folder of such files: one thing each, in a folder of its kind, found by the name that stands in it."""

import hashlib
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fleet_live_queries.kept.kinds import KINDS, Kind, Members
from fleet_live_queries.kept.yaml_files import FileError, documents
from fleet_live_queries.wording import counted

ENDS = (".yml", ".yaml")
LONGEST = 120  # bytes of a file's name, before its end
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)")  # which Windows keeps for itself


@dataclass(frozen=True)
class Kept:
    """One thing, and the file it is in."""

    kind: Kind
    path: Path
    members: Members


class Folder:
    """All files below a path. Nothing is read or written outside of it, whatever links or names say."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept: dict[Kind, dict[str, Kept]] = {kind: dict(self._read(kind)) for kind in KINDS}
        self._taken = {_folded(path) for kind in KINDS for path in self._paths(kind)}

    def has(self, kind: Kind) -> bool:
        """Say whether there is a folder for this kind: without one nothing is said of it."""
        return (self.path / kind.folder).is_dir()

    def _paths(self, kind: Kind) -> list[Path]:
        root = self.path.resolve()
        found = sorted(path for path in (self.path / kind.folder).rglob("*") if path.suffix.lower() in ENDS)
        for path in found:
            if not path.resolve().is_relative_to(root):
                raise FileError(path, 0, f"it leads out of {self.path}")
        return [path for path in found if path.is_file()]

    def _read(self, kind: Kind) -> Iterator[tuple[str, Kept]]:
        seen: dict[str, Path] = {}
        for path in self._paths(kind):
            found = documents(path)
            if len(found) != 1:
                raise FileError(path, 0, f"it holds {counted(len(found), 'document')}: a file holds one {kind.name}")
            members = kind.read(path, found[0])
            name = members[kind.key]
            if name in seen:
                raise FileError(path, 0, f"{kind.name} {name!r} is in {seen[name]} as well")
            seen[name] = path
            yield name, Kept(kind, path, members)

    def place_of(self, kind: Kind, name: str) -> Path:
        """Give the file of a name: the one it is in, or a new one that no other has."""
        if (kept := self.kept[kind].get(name)) is not None:
            return kept.path
        path = self.path / kind.folder / f"{slug(name)}.yml"
        if _folded(path) in self._taken:
            path = path.with_name(f"{slug(name)}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.yml")
        self._taken.add(_folded(path))
        return path

    def write(self, path: Path, kind: Kind, members: Members) -> None:
        """Write a file, whole or not at all. Raise FileError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.parent.resolve().is_relative_to(self.path.resolve()):
                raise FileError(path, 0, f"it leads out of {self.path}")
            with tempfile.TemporaryDirectory(prefix=".new-", dir=path.parent) as beside:
                new = Path(beside) / path.name
                new.write_text(kind.written(members), encoding="utf-8", newline="\n")
                os.replace(new, path)
        except OSError as error:
            raise FileError(path, 0, f"it cannot be written: {error.strerror}") from error


def slug(name: str) -> str:
    """Give a name for a file, which no system takes for a path, a device or a hidden file: small letters, - and _."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    words = re.sub(r"[^\w]+", "-", plain).strip("-_").encode()[:LONGEST].decode(errors="ignore").strip("-_")
    return f"{words}-" if RESERVED.match(words) else words or "unnamed"


def _folded(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path)).casefold()
