"""What differs between a folder and a server, and what becomes of it: the same steps, for a dry run too."""

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from fleet_live_queries.errors import BadInputError, ConflictError, ForbiddenError, NotFoundError
from fleet_live_queries.kept.folder import Folder
from fleet_live_queries.kept.kinds import KINDS, Kind, Members
from fleet_live_queries.kept.remote import Remote

Say = Callable[[str], object]
REFUSALS = (BadInputError, ForbiddenError, ConflictError, NotFoundError, OSError)  # of one thing; others end all
PAST = {"create": "created", "change": "changed", "delete": "deleted"}


@dataclass(frozen=True)
class Step:
    """One thing that is to be created, changed or deleted; `do` does it."""

    verb: str
    kind: Kind
    name: str
    where: str
    do: Callable[[], None]
    details: str = ""

    def told(self, *, done: bool) -> str:
        """Say it in a line."""
        verb = PAST[self.verb] if done else f"would {self.verb}"
        return f"{verb} {self.kind.name} {self.name!r}{self.details} ({self.where})"


@dataclass
class Outcome:
    """How many were what."""

    done: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PAST, 0))
    same: int = 0
    refused: int = 0

    def told(self) -> str:
        """Say it in a line."""
        parts = [f"{many} {PAST[verb]}" for verb, many in self.done.items()]
        return ", ".join([*parts, f"{self.same} the same", *([f"{self.refused} refused"] if self.refused else [])])


def pulled(folder: Folder, remote: Remote, *, prune: bool) -> tuple[list[Step], int]:
    """Give the steps that make the folder as the server is, and how many things are the same already."""
    steps: list[Step] = []
    same = 0
    for kind in remote.kinds:
        for name, known in sorted(remote.known[kind].items()):
            kept = folder.kept[kind].get(name)
            if kept is not None and kept.members == known.members:
                same += 1
                continue
            path = folder.place_of(kind, name)
            verb, details = ("create", "") if kept is None else ("change", _names(known.members, kept.members))
            steps.append(Step(verb, kind, name, str(path), partial(folder.write, path, kind, known.members), details))
        for name, kept in sorted(folder.kept[kind].items()):
            if prune and name not in remote.known[kind]:
                steps.append(Step("delete", kind, name, str(kept.path), kept.path.unlink))
    return steps, same


def pushed(folder: Folder, remote: Remote, *, prune: bool) -> tuple[list[Step], int]:
    """Give the steps that make the server as the folder is. Of a kind without a folder nothing is deleted."""
    steps: list[Step] = []
    same = 0
    for kind in KINDS:
        for name, kept in sorted(folder.kept[kind].items()):
            known = remote.known[kind].get(name)
            if known is None:
                steps.append(
                    Step("create", kind, name, str(kept.path), partial(remote.create, kind, name, kept.members))
                )
            elif known.members == kept.members:
                same += 1
            else:
                do = partial(remote.change, kind, name, _difference(kept.members, known.members))
                steps.append(Step("change", kind, name, str(kept.path), do, _names(kept.members, known.members)))
    return steps + (_deleted(folder, remote) if prune else []), same


def _deleted(folder: Folder, remote: Remote) -> list[Step]:
    return [
        Step("delete", kind, name, "only on the server", partial(remote.delete, kind, name))
        for kind in reversed(KINDS)
        if folder.has(kind)
        for name in sorted(remote.known[kind])
        if name not in folder.kept[kind]
    ]


def left_alone(folder: Folder, remote: Remote) -> Iterator[str]:
    """Say what is on the server alone, which a push without pruning leaves."""
    for kind in KINDS:
        if only := sorted(set(remote.known[kind]) - set(folder.kept[kind])):
            yield f"only on the server: {kind.name} {', '.join(map(repr, only))}"


def carried_out(steps: list[Step], same: int, say: Say, *, dry_run: bool) -> Outcome:
    """Do it, step by step; what is refused is said, and what stands beside it goes on."""
    outcome = Outcome(same=same)
    for step in steps:
        try:
            if not dry_run:
                step.do()
        except REFUSALS as error:
            outcome.refused += 1
            say(f"{step.where}: {step.kind.name} {step.name!r} is refused: {error}")
        else:
            outcome.done[step.verb] += 1
            say(step.told(done=not dry_run))
    return outcome


def differences(folder: Folder, remote: Remote) -> Iterator[str]:
    """Give the lines of what a push with pruning would change, as `diff -u` writes them."""
    for kind in remote.kinds:
        names = {*folder.kept[kind], *(remote.known[kind] if folder.has(kind) else ())}
        for name in sorted(names):
            kept, known = folder.kept[kind].get(name), remote.known[kind].get(name)
            there, here = (kind.written(one.members).splitlines() if one else [] for one in (known, kept))
            what = f"{kind.name} {name!r}"
            ours = str(kept.path) if kept else "no file"
            yield from difflib.unified_diff(there, here, f"server: {what}", f"{ours}: {what}", lineterm="")


def _difference(new: Members, old: Members) -> Members:
    return {name: value for name, value in new.items() if old[name] != value}


def _names(new: Members, old: Members) -> str:
    return f": {', '.join(_difference(new, old))}"
