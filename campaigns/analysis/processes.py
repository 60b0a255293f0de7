"""Processes that read or write copies: started clean, watched, killed when they do not obey."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleet import turns

FOLDER = Path(__file__).parent
PIECE = 2**18


class LostError(Exception):
    """The process ended before it had said everything: by itself (`in_time`), or killed when its time was up."""

    def __init__(self, *, in_time: bool) -> None:
        super().__init__("killed: its time was up" if not in_time else "it ended by itself")
        self.in_time = in_time


class Process:
    """One process with a deadline, spoken to in lines of JSON."""

    def __init__(self, script: str, deadline: float) -> None:
        turns.give_up()  # it computes, who asked waits
        self._deadline = deadline
        self._left = b""
        # -I: neither the environment nor the folder it is started in has a say in what it imports. Nothing is handed
        # down but its three streams: no database, no secret, no address.
        self._popen = subprocess.Popen(  # noqa: S603 - a script of ours, by Python's own path
            [sys.executable, "-I", str(FOLDER / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"TZ": "UTC"},
            cwd="/",
        )

    @property
    def stdin(self) -> Any:
        """Give the stream that the process reads from."""
        return self._popen.stdin

    def extend(self, deadline: float) -> None:
        """Move the deadline, by the monotonic clock; after it the process is killed."""
        self._deadline = deadline

    def send(self, message: Any) -> None:
        """Write one line. Raise LostError when nobody reads."""
        try:
            self.stdin.write(json.dumps(message).encode() + b"\n")
            self.stdin.flush()
        except BrokenPipeError as error:
            raise LostError(in_time=True) from error

    def line(self) -> Any:
        """Give the next line, None = it has ended. Raise LostError when its time is up."""
        out: Any = self._popen.stdout
        piece, pieces = self._left, []  # a line of many megabytes is put together once, and no piece is searched twice
        while b"\n" not in piece:
            pieces.append(piece)
            wait = self._deadline - time.monotonic()
            if wait <= 0 or not select.select([out], [], [], wait)[0]:
                raise LostError(in_time=False)
            if not (piece := os.read(out.fileno(), PIECE)):
                return None
        end, _, self._left = piece.partition(b"\n")
        return json.loads(b"".join([*pieces, end]))

    def wait(self) -> int:
        """Wait for its end; give its exit status. Raise LostError when its time is up."""
        try:
            return self._popen.wait(max(0.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise LostError(in_time=False) from error

    def complaint(self) -> str:
        """Give the last line of what it said on stderr, once it has ended."""
        self._popen.kill()
        stderr = self._popen.stderr.read(PIECE).decode(errors="replace")  # type: ignore[union-attr]  # as above
        return stderr.strip().rpartition("\n")[2]

    def end(self) -> None:
        """Kill it, if it is there still."""
        self._popen.kill()
        self._popen.wait()
        for stream in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:  # what was left to be written has no reader any more
                    continue


@contextmanager
def started(script: str, seconds: float) -> Iterator[Process]:
    """Start one of the scripts here, and let it be gone afterwards, however this ends."""
    process = Process(script, time.monotonic() + seconds)
    try:
        yield process
    finally:
        process.end()
