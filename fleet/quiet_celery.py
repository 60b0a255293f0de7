"""Celery whose commands speak as all processes here do: what they say is an event in the log, and a banner is none."""

import logging
import os
import sys
from typing import Any

from celery import Celery

from fleet import metrics

logger = logging.getLogger(__name__)
BEAT = "celery.beat"
SPEAK_OF_REDIS = ("celery.worker.consumer.consumer", BEAT)


def _count_trouble(record: logging.LogRecord) -> bool:
    """Count what Celery tells of Redis and goes on from by itself; of beat spare the reader how it came there."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    for error in arguments:
        if isinstance(error, BaseException):
            metrics.note_error(error)
    if record.name == BEAT and len(arguments) == 2 and record.exc_info:
        record.msg, record.args = "what is due was not sent reason=%s", arguments[:1]
    return True


for _name in SPEAK_OF_REDIS:
    logging.getLogger(_name).addFilter(_count_trouble)


class QuietCelery(Celery):
    """An application without banners, so that with LOG_FORMAT=json every line is an object."""

    @property
    def Worker(self) -> Any:
        """Give the class of workers."""
        from celery.apps import worker  # consoles and gateways, which send alone, never load it

        worker.safe_say = _say  # type: ignore[attr-defined]  # of the stubs alone
        return _quiet(super().Worker)

    @property
    def Beat(self) -> Any:
        """Give the class of beats."""
        return _quiet(super().Beat)


def _quiet(kind: Any) -> Any:
    class Quiet(kind):  # type: ignore[misc]
        """Without a banner, whatever the command line says."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "quiet": True})

    return Quiet


def _say(sentence: str, _: Any = None) -> None:
    """Log what a worker says within a signal when it is told to stop: at once, past what is being written."""
    if not logger.isEnabledFor(logging.INFO):
        return
    record = logger.makeRecord(logger.name, logging.INFO, "", 0, sentence, (), None)
    for handler in logging.getLogger().handlers:
        os.write(sys.__stderr__.fileno(), f"{handler.format(record)}\n".encode())  # type: ignore[union-attr]
