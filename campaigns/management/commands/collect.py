"""`manage.py collect`: carry the stream of answers into Postgres."""

import signal
from typing import Any

from django.conf import settings

from campaigns.collecting.collector import Collector
from fleet import commands, metrics


class Command(commands.Command):
    """Run one collector. Several may run: one works, the others stand by."""

    requires_system_checks: list[str] = []  # they would load every page
    help = "Store what agents answer. Run as many copies as you like: one works, the others stand by."

    def handle(self, *args: Any, **options: Any) -> None:
        """Collect until SIGTERM or SIGINT."""
        metrics.open_port(settings.METRICS_BIND, settings.METRICS_PORT)
        collector = Collector()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: collector.stop())
        collector.run()
