"""Where `live` begins."""

import os
import sys
from collections.abc import Sequence

NEEDED = {"rich": "rich", "yaml": "pyyaml"}  # the extra `command`: what is imported, and its package


def main(words: Sequence[str] | None = None, prog: str = "live") -> int:
    """Run the command; give its exit status. The client itself works without what draws tables."""
    if not _has_streams():
        sys.stderr.write("stdout is closed: what is asked for could be written nowhere\n")
        return 1
    try:
        from fleet_live_queries.command.program import run
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in NEEDED:
            raise
        sys.stderr.write(f"the command line needs {error.name}: pip install {' '.join(NEEDED.values())}\n")
        return 1
    return run([*(sys.argv[1:] if words is None else words)], prog)


def _has_streams() -> bool:
    """Say whether stdout is open. What else was closed leads nowhere then, and no connection comes in its place."""
    if sys.stdin and sys.stdout and sys.stderr:
        return True
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdin, sys.stderr = sys.stdin or open(0), sys.stderr or open(2, "w")  # noqa: SIM115 - open as long as it runs
    return sys.stdout is not None
