"""Processes forked off the demo's own, which has loaded what all of them need: they share its memory and start at once.

Each runs a command that deployments run as well, as Python would run it.
"""

import atexit
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Sequence
from subprocess import TimeoutExpired
from typing import BinaryIO, NoReturn

import django

from fleet.embedded.server import die_with_parent
from fleet.loading import loading

LOOK_SECONDS = 0.02


def load(environment: dict[str, str]) -> None:
    """Load what all of them need, as this environment says. Nothing may be connected and no thread started by it."""
    os.environ.update(environment)
    with loading():
        django.setup()
        from fleet.celery import app

        app.loader.import_default_modules()


class Forked:
    """A child that runs a command of Python's, `["-m", MODULE, …]` or `[FILE, …]`; as much of `Popen` as is needed."""

    def __init__(self, command: Sequence[str], output: BinaryIO) -> None:
        self._status: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        parting, held = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _live(command, output)
        os.close(held)
        os.read(parting, 1)  # ends as the child lets go of all that is open here; then signals reach its group
        os.close(parting)

    def poll(self) -> int | None:
        """Give the exit status, negative for a signal; None while it runs."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status

    def wait(self, timeout: float = float("inf")) -> int:
        """Return when it has ended. Raise TimeoutExpired."""
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutExpired(str(self.pid), timeout)
            time.sleep(LOOK_SECONDS)
        return status


def _live(command: Sequence[str], output: BinaryIO) -> NoReturn:
    """Be the child, to its end: of the parent's only what it loaded is left."""
    status = 1
    try:
        _part_from_parent(output)
        status = _run(command)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _part_from_parent(output: BinaryIO) -> None:
    os.setsid()  # a Ctrl-C in the terminal reaches the supervisor alone
    die_with_parent()
    os.umask(0o077)  # the schedule of beat, for one, would be for everybody's eyes
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    sys.excepthook = sys.__excepthook__
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))


def _run(command: Sequence[str]) -> int:
    """Run it as `python` would; give its exit status."""
    module = command[0] == "-m"
    name, *arguments = command[1:] if module else command
    sys.argv = [name, *arguments]
    try:
        if module:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(name, run_name="__main__")
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        sys.stderr.write(f"{ended.code}\n")
        return 1
    return 0
