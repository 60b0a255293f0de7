"""The gateway's copy of the board: one bit looked at, no I/O, and no new work hidden."""

import random

from agents.board.bitmaps import bitmap_of, bits_of
from agents.board.copy import Board, Place
from agents.board.keyspace import RANGE_BITS
from agents.protocol.node_key import TAG_BYTES, Enrolled, Identity

BOTH = {(1, 0): b"1", (2, 0): b"1"}


def board_with(*, first: list[int], second: list[int]) -> Board:
    board = Board()
    board.replace(BOTH, {(1, 0): bitmap_of(first), (2, 0): bitmap_of(second)})
    return board


def test_a_host_has_work_when_one_campaign_owes_it() -> None:
    board = board_with(first=[5], second=[5, 9])

    assert [host for host in range(20) if board.has_work(host)] == [5, 9]
    assert board.campaigns_for(5) == [1, 2]
    assert board.campaigns_for(9) == [2]
    assert not board.has_work(65536 + 5)


def test_the_union_keeps_a_bit_as_long_as_one_campaign_has_it() -> None:
    board = board_with(first=[5], second=[5])

    board.clear(5, [1], board.generation)
    assert board.has_work(5)
    board.clear(5, [2], board.generation)
    assert not board.has_work(5)


def test_a_never_from_before_a_refresh_does_not_hide_new_work() -> None:
    board = board_with(first=[5], second=[])
    when_the_claim_was_sent = board.generation

    board.replace(BOTH | {(1, 0): b"2"}, {(1, 0): bitmap_of([5])})
    board.clear(5, [1], when_the_claim_was_sent)

    assert board.has_work(5)


def test_a_closed_campaign_leaves_the_union() -> None:
    board = board_with(first=[5], second=[9])

    board.replace({(2, 0): b"1"}, {})

    assert [host for host in range(20) if board.has_work(host)] == [9]


def test_whatever_comes_changes_and_goes_the_union_is_that_of_all_pieces() -> None:
    board, chance, held = Board(), random.Random(7), dict[Place, set[int]]()
    for version in range(400):
        kept = {place: hosts for place, hosts in held.items() if chance.random() > 0.1}
        changed = {(chance.randrange(1, 12), chance.randrange(3)) for _ in range(chance.randrange(4))}
        before, held = held, kept | {place: set(chance.sample(range(24), chance.randrange(6))) for place in changed}
        versions = {place: board.versions.get(place, b"") for place in held} | dict.fromkeys(changed, b"%d" % version)

        fresh = board.replace(versions, {place: bitmap_of(held[place]) for place in changed})

        new = {(place[1], host) for place in changed for host in held[place] - before.get(place, set())}
        assert {(number, bit) for number, bits in fresh.items() for bit in bits_of(bits)} == new
        _clear_some(board, held, chance)
        for number in range(3):
            owed = {host for (_, of), hosts in held.items() if of == number for host in hosts}
            assert {host for host in range(24) if board.has_work(number << RANGE_BITS | host)} == owed


def _clear_some(board: Board, held: dict[Place, set[int]], chance: random.Random) -> None:
    for (campaign, number), hosts in held.items():
        for host in [host for host in sorted(hosts) if chance.random() < 0.2]:
            board.clear(number << RANGE_BITS | host, [campaign], board.generation)
            hosts.discard(host)


def test_only_pieces_of_another_version_are_fetched() -> None:
    board = board_with(first=[5], second=[9])

    assert board.changed({(1, 0): b"1", (2, 0): b"7", (3, 1): b"1"}) == [(2, 0), (3, 1)]


def test_a_refresh_names_the_hosts_that_are_new() -> None:
    board = board_with(first=[5], second=[])

    fresh = board.replace(BOTH | {(1, 0): b"2"}, {(1, 0): bitmap_of([5, 6])})

    assert bits_of(fresh[0]) == [6]


def test_clearing_one_host_leaves_every_other_its_work() -> None:
    board = board_with(first=[12, 13, 20, 65535], second=[])

    board.clear(13, [1], board.generation)

    assert [host for host in range(65536) if board.has_work(host)] == [12, 20, 65535]


def test_campaigns_come_in_their_order_and_housekeeping_last() -> None:
    board = Board()
    places = [(-1, 0), (10, 0), (-2, 0), (9, 0)]
    board.replace(dict.fromkeys(places, b"1"), dict.fromkeys(places, bitmap_of([5])))

    assert board.campaigns_for(5) == [9, 10, -1, -2]


def test_a_key_is_known_by_its_installation_and_the_tag_of_its_host() -> None:
    board, tag = Board(), b"\1\2\3\4"
    key = Identity(7, 1, 0, Enrolled("here", tag))
    before_the_board_is_seen = board.is_stranger(key)
    board.installation, board.old_keys_up_to, board.hosts = "here", 7, {0: bytes(7 * TAG_BYTES) + tag}

    others = [key._replace(host=8), key._replace(enrolled=Enrolled("there", tag))]
    others += [key._replace(enrolled=Enrolled("here", b"\1\2\3\5")), Identity(8, 1, 0), Identity(6, 1, 0)]

    assert not before_the_board_is_seen
    assert [board.is_stranger(known) for known in (key, Identity(7, 1, 0))] == [False, False]
    assert [board.is_stranger(other) for other in others] == [True] * len(others)
