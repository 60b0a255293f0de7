"""The Celery application. What runs where and when is in `fleet.settings` (QUEUES, CELERY_BEAT_SCHEDULE)."""

import logging
import os
import sys
import threading
import time
from typing import Any

from celery import signals
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from prometheus_client import Counter, Histogram, multiprocess

from fleet import alive, metrics
from fleet.quiet_celery import QuietCelery
from fleet.text import show_all_uncaught, show_refusal

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleet.settings")
os.environ.setdefault("CELERY_SKIP_CHECKS", "yes")  # Django's load every page, 35 MiB that no worker shows

try:
    _ = settings.DEBUG  # they are read now, so that what is wrong with them is a sentence
except ImproperlyConfigured as error:
    show_refusal(error)
    sys.exit(1)
app = QuietCelery("fleet")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["agents", "campaigns", "fleet.audit"])

AWAY_NOTED_SECONDS = 10.0
SENT_AT = "sent_at"  # a message's header: seconds of Unix time, by which its age is told
TASK_SECONDS = Histogram(
    "fleet_task_seconds", "How long tasks ran", ["task"], buckets=(0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60)
)
TASK_FAILURES = Counter("fleet_task_failures", "Tasks that ended with an exception", ["task"])
_began: dict[str, float] = {}  # by task id


@signals.setup_logging.connect
def _keep_logging(loglevel: int | None = None, **_: Any) -> None:
    """Leave LOG_LEVEL and LOG_FORMAT to the settings; who asks for more (`--loglevel`) hears Celery too."""
    if loglevel is None or loglevel >= logging.WARNING:
        return
    logging.getLogger().setLevel(min(loglevel, logging.getLogger().level))
    for name in settings.CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.NOTSET)


@signals.before_task_publish.connect
def _stamp(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None:
        headers[SENT_AT] = time.time()


@signals.task_prerun.connect
def _begin(task_id: str = "", **_: Any) -> None:
    _began[task_id] = time.perf_counter()


@signals.task_postrun.connect
def _end(task_id: str = "", task: Any = None, **_: Any) -> None:
    TASK_SECONDS.labels(task.name).observe(time.perf_counter() - _began.pop(task_id, time.perf_counter()))


@signals.task_failure.connect
def _failed(sender: Any = None, exception: BaseException | None = None, **_: Any) -> None:
    TASK_FAILURES.labels(sender.name).inc()
    metrics.note_error(exception)


@signals.heartbeat_sent.connect
def _note_worker(**_: Any) -> None:
    """Tell that the worker's main loop goes round; its children do the tasks."""
    alive.note(settings.ALIVE_FILE)


@signals.worker_init.connect
def _watch_worker(sender: Any = None, **_: Any) -> None:
    if settings.ALIVE_FILE:
        threading.Thread(target=_note_while_redis_is_away, args=[sender], daemon=True).start()


def _note_while_redis_is_away(worker: Any) -> None:
    """Tell as well that it is there: no heartbeat is sent meanwhile, and to be started again would help nobody."""
    while True:
        time.sleep(AWAY_NOTED_SECONDS)
        if getattr(getattr(worker, "consumer", None), "connection", None) is None:
            alive.note(settings.ALIVE_FILE)


@signals.beat_init.connect
def _watch_beat(**_: Any) -> None:
    signals.before_task_publish.connect(_note_worker)  # before it: Redis may be away, beat is there


@signals.celeryd_init.connect
@signals.beat_init.connect
def _watch_uncaught(**_: Any) -> None:
    show_all_uncaught()


@signals.worker_init.connect
@signals.beat_init.connect
def _open_port(**_: Any) -> None:
    """Serve the figures of this worker, its children's included, or of this beat."""
    for task in settings.QUEUES:
        TASK_FAILURES.labels(task)  # there from the start, so that the first failure is an increase
    metrics.open_port(settings.METRICS_BIND, settings.METRICS_PORT)


@signals.worker_process_shutdown.connect
def _forget(pid: int = 0, **_: Any) -> None:
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
