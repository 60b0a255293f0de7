"""Appends lines to a file that somebody else reads: each is there whole, on the disk, or not at all."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PIECE_BYTES = 65_536


@contextmanager
def appended(path: Path) -> Iterator[Callable[[Sequence[bytes]], None]]:
    """Open a file and give what appends lines to it. Raise OSError; then nothing was added.

    The part of a line that somebody left who died is taken away first: whoever appends keeps how far he is, and sends
    it again whole.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)

    def append(lines: Sequence[bytes]) -> None:
        size = _whole_size(descriptor)
        left = memoryview(b"".join(line + b"\n" for line in lines))
        try:
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise

    try:
        yield append
    finally:
        os.close(descriptor)


def _whole_size(descriptor: int) -> int:
    """Cut the file after its last whole line; give its size."""
    size = end = os.fstat(descriptor).st_size
    while end > 0:
        piece = os.pread(descriptor, min(PIECE_BYTES, end), end - min(PIECE_BYTES, end))
        at = piece.rfind(b"\n")
        if at >= 0:
            end = end - len(piece) + at + 1
            break
        end -= len(piece)
    if end < size:
        os.ftruncate(descriptor, end)
    return end
