"""This process's figures for monitors, in Prometheus' text. Rooms declare theirs beside what they count.

Every process shows them to who reaches METRICS_PORT, which is on METRICS_BIND alone (`fleet.monitors` has the other
door). Where one command is several processes (a worker's), PROMETHEUS_MULTIPROC_DIR names an empty folder through which
they add up. No Django here: gateways count as well.
"""

import logging
import os
from collections.abc import Iterable
from glob import escape, glob
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Metric, generate_latest
from prometheus_client import start_http_server as listen
from prometheus_client.multiprocess import MultiProcessCollector

logger = logging.getLogger(__name__)

SERVER_ERRORS = Counter("fleet_server_errors", "Times a server could not be asked, or failed at it", ["server"])
SERVER_OF = {"django.db": "postgresql", "psycopg2": "postgresql", "redis": "redis", "kombu": "redis"}
for _server in SERVER_OF.values():
    SERVER_ERRORS.labels(_server)  # there from the start, so that the first one is an increase


def note_error(error: BaseException | None) -> None:
    """Count an error that is a server's: PostgreSQL's or Redis', whatever it was wrapped in; others are none of ours.

    By the name of its module, so that the gateway, which knows neither Django nor psycopg2, counts as well.
    """
    while error is not None:
        for begin, server in SERVER_OF.items():
            if type(error).__module__.startswith(begin):
                SERVER_ERRORS.labels(server).inc()
                return
        error = error.__cause__ or error.__context__


def text(*more: Any) -> bytes:
    """Give this process's figures, and those of `more` collectors, which are read for this time alone."""
    registry = CollectorRegistry()
    for collector in more:
        registry.register(collector)
    return generate_latest(REGISTRY) + (generate_latest(registry) if more else b"")


def open_port(bind: str, port: int) -> None:
    """Serve this process's figures on a port of their own, from a thread; 0 = not. Raise OSError when it is taken."""
    if not port:
        return
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        _Children(registry)
    listen(port, bind, registry)
    logger.info("figures are served bind=%s port=%s", bind, port)


class _Children(MultiProcessCollector):
    """Adds up what the processes of one command counted, each in files of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        """Leave out files that are being made in this moment: the library fails at one that is empty yet."""
        files = [file for file in glob(f"{escape(self._path)}/*.db") if _has_content(file)]
        metrics: Iterable[Metric] = self.merge(files)  # type: ignore[no-untyped-call]
        return metrics


def _has_content(file: str) -> bool:
    try:
        return Path(file).stat().st_size > 0
    except FileNotFoundError:  # of a process that has ended
        return False
