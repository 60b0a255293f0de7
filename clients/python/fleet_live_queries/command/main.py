"""Where `live` begins."""

import sys
from collections.abc import Sequence

NEEDED = {"rich": "rich", "yaml": "pyyaml"}  # the extra `command`: what is imported, and its package


def main(words: Sequence[str] | None = None, prog: str = "live") -> int:
    """Run the command; give its exit status. The client itself works without what draws tables."""
    try:
        from fleet_live_queries.command.program import run
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in NEEDED:
            raise
        sys.stderr.write(f"the command line needs {error.name}: pip install {' '.join(NEEDED.values())}\n")
        return 1
    return run([*(sys.argv[1:] if words is None else words)], prog)
