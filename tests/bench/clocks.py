"""CPU clocks of processes, and Debian's compiled load generators: which side was at its limit is said, not guessed."""

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
SERVER_CORE, CLIENT_CORE = "0", "1"
SATURATED = 0.9  # of a core
PACKAGES = {"ab": "apache2-utils", "wrk": "wrk"}


class Load(NamedTuple):
    """What one round cost: requests, wall seconds, and CPU seconds of both sides."""

    requests: int
    seconds: float
    server: float
    client: float

    @property
    def rate(self) -> float:
        """Give the requests per CPU-second of the server."""
        return self.requests / self.server

    @property
    def limit(self) -> str:
        """Say which side had a core to itself and no more to give."""
        sides = {"server": self.server / self.seconds, "client": self.client / self.seconds}
        full = [side for side, share in sides.items() if share > SATURATED]
        shares = ", ".join(f"{side} {share:.0%}" for side, share in sides.items())
        return f"{' and '.join(full) or 'neither side'} saturated ({shares} of a core)"


def has(tool: str) -> bool:
    """Say, in a clear line too, whether a load generator is there."""
    if shutil.which(tool):
        return True
    print(f"left out: {tool} is missing (Debian: apt-get install {PACKAGES[tool]})")
    return False


def cpu_of(pid: int) -> float:
    """Give the CPU seconds a process and its children have used, those that ended and were waited for included."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile; its parent's clock has it, or soon will
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS + sum(map(cpu_of, children))


def children_seconds() -> float:
    """Give the CPU seconds of the children that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def busy_seconds() -> float:
    """Give the CPU seconds the whole machine was at work, whoever for."""
    user, nice, system, _, _, hard, soft, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + hard + soft) / TICKS


def full_handshakes(pid: int, url: str, body: str, requests: int, at_once: int = 50) -> Load:
    """Send with `ab`: a new connection for each and, other than wrk, never a TLS session that is resumed."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(body)
        file.flush()
        command = ["ab", "-q", "-n", str(requests), "-c", str(at_once), "-p", file.name, "-T", "application/json", url]
        said, load = _timed(pid, command, requests)
    if not re.search(r"^Failed requests:\s+0$", said, re.MULTILINE) or "Non-2xx" in said:
        sys.exit(f"ab met refusals:\n{said}")
    return load


def wrk(pid: int, url: str, script: Path, seconds: int = 3, at_once: int = 50) -> Load:
    """Send with `wrk`, whose requests a Lua script writes. The server closes each connection."""
    said, load = _timed(pid, ["wrk", "-t1", f"-c{at_once}", f"-d{seconds}", "-s", str(script), url], 0)
    found = re.search(r"(\d+) requests in", said)
    if found is None or "Non-2xx" in said:
        sys.exit(f"wrk met refusals:\n{said}")
    return load._replace(requests=int(found[1]))


def _timed(pid: int, command: list[str], requests: int) -> tuple[str, Load]:
    before, mine, began = cpu_of(pid), children_seconds(), time.monotonic()
    ended = subprocess.run(["taskset", "-c", CLIENT_CORE, *command], capture_output=True, text=True, check=True)
    seconds = time.monotonic() - began
    return ended.stdout, Load(requests, seconds, cpu_of(pid) - before, children_seconds() - mine)
