"""Where agents ask, and how often: their addresses, and the pause between two reads that they are told."""

PREFIXES = ("/api/osquery/", "/api/v1/osquery/")
QUICK_INTERVAL, SLOW_INTERVAL = 2, 10  # seconds between two reads: while reads are held, and otherwise


def verb_of(path: str) -> str | None:
    """Give the agents' verb a path stands for; None for addresses that are not theirs."""
    for prefix in PREFIXES:
        if path.startswith(prefix):
            return path.removeprefix(prefix).rstrip("/")
    return None
