"""`python -m fleet.healthy ADDRESS-OR-FILE`: whether a process of this container is at work, for its engine.

An http(s) address has to answer 200, a file (ALIVE_FILE) has to have been touched lately. Knows neither settings nor
Django: it is started every few seconds in every container.
"""

import sys
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

from fleet.counting import counted

ANSWERS_WITHIN = 5  # seconds
# Engines hand containers the machine's HTTP_PROXY, which has no business with a process of the same container.
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
TOUCHED_WITHIN = 60  # seconds: longer than the longest batch or task of the main loop, or PostgreSQL's own patience


def trouble_with(place: str) -> str:
    """Say what is the matter with the process at this address or behind this file; nothing when it is well."""
    return _trouble_of_address(place) if place.startswith(("http://", "https://")) else _trouble_of_file(Path(place))


def _trouble_of_address(address: str) -> str:
    try:
        DIRECTLY.open(address, timeout=ANSWERS_WITHIN).close()
    except (URLError, OSError, HTTPException) as error:
        return f"{address} does not answer as it should: {error}"
    return ""


def _trouble_of_file(file: Path) -> str:
    try:
        age = time.time() - file.stat().st_mtime
    except OSError as error:
        return f"{file} was never touched: {error.strerror}"
    return f"{file} was touched {counted(round(age), 'second')} ago, the last time" if age > TOUCHED_WITHIN else ""


def main(arguments: list[str]) -> int:
    """Print what is the matter; 0 = nothing, 1 = something, 2 = not told where to look."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m fleet.healthy http://127.0.0.1:8000/livez, or the file of ALIVE_FILE\n")
        return 2
    trouble = trouble_with(arguments[0])
    sys.stderr.write(f"{trouble}\n" if trouble else "")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
