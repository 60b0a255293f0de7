"""What both servers share: starting and ending a process, private files, and what lies in a wheel."""

import ctypes
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, ClassVar

import psycopg2
import redis

READY_SECONDS = 30.0
STOP_SECONDS = 15.0
LONGEST_SOCKET_PATH = 80  # bytes, of the folder; the kernel takes 107 with the socket's name
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._+-]+")  # whose letters mean themselves in every address and setting
_LIBC = ctypes.CDLL(None)  # loaded here: a child of another user may not be able to read Python's files


class EmbeddedError(Exception):
    """A server did not start; the sentence says why and what to do."""


@dataclass
class Server:
    """A child process with a data directory. Started again after it died, it is where it was."""

    end_signal: ClassVar[signal.Signals] = signal.SIGTERM
    directory: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    log: Path = field(init=False)
    _elsewhere: Path | None = field(default=None, init=False)  # a folder for the socket alone

    def _socket_folder(self, own: Path) -> Path:
        """Give where the socket is: in the folder of the server's own, or in a private one until the server is stopped.

        That is where the path is too long for the kernel, or has letters that mean something else in an address.
        """
        if len(os.fsencode(own)) <= LONGEST_SOCKET_PATH and PLAIN_PATH.fullmatch(str(own)):
            return own
        if self._elsewhere is None:
            self._elsewhere = Path(tempfile.mkdtemp(prefix="flq-socket-", dir="/tmp"))
        return self._elsewhere

    @property
    def pid(self) -> int:
        """Give the pid of the running server."""
        if self.process is None:
            raise EmbeddedError(f"{type(self).__name__} in {self.directory} is not started")
        return self.process.pid

    def _spawn(self, command: list[str], user: int | None = None) -> None:
        with open_log(self.log) as output:
            self.process = subprocess.Popen(  # noqa: S603 - the wheel's own binary
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd="/",
                user=user,
                group=None if user is None else pwd.getpwuid(user).pw_gid,
                extra_groups=None if user is None else [],
                preexec_fn=die_with_parent,
                umask=0o077,
            )

    def _wait_until(self, ready: Callable[[], object]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                ready()
            except (psycopg2.OperationalError, redis.RedisError, OSError) as error:
                ended = self.process is None or self.process.poll() is not None
                if ended or time.monotonic() > deadline:
                    self.stop()
                    raise EmbeddedError(self._why(str(error))) from error
                time.sleep(0.02)
            else:
                return

    def _why(self, error: str) -> str:
        tail = " | ".join(self.log.read_text(errors="replace").splitlines()[-4:])
        return (
            f"{type(self).__name__} in {self.directory} did not start: {error.strip()}. Its log {self.log} ends: {tail}"
        )

    def _end(self, by: int) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(by)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def stop(self) -> None:
        """Stop at once but cleanly: what was acknowledged is on the disk, what is under way is rolled back."""
        self._end(self.end_signal)
        if self._elsewhere is not None:
            shutil.rmtree(self._elsewhere, ignore_errors=True)
            self._elsewhere = None


def secret_file(path: Path, length: int = 48) -> str:
    """Give the secret in a file of mode 0600, made at random the first time."""
    if not path.exists() or not path.stat().st_size:  # empty: whoever made it was killed in between
        write_private(path, secrets.token_urlsafe(length))
    return path.read_text().strip()


def open_log(path: Path) -> BinaryIO:
    """Open a log to write on, for its owner only, also one that an earlier version let others read."""
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
    os.fchmod(file.fileno(), 0o600)
    return file


def write_private(path: Path, text: str) -> None:
    """Write a file anew that its owner alone may read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def private_folder(path: Path) -> None:
    """Make a folder, and those above it, that its owner alone may enter. Raise EmbeddedError when it cannot be made."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(
            f"{path} cannot be made: {error.strerror}. Choose another folder with --data-dir"
        ) from error


def wheel(package: str) -> Path:
    """Find the folder of an installed package that brings a server along. Raise EmbeddedError when it is missing."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise EmbeddedError(f"the package {package} is not installed: pip install -r requirements.txt")
    return Path(found.origin).parent


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent dies, however that happens (PR_SET_PDEATHSIG, SIGINT)."""
    _LIBC.prctl(1, 2)
