"""Queries of others: Fleet's YAML (`kind: query`, GitOps, its lists) and osquery's packs. What is not taken is said."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet_live_queries.kept.kinds import QUERY, Members
from fleet_live_queries.kept.yaml_files import FileError, Lined, documents, text_of

TAKEN = ("name", "query", "description", "observer_can_run")
LABELS = "choose labels in the target of a launch"
WHY = {
    "interval": "a saved query runs when somebody asks it, or by a schedule of its own",
    "platform": "hosts that lack its tables are never asked; choose platforms in the target of a launch",
    "version": "hosts whose osquery lacks its tables are never asked",
    "min_osquery_version": "hosts whose osquery lacks its tables are never asked",
    "snapshot": "answers are always whole",
    "removed": "answers are always whole; compare two campaigns for what is gone",
    "shard": "choose a sample in the target of a launch",
    "discovery": "let a label by SQL choose the hosts",
    **dict.fromkeys(("denylist", "blacklist"), "what a host denylists it refuses here as well"),  # the older name
    "value": "write it into the description",
    "logging": "answers are kept on this server",
    "discard_data": "answers are kept on this server, as long as its settings say",
    "automations_enabled": "hooks tell programs elsewhere",
    "team": "choose labels in the target of a launch, and teams' hosts by scopes",
    "labels_include_any": LABELS,
    "labels_include_all": LABELS,
    "labels_exclude_any": LABELS,
    "path": "name that file itself",
    "paths": "name those files themselves",
}


@dataclass(frozen=True)
class Taken:
    """One query that was read."""

    path: Path
    line: int
    members: Members


class Reader:
    """Reads files of others: `taken` are the queries, `notes` say what was not taken, each with its place."""

    def __init__(self) -> None:
        self.taken: dict[str, Taken] = {}
        self.notes: list[str] = []

    def read(self, path: Path) -> None:
        """Read one file. Raise FileError."""
        before = len(self.taken), len(self.notes)
        text = text_of(path)
        if path.suffix.lower() in (".json", ".conf") or text.lstrip().startswith(("{", "//", "/*")):
            self._osquery(path, _json(path, text))
        else:
            for document in documents(path):
                self._fleet(path, document)
        if before == (len(self.taken), len(self.notes)):
            raise FileError(path, 0, "there is no query in it: Fleet's YAML and osquery's packs are read")

    # --- Fleet -------------------------------------------------------------------------------------------------

    def _fleet(self, path: Path, document: Any) -> None:
        if isinstance(document, list):
            self._fleet_list(path, document)
        elif not isinstance(document, Lined):
            raise FileError(path, 1, f"{str(document)[:60]!r} is neither a mapping nor a list")
        elif "kind" in document:
            self._fleet_kind(path, document)
        elif isinstance(document.get("queries"), Lined):
            self._osquery(path, document)
        elif "query" in document:
            self._take(path, document, document.line)
        else:
            self._gitops(path, document)

    def _fleet_kind(self, path: Path, document: Lined) -> None:
        """Take `kind: query` (a report, as Fleet calls it of late); say that others are not."""
        if document["kind"] not in ("query", "report"):
            self._note(path, document.line_of("kind"), f"kind {document['kind']!r} is not taken: only queries are")
            return
        spec = document.get("spec")
        if not isinstance(spec, Lined):
            raise FileError(path, document.line_of("kind"), "this query has no spec")
        self._take(path, spec, spec.line)

    def _fleet_list(self, path: Path, items: list[Any]) -> None:
        for item in items:
            if not isinstance(item, Lined):
                raise FileError(path, 0, f"{str(item)[:60]!r} is no query: a mapping with name and query")
            if "path" in item or "paths" in item:
                name = "path" if "path" in item else "paths"
                self._note(path, item.line, f"{name} {item[name]!r} is not taken: {WHY[name]}")
            else:
                self._fleet(path, item)

    def _gitops(self, path: Path, document: Lined) -> None:
        for name, value in document.items():
            if name in ("queries", "reports") and isinstance(value, list):
                self._fleet_list(path, value)
            elif value not in (None, [], {}):
                self._note(path, document.line_of(name), f"{name} is not taken: only queries are")

    # --- osquery -----------------------------------------------------------------------------------------------

    def _osquery(self, path: Path, pack: Any, within: str = "") -> None:
        """Take a pack, that of this name `within` a config, or the schedule and the packs of a config.

        Queries of packs are named with theirs, as osquery and Fleet name them in logs: packs have names in common.
        """
        where = f"pack {within!r}: " if within else ""
        if not isinstance(pack, dict):
            raise FileError(path, 0, f"{where or 'it'} is no pack: a mapping with queries")
        for name, value in pack.items():
            if name in ("queries", "schedule") and isinstance(value, dict):
                before = f"pack/{within or path.stem}/" if name == "queries" else ""
                for query, said in value.items():
                    self._osquery_query(path, f"{before}{query}", said, _line_of(path, query, value))
            elif name == "packs" and isinstance(value, dict):
                for one, inner in value.items():
                    self._inner_pack(path, one, inner, _line_of(path, one, value))
            else:
                why = WHY.get(name, "only queries are")
                self._note(path, _line_of(path, name, pack), f"{where}{name} is not taken: {why}")

    def _inner_pack(self, path: Path, name: str, pack: Any, line: int) -> None:
        if isinstance(pack, str):
            self._note(path, line, f"pack {name!r} is in {pack!r}, which is not taken: {WHY['path']}")
        else:
            self._osquery(path, pack, name)

    def _osquery_query(self, path: Path, name: str, said: Any, line: int) -> None:
        if not isinstance(said, dict):
            raise FileError(path, line, f"query {name!r} is no mapping with query")
        lined = Lined(line)
        lined.update({"name": name, **said})
        if isinstance(said, Lined):
            lined.lines.update(said.lines)
        self._take(path, lined, line)

    # --- both --------------------------------------------------------------------------------------------------

    def _take(self, path: Path, said: Lined, line: int) -> None:
        for name, value in said.items():
            if name not in TAKEN and value not in (None, ""):
                why = WHY.get(name, "it is not known here")
                told = f"query {said.get('name')!r}: {name} {_short(value)} is not taken: {why}"
                self._note(path, said.line_of(name), told)
        ours = Lined(line)
        for name in TAKEN:
            if name in said:
                kept = "sql" if name == "query" else name
                ours[kept], ours.lines[kept] = said[name], said.line_of(name)
        if "sql" not in ours:
            raise FileError(path, line, f"query {said.get('name')!r} has no query, which is its SQL")
        members = QUERY.read(path, ours)
        before = self.taken.get(members["name"])
        if before is not None and before.members != members:
            place = f"{before.path}:{before.line}"
            raise FileError(path, line, f"query {members['name']!r} is another one in {place}: names are given once")
        self.taken.setdefault(members["name"], Taken(path, line, members))

    def _note(self, path: Path, line: int, sentence: str) -> None:
        self.notes.append(f"{path}:{line}: {sentence}" if line else f"{path}: {sentence}")


def _short(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"


# --- JSON as osquery takes it ----------------------------------------------------------------------------------

# A text, or a comment: what looks like a comment within a text is none.
TEXT_OR_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|#[^\n]*|/\*.*?\*/', re.DOTALL)


class _Object(dict[str, Any]):
    """An object of JSON, beside which the text stands that it was in."""

    text = ""
    starts: list[int]  # of each line of the text, the line of the file


def _json(path: Path, text: str) -> Any:
    r"""Read JSON with osquery's comments, and lines that go on behind a `\`. Raise FileError with the file's line."""
    joined, starts = _joined(text)
    plain = TEXT_OR_COMMENT.sub(_without_comment, joined)

    def made(pairs: list[tuple[str, Any]]) -> _Object:
        found = _Object(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise FileError(path, 0, f"{twice!r} is there twice in one object")
        found.text, found.starts = plain, starts
        return found

    try:
        return json.loads(plain, object_pairs_hook=made)
    except json.JSONDecodeError as error:
        place = starts[min(error.lineno, len(starts)) - 1] if starts else 1
        raise FileError(path, place, f"this is no JSON: {error.msg}") from error
    except RecursionError as error:
        raise FileError(path, 0, "it is nested too deeply") from error


def _joined(text: str) -> tuple[str, list[int]]:
    r"""Join lines that end in a `\` with the next; give the text, and for each of its lines where it began before."""
    lines: list[tuple[int, str]] = []
    goes_on = False
    for number, line in enumerate(text.splitlines(), 1):
        content = line.removesuffix("\\")
        if goes_on:
            lines[-1] = (lines[-1][0], lines[-1][1] + content)
        else:
            lines.append((number, content))
        goes_on = content != line
    return "\n".join(content for _, content in lines), [number for number, _ in lines]


def _without_comment(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith('"') else "\n" * found[0].count("\n")


def _line_of(path: Path, name: str, within: Any) -> int:
    """Give the line of a member, 0 where that is not to be told."""
    if isinstance(within, Lined):
        return within.line_of(name)
    found = re.search(rf"{re.escape(json.dumps(name, ensure_ascii=False))}\s*:", within.text)
    return int(within.starts[within.text.count("\n", 0, found.start())]) if found else 0
