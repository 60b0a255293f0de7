"""The config that agents are served, as people keep it: one document, checked, and put on the board for gateways."""

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.db import transaction

from agents.board import operator_verbs
from agents.models import ConfigDocument, TableSchema
from agents.protocol import messages
from agents.protocol.endpoints import PREFIXES, QUICK_INTERVAL, SLOW_INTERVAL
from fleet import sight
from fleet.audit import note
from fleet.errors import BadInputError

MOST_BYTES = 2**20  # agents up to 5.23.1 take no more, with what is served beside the document
MOST_LEVELS = 32
CUSTOM_PREFIX = "custom_"  # osquery takes any option so named
REFUSED_BY_AGENTS = ("error", "node_invalid")
# Options that agents take from the command line only: they warn and go on without (protocol section 7).
COMMAND_LINE_PREFIXES = ("tls_", "enroll_", "config_", "carver_", "watchdog_")
TRUE = ("1", "t", "true", "y", "yes")  # as osquery reads its flags, in any case
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def check(document: Any) -> None:
    """Raise BadInputError when agents would refuse the document, or take it for something else."""
    if not isinstance(document, dict):
        raise _refusal(f"is {type(document).__name__}, not a JSON object")
    for name in REFUSED_BY_AGENTS:
        if name in document:
            raise _refusal(f"has a member {name!r}: agents would refuse all of it")
    levels = _levels(document)
    if levels > MOST_LEVELS:
        raise _refusal(f"is nested {levels} levels deep, agents take at most {MOST_LEVELS}")
    content = _bytes_of(document)
    _check_options(document.get("options", {}))
    size = len(messages.config(content, SLOW_INTERVAL))
    if size >= MOST_BYTES:
        raise _refusal(f"has {size} bytes as it is served, agents take less than {MOST_BYTES}")


def _check_options(options: Any) -> None:
    if not isinstance(options, dict):
        raise BadInputError(f"options are {type(options).__name__}, not an object", "document")
    for name, value in options.items():
        if not isinstance(value, (str, bool, int)):
            raise BadInputError(f"option {name} is {value!r}: agents take text, whole numbers and booleans", "document")


def _bytes_of(document: dict[str, Any]) -> bytes:
    """Give the document as JSON. Raise BadInputError for what Python takes for JSON, and others do not."""
    try:
        content = text_of(document).encode()
    except UnicodeEncodeError:
        raise _refusal("has one half of a surrogate pair, which is no text") from None
    except ValueError:
        raise _refusal("has NaN, Infinity or a number as large, which JSON does not know") from None
    if _NUL.search(content):
        raise _refusal("has the character \\u0000, which PostgreSQL does not keep")
    return content


def _refusal(what: str) -> BadInputError:
    return BadInputError(f"the config {what}", "document")


def warnings_of(document: dict[str, Any]) -> Iterator[str]:
    """Say what agents will not do as the document says, or what works against live queries."""
    options = {name: str(value) for name, value in document.get("options", {}).items()}
    interval = options.get("distributed_interval", str(QUICK_INTERVAL))
    if interval != str(QUICK_INTERVAL):
        yield f"distributed_interval {interval} replaces what suits held reads: answers may take so many seconds longer"
    if options.get("distributed_tls_max_attempts") == "0":
        yield "distributed_tls_max_attempts 0 makes agents send nothing at all"
    if options.get("disable_distributed", "").lower() in TRUE:
        yield "disable_distributed turns live queries off on hosts that start with this config"
    if (plugin := options.get("distributed_plugin", "tls")) != "tls":
        yield f"distributed_plugin {plugin!r} keeps hosts that start with this config from asking here: tls does"
    for verb in ("read", "write"):
        name, ours = f"distributed_tls_{verb}_endpoint", [f"{prefix}distributed/{verb}" for prefix in PREFIXES]
        if (endpoint := options.get(name, ours[0])) not in ours:
            yield f"{name} {endpoint!r} is not answered here: {' and '.join(ours)} are"
    for name in sorted(options):
        if name.startswith(COMMAND_LINE_PREFIXES) and name != "tls_disable_status_log":
            yield f"{name} is taken from the command line only: agents ignore it here"


def warnings_of_server() -> list[str]:
    """Say what this server does not do with what agents send by their config, whatever that says."""
    if settings.LOG_SINK:
        return []
    return [
        "LOG_SINK is not set: log lines of agents (status lines, scheduled results) are acknowledged and then dropped."
        " Set it to a file or a stream of Redis to keep them"
    ]


def unknown_options(document: dict[str, Any]) -> Iterator[str]:
    """Name the options that hosts have no flag for, as they told; silent while nobody told its flags."""
    schemas = list(TableSchema.objects.exclude(flags=[]))
    for name in sorted(document.get("options", {})):
        if name.startswith(CUSTOM_PREFIX) or not schemas:
            continue
        lacking = [schema for schema in schemas if name not in schema.flags]
        if len(lacking) == len(schemas):
            yield f"option {name!r} is unknown to every kind of host that told its flags: they ignore it"
        elif lacking:
            kinds = ", ".join(sorted({f"{schema.platform} {schema.osquery_version}" for schema in lacking}))
            yield f"option {name!r} is unknown to these kinds of host, which ignore it: {kinds}"


def objection_to(by: sight.Person) -> str:
    """Say why this person, permitted or not, writes no config: it is served to hosts out of sight; "" = nothing."""
    if not sight.is_limited(by):
        return ""
    return "the config is served to every host, and your scope is some hosts only: who sees all of them writes it"


def keep(document: dict[str, Any], by: str) -> ConfigDocument:
    """Check the document, keep it, and put it on the board: gateways serve it within a second."""
    check(document)
    with transaction.atomic():
        kept, _ = ConfigDocument.objects.update_or_create(pk=1, defaults={"document": document, "changed_by": by})
        # What it says may hold secrets, as the keys of a log's destination: its digest says which one it was.
        digest = sha256(text_of(document).encode()).hexdigest()
        note("config.changed", who=by, subject="config of agents", digest=digest, members=sorted(document))
        transaction.on_commit(publish)
    return kept


def publish() -> None:
    """Put what is kept on the board, also after it was lost."""
    operator_verbs.set_config(text_of(current()))


def current() -> dict[str, Any]:
    """Give the document; an empty one when nobody wrote any."""
    kept = ConfigDocument.objects.filter(pk=1).first()
    return kept.document if kept else {}


def text_of(document: dict[str, Any]) -> str:
    """Write it as the board keeps it. Raise ValueError for NaN and Infinity."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _levels(document: Any) -> int:
    """Count the levels of objects and lists, without going down them: a thousand are no trouble."""
    levels, layer = 0, [document]
    while layer := [value for value in layer if isinstance(value, dict | list)]:
        layer = [inner for value in layer for inner in (value.values() if isinstance(value, dict) else value)]
        levels += 1
    return levels
