"""Where `live` begins."""

import sys
from collections.abc import Sequence


def main(words: Sequence[str] | None = None, prog: str = "live") -> int:
    """Run the command; give its exit status. The client itself works without what draws tables."""
    try:
        from fleet_live_queries.command.program import run
    except ImportError as error:
        if error.name is None or not error.name.startswith("rich"):
            raise
        sys.stderr.write("the command line needs rich: pip install 'fleet-live-queries-client[command]'\n")
        return 1
    return run([*(sys.argv[1:] if words is None else words)], prog)
