"""What agents send that is not what it should be: counted by others, and said here, once an hour for each host."""

import logging
import re

from agents.protocol.messages import Buffer
from fleet.once import Once

logger = logging.getLogger(__name__)

LOOKED_AT, SHOWN = 2_000, 100  # bytes
_SECRET = re.compile(rb'("(?:node_key|enroll_secret)"\s*:\s*")[^"]*')


class Mistakes:
    """Says them. All who show no key are one: anybody can send without."""

    def __init__(self) -> None:
        self._once = Once()

    def note(self, what: str, host: int | None, verb: str, sent: Buffer, address: str = "") -> None:
        """Say what was wrong, and how what was sent begins, without its key."""
        if self._once.is_due((what, host)):
            begin = _SECRET.sub(rb"\1...", bytes(memoryview(sent)[:LOOKED_AT]))[:SHOWN]
            logger.warning("%s host=%s address=%s verb=%s sent=%r", what, host, address, verb, begin)
