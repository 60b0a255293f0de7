"""`python -m tests.bench.idle [HOSTS]`: what the demo costs while nobody asks anything, in CPU and memory, by process.

Starts a demo of its own and waits until its first campaign ended; a minute of every process' own CPU clock follows.
Memory is PSS: what processes share is counted once. Linux, loopback only, ends by itself.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.clocks import cpu_of
from tests.ports import free_port

SETTLE_SECONDS, SECONDS = 60, 60
REPOSITORY = Path(__file__).parents[2]


def memory_of(pid: int) -> int:
    """Give the bytes a process and its children hold, what is shared divided among those who share it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        children = children_of(pid)
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return 0
    mine = next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return mine + sum(map(memory_of, children))


def children_of(pid: int) -> list[int]:
    """Give the processes it started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def measure(pids: dict[str, int]) -> None:
    """Print a table of a minute."""
    before = {pid: cpu_of(pid) for pid in pids.values()}
    began = time.monotonic()
    time.sleep(SECONDS)
    seconds, total, memory = time.monotonic() - began, 0.0, 0
    for pid in dict.fromkeys(pids.values()):
        names = " and ".join(name for name, each in pids.items() if each == pid)
        used, held = (cpu_of(pid) - before[pid]) / seconds, memory_of(pid)
        total, memory = total + used, memory + held
        print(f"{names}: {used:.1%} of a core, {held / 2**20:.0f} MiB")
    print(f"all: {total:.1%} of a core, {memory / 2**20:.0f} MiB")


def main() -> None:
    """Start a demo, measure, end it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("hosts", type=int, nargs="?", default=200)
    parser.add_argument("--tree", type=Path, default=REPOSITORY, help="the work tree whose demo is measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flq-idle-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's own user goes through
        command = ["--json", "--hosts", str(options.hosts), "--port", str(free_port()), "--data-dir", folder]
        demo = subprocess.Popen(
            [sys.executable, "-m", "fleet.demo", *command], cwd=options.tree, stdout=subprocess.PIPE, text=True
        )
        try:
            assert demo.stdout is not None
            pids = json.loads(demo.stdout.readline())["pids"]
            time.sleep(SETTLE_SECONDS)
            measure(pids)
        finally:
            demo.terminate()
            demo.wait(60)


if __name__ == "__main__":
    main()
