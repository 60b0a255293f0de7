"""Of what something was said within the hour: the mistakes of many senders must not fill a log."""

import time
from collections.abc import Hashable

SAID_AGAIN = 3600  # seconds
MOST_SAID = 10_000  # that are remembered; of more they are said again


class Once:
    """Remembers what was said, in this process."""

    def __init__(self) -> None:
        self._until: dict[Hashable, float] = {}

    def is_due(self, what: Hashable) -> bool:
        """Say whether it is to be said now, and take it as said."""
        now = time.monotonic()
        if now < self._until.get(what, 0.0):
            return False
        if len(self._until) >= MOST_SAID:
            self._until.clear()
        self._until[what] = now + SAID_AGAIN
        return True
