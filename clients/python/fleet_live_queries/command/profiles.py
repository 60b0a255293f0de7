"""Which servers somebody knows: a file of the person's own, mode 0600, in the XDG config folder. Tokens stay in it."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fleet_live_queries.errors import BadInputError

DEFAULT = "default"


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


def _read() -> dict[str, Profile]:
    place = path()
    try:
        kept: dict[str, dict[str, Any]] = json.loads(place.read_text())
        return {name: Profile(**found) for name, found in kept.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadInputError(f"the file of profiles {str(place)!r} cannot be read: {error}") from error
