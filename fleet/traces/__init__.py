"""Traces of campaigns for OpenTelemetry: off, unless OTEL_EXPORTER_OTLP_ENDPOINT names who keeps them.

One campaign is one trace. Its ids are made of what it is, so that no process has to hand them on: console, worker,
collector, sweeper and messenger each tell what they did, and it comes together where it is kept. Told is what was
committed, with its begin and its end; a thread beside sends it, and what cannot be sent is lost.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from django.conf import settings
from django.db import transaction

Value = str | int | float | bool


class Traced(Protocol):
    """What a trace is of: a campaign. `trace` names it, the same in every process, and nobody else's elsewhere."""

    pk: int

    @property
    def trace(self) -> str:
        """Give the name."""


@dataclass(frozen=True)
class Part:
    """What one process did, or the whole: from when to when, in seconds since 1970; `error` is why it failed."""

    trace: str
    name: str
    began: float
    attributes: dict[str, Value]
    ended: float | None = None  # = when it was committed
    error: str = ""
    is_whole: bool = False


def note(of: Traced, name: str, began: float | None = None, error: str = "", **attributes: Value) -> None:
    """Tell what was done for it since `began`, seconds since 1970, once it is committed; with `error`, that it failed.

    None = it began just now.
    Names and attributes are those of the log: words of ours, and numbers.
    """
    if settings.TRACES:
        since = time.time() if began is None else began
        _tell(Part(of.trace, name, since, {"campaign": of.pk, **attributes}, error=error))


def note_whole(of: Traced, name: str, began: datetime, ended: datetime, **attributes: Value) -> None:
    """Tell, once, what it was from begin to end: all that `note` tells of it stands below."""
    if settings.TRACES:
        told = {"campaign": of.pk, **attributes}
        _tell(Part(of.trace, name, began.timestamp(), told, ended.timestamp(), is_whole=True))


def _tell(part: Part) -> None:
    transaction.on_commit(partial(_send, part), robust=True)


def _send(part: Part) -> None:
    from fleet.traces.sending import SENDER  # nobody else needs OpenTelemetry, which is an extra

    SENDER.send(part)
