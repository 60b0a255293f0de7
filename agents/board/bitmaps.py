"""Bitmaps of hosts: one for each range of host ids, with bits in the order that Redis gives them, leftmost first."""

import re
from collections.abc import Iterable, Mapping

from agents.board.keyspace import RANGE_BITS, RANGE_SIZE

BITMAP_BYTES = RANGE_SIZE // 8
SOME = re.compile(rb"[^\0]", re.DOTALL)  # a byte in which a bit is set


def bitmap_of(hosts: Iterable[int]) -> bytes:
    """Give the bitmap of a range in which these hosts' bits are set; they are named by id, or by bit.

    Of a hundred thousand hosts at each launch, so it makes no seat of each.
    """
    bitmap = bytearray(BITMAP_BYTES)
    for host in hosts:
        bitmap[(host >> 3) % BITMAP_BYTES] |= 0x80 >> (host & 7)
    return bytes(bitmap)


def bits_of(bitmap: bytes) -> list[int]:
    """Give the bits that are set, in order."""
    places = [found.start() for found in SOME.finditer(bitmap)]  # a sixth of the time when few are set
    return [place * 8 + bit for place in places for bit in range(8) if bitmap[place] & (0x80 >> bit)]


def has_bit(bitmap: bytes | bytearray, bit: int) -> bool:
    """Say whether a bit is set. Redis stores no zeros at the end, so a bitmap may be shorter than its range."""
    return bit >> 3 < len(bitmap) and bool(bitmap[bit >> 3] & (0x80 >> (bit & 7)))


def has_host(bitmaps: Mapping[int, bytes | bytearray], host: int) -> bool:
    """Say whether a host's bit is set in the bitmap of its range. Asked at every check-in, so it makes no object."""
    bitmap = bitmaps.get(host >> RANGE_BITS)
    return bitmap is not None and has_bit(bitmap, host & (RANGE_SIZE - 1))
