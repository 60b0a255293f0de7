"""How a verb asks for background work: by the task's name, after its transaction committed.

A message is only a hint. The work itself is a row, and the sweep sends again what was not done, so a message that
could not be sent delays the work and loses nothing.
"""

import logging
from functools import partial

from django.conf import settings
from django.db import transaction

from fleet.celery import app

logger = logging.getLogger(__name__)

HINT_SECONDS = 60  # a hint that nobody took by then was sent again by the sweep


def enqueue(task: str, *ids: int) -> None:
    """Send `task` (a name of settings.QUEUES) with `ids` once the current transaction has committed."""
    transaction.on_commit(partial(_send, task, settings.QUEUES[task], ids))


def _send(task: str, queue: str, ids: tuple[int, ...]) -> None:
    try:
        app.send_task(task, args=ids, queue=queue, expires=HINT_SECONDS)
    except Exception as error:  # whatever it is: what asked for the work is committed, and must not be told it failed
        logger.warning("task not sent task=%s ids=%s reason=%r: the sweep sends it again", task, ids, error)
