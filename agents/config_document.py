"""The config that agents are served, as people keep it: one document, checked, and put on the board for gateways."""

import json
from collections.abc import Iterator
from typing import Any

from django.db import transaction

from agents import open_work
from agents.models import ConfigDocument
from fleet.errors import BadInputError

MOST_BYTES = 2**20  # agents up to 5.23.1 take no more
MOST_LEVELS = 32
REFUSED_BY_AGENTS = ("error", "node_invalid")
# Options that agents take from the command line only: they warn and go on without (protocol section 7).
COMMAND_LINE_PREFIXES = ("tls_", "enroll_", "config_", "carver_", "watchdog_")


def check(document: Any) -> None:
    """Raise BadInputError when agents would refuse the document, or take it for something else."""
    if not isinstance(document, dict):
        raise BadInputError(f"the config is {type(document).__name__}, not a JSON object", "document")
    for name in REFUSED_BY_AGENTS:
        if name in document:
            raise BadInputError(f"the config has a member {name!r}: agents would refuse all of it", "document")
    size = len(text_of(document).encode())
    if size > MOST_BYTES:
        raise BadInputError(f"the config has {size} bytes, agents take at most {MOST_BYTES}", "document")
    levels = _levels(document)
    if levels > MOST_LEVELS:
        raise BadInputError(f"the config is nested {levels} levels deep, agents take at most {MOST_LEVELS}", "document")
    options = document.get("options", {})
    if not isinstance(options, dict):
        raise BadInputError(f"options are {type(options).__name__}, not an object", "document")
    for name, value in options.items():
        if not isinstance(value, (str, bool, int)):
            raise BadInputError(f"option {name} is {value!r}: agents take text, whole numbers and booleans", "document")


def warnings_of(document: dict[str, Any]) -> Iterator[str]:
    """Say what agents will not do as the document says, or what works against held reads."""
    options = document.get("options", {})
    interval = options.get("distributed_interval")
    if interval is not None:
        yield f"distributed_interval {interval} replaces what suits held reads: answers may take so many seconds longer"
    if str(options.get("distributed_tls_max_attempts", "")) == "0":
        yield "distributed_tls_max_attempts 0 makes agents send nothing at all"
    if str(options.get("disable_distributed", "")).lower() in ("true", "1"):
        yield "disable_distributed turns live queries off on hosts that start with this config"
    for name in sorted(options):
        if name.startswith(COMMAND_LINE_PREFIXES) and name != "tls_disable_status_log":
            yield f"{name} is taken from the command line only: agents ignore it here"


def keep(document: dict[str, Any], by: str) -> ConfigDocument:
    """Check the document, keep it, and put it on the board: gateways serve it within a second."""
    check(document)
    with transaction.atomic():
        kept, _ = ConfigDocument.objects.update_or_create(pk=1, defaults={"document": document, "changed_by": by})
        transaction.on_commit(publish)
    return kept


def publish() -> None:
    """Put what is kept on the board, also after it was lost."""
    open_work.set_config(text_of(current()))


def current() -> dict[str, Any]:
    """Give the document; an empty one when nobody wrote any."""
    kept = ConfigDocument.objects.filter(pk=1).first()
    return kept.document if kept else {}


def text_of(document: dict[str, Any]) -> str:
    """Write it as it is served."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def _levels(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_levels, inner), default=0) if isinstance(value, (dict, list)) else 0
