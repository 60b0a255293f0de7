"""Start processes, start again those that die, end all of them together."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from fleet.demo.forked import Forked
from fleet.embedded.server import open_log
from fleet.text import shown_lines

GRACE_SECONDS = 8.0
LOOKED_AT, LONGEST_LINE = 8192, 300  # bytes of a log's end; characters
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
STEADY_SECONDS = 30.0  # a process that lived so long starts again without a pause


@dataclass
class Process:
    """One supervised process: its command, where it writes, what else it goes by, and its life so far."""

    name: str
    command: list[str]
    log: Path
    also: tuple[str, ...] = ()
    child: Forked | None = None
    started: float = 0.0
    pause: float = FIRST_PAUSE
    due: float = 0.0

    def start(self) -> None:
        """Start it."""
        with open_log(self.log) as output:
            self.child = Forked(self.command, output)
        self.started = time.monotonic()

    def has_died(self) -> int | None:
        """Give the exit status of a process that ended, None while it lives or waits to be started again."""
        return self.child.poll() if self.child is not None else None

    def signal(self, number: int) -> None:
        """Send a signal to the process and everything it started."""
        if self.child is not None:
            try:
                os.killpg(self.child.pid, number)
            except ProcessLookupError:
                return


@dataclass
class Supervisor:
    """The processes of one demo, in the order they were started."""

    processes: list[Process] = field(default_factory=list)

    def start(self, process: Process) -> None:
        """Start a process and watch it from now on."""
        process.start()
        self.processes.append(process)

    @property
    def pids(self) -> dict[str, int]:
        """Give the pid of every process that runs, by each of its names."""
        running = [(process, process.child.pid) for process in self.processes if process.child is not None]
        return {name: pid for process, pid in running for name in (process.name, *process.also)}

    def look_after(self, process: Process) -> None:
        """Start the process again when it died, after a pause that grows while it keeps dying."""
        now = time.monotonic()
        status = process.has_died()
        if status is not None:
            if now - process.started > STEADY_SECONDS:
                process.pause = FIRST_PAUSE
            said = f", its log {process.log} ends: {last_line(process.log)}"
            say(f"{process.name} died (status {status}), it is started again{said}")
            process.signal(signal.SIGKILL)  # whatever it left behind
            process.child, process.due = None, now + process.pause
            process.pause = min(LONGEST_PAUSE, process.pause * 2)
        if process.child is None and now >= process.due:
            process.start()

    def stop(self) -> None:
        """End all, last started first; who does not end within the grace time is killed."""
        for process in reversed(self.processes):
            process.signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        for process in self.processes:
            if process.child is not None:
                try:
                    process.child.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    say(f"{process.name} does not end, it is killed")
                process.signal(signal.SIGKILL)
                process.child.wait()


def last_line(log: Path) -> str:
    """Give the last line of a log that says anything, what is over 300 characters cut off; "" = none does."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOOKED_AT))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:LONGEST_LINE]


def say(sentence: str) -> None:
    """Tell the person at the terminal."""
    sys.stderr.write(f"demo: {shown_lines(sentence)}\n")
    sys.stderr.flush()
