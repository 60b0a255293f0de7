"""`live queries pull|push|diff DIR` and `live queries import FILE…`: what is kept on the server, as files."""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from fleet_live_queries import verbs as steps
from fleet_live_queries.command.context import Context
from fleet_live_queries.command.statuses import ANSWERED, BAD_INPUT, SILENT
from fleet_live_queries.command.text import shown
from fleet_live_queries.errors import BadInputError
from fleet_live_queries.kept import changes
from fleet_live_queries.kept.changes import Step
from fleet_live_queries.kept.folder import Folder
from fleet_live_queries.kept.foreign import Reader, Taken
from fleet_live_queries.kept.kinds import KINDS, QUERY
from fleet_live_queries.kept.remote import Remote
from fleet_live_queries.steps import Request, call

NAME, HELP = (
    "queries",
    "Keep saved queries, labels by SQL and schedules as files: pull, push, diff; import those of others.",
)
DIFFERS = SILENT  # the exit status of a diff that finds something


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take what to do, and with which folder or files."""
    parser.add_argument("what", choices=tuple(WHAT), help="write files, change the server, compare, take others' files")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a folder; of import: files")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.add_argument("--prune", action="store_true", help="pull, push: delete what the other side does not have")
    parser.add_argument("--replace", action="store_true", help="import: overwrite what has the same name")
    parser.add_argument("--into", type=Path, metavar="DIR", help="import: write files there, not to the server")


def run(context: Context) -> int:
    """Do with saved queries what was asked for."""
    options = context.options
    if options.what != "import" and len(options.paths) > 1:
        raise BadInputError(f"{options.what} takes one folder, not {len(options.paths)}")
    if options.prune and options.what not in ("pull", "push"):
        raise BadInputError(f"--prune is for pull and push, not for {options.what}")
    if options.dry_run and options.what == "diff":
        raise BadInputError("--dry-run is for pull, push and import: diff changes nothing")
    if (options.replace or options.into) and options.what != "import":
        raise BadInputError(f"--replace and --into are for import, not for {options.what}")
    return WHAT[options.what](context)


def _pull(context: Context) -> int:
    path = context.options.paths[0]
    if path.exists() and not path.is_dir():
        raise BadInputError(f"{path} is no folder")
    return _carry_out(context, *changes.pulled(Folder(path), _remote(context), prune=context.options.prune))


def _push(context: Context) -> int:
    folder = _folder(context.options.paths[0])
    remote, prune = _remote(context), context.options.prune
    status = _carry_out(context, *changes.pushed(folder, remote, prune=prune))
    for sentence in () if prune else changes.left_alone(folder, remote):
        context.say(f"{sentence}; --prune deletes what no file has")
    return status


def _diff(context: Context) -> int:
    lines = list(changes.differences(_folder(context.options.paths[0]), _remote(context)))
    for line in lines:
        _write(line)
    return DIFFERS if lines else ANSWERED


def _import(context: Context) -> int:
    """Take queries of others to the server, or with `--into` into a folder, from where they are pushed."""
    reader = Reader()
    for path in context.options.paths:
        reader.read(path)
    for note in reader.notes:
        context.say(note)
    into = context.options.into
    known, keep = _kept_in(Folder(into)) if into else _kept_at(_remote(context))
    taken = [one for _, one in sorted(reader.taken.items())]
    wanted = [_step(one, known, keep) for one in taken if known.get(_name(one)) != one.members]
    if not context.options.replace:
        _refuse_others(wanted)
    return _carry_out(context, wanted, len(taken) - len(wanted))


WHAT: dict[str, Callable[[Context], int]] = {"pull": _pull, "push": _push, "diff": _diff, "import": _import}
Keep = Callable[[Taken], None]


def _kept_in(folder: Folder) -> tuple[dict[str, Any], Keep]:
    """Give what a folder has, and how it takes one more."""

    def keep(one: Taken) -> None:
        folder.write(folder.place_of(QUERY, _name(one)), QUERY, one.members)

    return {name: kept.members for name, kept in folder.kept[QUERY].items()}, keep


def _kept_at(remote: Remote) -> tuple[dict[str, Any], Keep]:
    """Give what a server has, and how it takes one more."""

    def keep(one: Taken) -> None:
        if _name(one) not in remote.known[QUERY]:
            remote.create(QUERY, _name(one), one.members)
        else:
            remote.change(QUERY, _name(one), one.members)

    return {name: known.members for name, known in remote.known[QUERY].items()}, keep


def _step(one: Taken, known: dict[str, Any], keep: Keep) -> Step:
    verb = "change" if _name(one) in known else "create"
    return Step(verb, QUERY, _name(one), f"{one.path}:{one.line}", partial(keep, one))


def _refuse_others(wanted: list[Step]) -> None:
    """Raise BadInputError when something of the same name is there that is another: nothing is taken then."""
    if others := [step for step in wanted if step.verb == "change"]:
        named = "; ".join(f"query {step.name!r} ({step.where})" for step in others)
        raise BadInputError(f"there already, and not the same: {named}. Nothing was taken; --replace overwrites them")


def _name(one: Taken) -> str:
    return str(one.members["name"])


# --- ground ----------------------------------------------------------------------------------------------------


class _Api:
    """The server, as `Remote` asks it."""

    def __init__(self, context: Context) -> None:
        self._client = context.client

    def items(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Give every item of a list."""
        return self._client.list(path, **query)

    def order(self, method: str, path: str, body: Any = None) -> Any:
        """Tell something; a change said twice does no harm."""
        return self._client.run(call(Request(method, f"{steps.API}/{path}", body=body, repeats=method == "PATCH")))


def _remote(context: Context) -> Remote:
    remote = Remote(_Api(context))
    if remote.left_out:
        context.say(f"schedules are left out: {remote.left_out}")
    return remote


def _folder(path: Path) -> Folder:
    """Read a folder that has to be there. Raise BadInputError."""
    if not path.is_dir():
        raise BadInputError(f"{path} is no folder")
    folder = Folder(path)
    if not any(map(folder.has, KINDS)):
        names = " nor ".join(kind.folder for kind in KINDS)
        raise BadInputError(f"{path} has neither {names}: it is no folder of what is kept")
    return folder


def _carry_out(context: Context, wanted: list[Step], same: int) -> int:
    dry_run = context.options.dry_run
    outcome = changes.carried_out(wanted, same, _write, dry_run=dry_run)
    _write(("dry run: " if dry_run else "") + outcome.told())
    return BAD_INPUT if outcome.refused else ANSWERED


def _write(line: str) -> None:
    sys.stdout.write(f"{shown(line)}\n")
    sys.stdout.flush()
