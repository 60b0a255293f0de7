"""`manage.py collect`: carry the stream of answers into Postgres."""

import signal
from typing import Any

from campaigns.collecting.collector import Collector
from fleet import commands


class Command(commands.Command):
    """Run one collector. Several may run: one works, the others stand by."""

    help = "Store what agents answer. Run as many copies as you like: one works, the others stand by."

    def handle(self, *args: Any, **options: Any) -> None:
        """Collect until SIGTERM or SIGINT."""
        collector = Collector()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: collector.stop())
        collector.run()
