"""Bits as Redis counts them, on both sides of the board."""

from agents.board import redis_client
from agents.board.bitmaps import BITMAP_BYTES, bitmap_of, bits_of, has_bit, has_host
from agents.board.keyspace import RANGE_SIZE, seat_of


def test_a_bitmap_names_its_bits_as_redis_counts_them() -> None:
    bitmap = bitmap_of([0, 7, 8, 65535])

    assert len(bitmap) == BITMAP_BYTES
    assert bitmap[:2] == b"\x81\x80"
    assert bits_of(bitmap) == [0, 7, 8, 65535]


def test_hosts_stand_in_the_bitmap_of_their_range_by_their_ids() -> None:
    of_a_range = [3 * RANGE_SIZE, 3 * RANGE_SIZE + 9, 4 * RANGE_SIZE - 1]

    assert bits_of(bitmap_of(of_a_range)) == [seat_of(host).bit for host in of_a_range] == [0, 9, RANGE_SIZE - 1]


def test_a_bit_is_looked_up_as_redis_set_it() -> None:
    redis_client.client().setbit("bits", 9, 1)
    short = redis_client.client().get("bits")

    assert [bit for bit in range(65536) if has_bit(short, bit)] == [9]
    assert [host for host in (9, 65536 + 9, 65536 + 10) if has_host({1: short}, host)] == [65536 + 9]
