"""The part of a worker that takes messages: it lives on whatever closing a broken connection to Redis raises."""

import logging
from typing import Any

from celery.worker import consumer

logger = logging.getLogger(__name__)


def _say_in_a_line(record: logging.LogRecord) -> bool:
    """Spare the reader tracebacks of what used a connection that was lost; a task not acknowledged comes again."""
    if str(record.msg).startswith(("Couldn't ack", "Error on")):
        record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
    return True


for name in ("celery.worker.request", "celery.bootsteps"):
    logging.getLogger(name).addFilter(_say_in_a_line)


class Consumer(consumer.Consumer):
    """Celery's own (CELERY_WORKER_CONSUMER), but for the end of a connection.

    It gives back what is being worked at, which a Redis that is away refuses; Celery 5.7 then closes the connection
    once more, though half of it is gone, and what that raises would end the worker.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        # What a connection raises that is half gone, also to a task that ends after it and says that it is done.
        self.connection_errors = (*vars(self)["connection_errors"], AttributeError)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close the connection; what is left of it is nothing to anybody: messages come back by themselves."""
        try:
            super().on_connection_error_after_connected(exc)
        except Exception as error:
            logger.warning("connection to Redis not closed in order reason=%r", error)
