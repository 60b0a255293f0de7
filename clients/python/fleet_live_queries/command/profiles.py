"""Which servers somebody knows: a file of the person's own, mode 0600, in the XDG config folder. Tokens stay in it."""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fleet_live_queries.errors import BadInputError

DEFAULT = "default"
AGAIN = "take it out, or delete the file and `live login` again"


@dataclass(frozen=True)
class Profile:
    """One server and who asks it."""

    url: str = ""
    token: str = ""
    ca: str = ""

    def __repr__(self) -> str:
        """Give what may be printed."""
        return f"Profile(url={self.url!r}, ca={self.ca!r})"


def path() -> Path:
    """Give where the file is."""
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "fleet-live-queries" / "profiles.json"


def names() -> list[str]:
    """Give the names of the profiles that are there."""
    return sorted(_read())


def profile(name: str | None) -> Profile:
    """Give a profile by its name, or the default one. Raise BadInputError when a named one is not there."""
    known = _read()
    wanted = name or os.environ.get("FLEET_PROFILE") or ""
    if not wanted:
        return known.get(DEFAULT) or (next(iter(known.values())) if len(known) == 1 else Profile())
    if wanted not in known:
        there = ", ".join(sorted(known)) or "none yet: `live login --profile NAME` makes one"
        raise BadInputError(f"unknown profile: {wanted!r}; there are {there}")
    return known[wanted]


def keep(name: str, new: Profile) -> Path:
    """Write a profile, beside those that are there: whole or not at all, for this person alone."""
    known = {**_read(), name: new}
    place = path()
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = place.with_suffix(f".{os.getpid()}")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({each: asdict(found) for each, found in known.items()}, file, indent=1)
    beside.replace(place)
    return place


def exposed() -> str:
    """Say that others can read the tokens; "" = they cannot, as far as the file's mode tells."""
    try:
        mode = path().stat().st_mode
    except OSError:
        return ""
    return f"others can read the tokens in {path()}: chmod 600 it" if os.name == "posix" and mode & 0o077 else ""


def _read() -> dict[str, Profile]:
    place = path()
    try:
        kept = json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadInputError(f"the file of profiles {str(place)!r} cannot be read: {why}") from error
    if not isinstance(kept, dict):
        raise BadInputError(f"the file of profiles {str(place)!r} holds no profiles: {AGAIN}")
    if wrong := next((name for name, found in kept.items() if not _is_profile(found)), None):
        raise BadInputError(f"the profile {wrong!r} in {str(place)!r} is none: {AGAIN}")
    return {name: Profile(**found) for name, found in kept.items()}


def _is_profile(found: Any) -> bool:
    known = {field.name for field in fields(Profile)}
    return isinstance(found, dict) and found.keys() <= known and all(isinstance(one, str) for one in found.values())
