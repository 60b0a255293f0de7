"""Where agents ask, and how often: their addresses, and the pause between two reads that they are told."""

PREFIXES = ("/api/osquery/", "/api/v1/osquery/")
VERBS = ("distributed/read", "distributed/write", "config", "log", "enroll", "carve/begin", "carve/block")
QUICK_INTERVAL, SLOW_INTERVAL = 2, 10  # seconds between two reads: while reads are held, and otherwise

_VERB_AT = {prefix + verb: verb for prefix in PREFIXES for verb in VERBS}


def verb_of(path: str) -> str | None:
    """Give the agents' verb a path stands for; None for addresses that are not theirs."""
    if path in _VERB_AT:
        return _VERB_AT[path]
    for prefix in PREFIXES:
        if path.startswith(prefix):
            return path.removeprefix(prefix).rstrip("/")
    return None
