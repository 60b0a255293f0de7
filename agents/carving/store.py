"""Where the bytes of carves lie: a file for each block, through Django's storage `carves`.

A file for each block, because a storage cannot write into the middle of one: blocks come twice and out of order, and
nothing is ever copied together. What is in them is never looked into: they are read to be hashed or sent away.
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress

import zstandard
from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages

from agents.carving.models import Carve
from fleet.counting import counted

PIECE_BYTES = 1 << 20
LARGEST_EMPTY_BYTES = 1 << 16  # a tar of nothing is zeros: 1 KiB, or 10 KiB as some pad it
ZSTD = b"\x28\xb5\x2f\xfd"


def _storage() -> Storage:
    return storages["carves"]


def _folder(carve: Carve) -> str:
    return str(carve.pk)


def _name(carve: Carve, number: int) -> str:
    return f"{carve.pk}/{number}"


def write(carve: Carve, number: int, data: bytes) -> None:
    """Write a block, over what a process that died left of it. Raise OSError and leave nothing on a full disk."""
    name = _name(carve, number)
    _storage().delete(name)
    try:
        written = _storage().save(name, ContentFile(data))
    except OSError:
        with suppress(OSError):
            _storage().delete(name)  # half a block: its room is wanted elsewhere
        raise
    if written != name:
        raise OSError(f"the storage wrote block {number} of carve {carve.pk} as {written!r}")


def pieces(carve: Carve) -> Iterator[bytes]:
    """Read the carve from its first byte to its last, at most a megabyte at a time. Raise OSError when one is gone."""
    for number in range(carve.block_count or 0):
        with _storage().open(_name(carve, number)) as block:
            while piece := block.read(PIECE_BYTES):
                yield piece


def check_there(carve: Carve) -> None:
    """Raise OSError when bytes of a complete carve are gone, without reading them."""
    found = sum(_storage().size(_name(carve, number)) for number in range(carve.block_count or 0))
    if found != carve.received_bytes:
        raise OSError(f"{counted(found, 'byte')} of {carve.received_bytes} there")


def unharmed(carve: Carve) -> Iterator[bytes]:
    """Read the carve, whose last piece is given only when all are those that came. Raise OSError when they are not."""
    hashed, last = hashlib.sha256(), b""
    for piece in pieces(carve):
        if last:
            yield last
        hashed.update(piece)
        last = piece
    if carve.sha256 and hashed.hexdigest() != carve.sha256:
        raise OSError("the bytes are others than those that came")
    yield last


def digest(carve: Carve) -> str:
    """Give the hex SHA-256 of the carve's bytes."""
    hashed = hashlib.sha256()
    for piece in pieces(carve):
        hashed.update(piece)
    return hashed.hexdigest()


def is_empty(carve: Carve) -> bool:
    """Say whether no file is in the archive: of a tar, or a tar in zstd, nothing is left but zeros."""
    if (carve.carve_size or 0) > LARGEST_EMPTY_BYTES:
        return False
    content = b"".join(pieces(carve))
    if content.startswith(ZSTD):
        try:
            with zstandard.ZstdDecompressor().stream_reader(content) as opened:
                content = opened.read(LARGEST_EMPTY_BYTES)
        except zstandard.ZstdError:
            return False  # whatever it is, it is not what osquery sends for nothing
    return not content.strip(b"\0")


def delete(carve: Carve) -> None:
    """Delete every file of the carve; those that are gone already are no trouble."""
    with suppress(FileNotFoundError):
        _, names = _storage().listdir(_folder(carve))
        for name in names:
            _storage().delete(f"{_folder(carve)}/{name}")
        _storage().delete(_folder(carve))
