"""The gateway's copy of the board: who still has to be offered something, in memory.

For each open campaign and range one piece of bitmap; for each range their union. An idle check-in looks at one bit of
the union and costs no I/O, however many campaigns are open. Never writes to Redis.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_

from agents.board.bitmaps import BITMAP_BYTES, has_bit, has_host
from agents.board.keyspace import seat_of
from agents.protocol.node_key import OLD_FORM, TAG_BYTES, Identity

Place = tuple[int, int]  # (campaign, range)


class Board:
    """Pieces and union. `generation` counts the refreshes, so that an old *never* cannot hide new work."""

    def __init__(self) -> None:
        self.epoch: bytes | None = None
        self.version: bytes | None = None
        self.generation = 0
        self.versions: dict[Place, bytes] = {}
        self.floors: dict[int, int] = {}
        self.installation: str | None = None  # None while the board is of a version that named none
        self.old_keys_up_to = 0  # the last host that may have a key of the older form
        self.hosts: dict[int, bytes] = {}  # range -> tags
        self.host_versions: dict[int, bytes] = {}
        self.config: bytes | None = None  # the last one known, as people wrote it
        self._pieces: dict[int, dict[int, bytearray]] = defaultdict(dict)  # range -> campaign -> piece
        self._union: dict[int, bytearray] = {}

    def has_revoked(self, host: int, epoch: int) -> bool:
        """Say whether a key of this epoch is refused."""
        return epoch < self.floors.get(host, 0)

    def is_stranger(self, identity: Identity) -> bool:
        """Say whether a key is of another installation, or of a host that the host table does not have. No I/O."""
        if self.installation is None:
            return False
        seat = seat_of(identity.host)
        place = seat.bit * TAG_BYTES
        tag = self.hosts.get(seat.number, b"")[place : place + TAG_BYTES]
        if identity.enrolled == OLD_FORM:
            return identity.host > self.old_keys_up_to or not any(tag)
        return identity.enrolled != (self.installation, tag)

    def has_work(self, host: int) -> bool:
        """Say whether some campaign may have something for this host. No I/O."""
        return has_host(self._union, host)

    def campaigns_for(self, host: int) -> list[int]:
        """Name the campaigns whose bit is set for this host, oldest first; housekeeping, which is negative, last."""
        seat = seat_of(host)
        found = [campaign for campaign, piece in self._pieces[seat.number].items() if has_bit(piece, seat.bit)]
        return sorted(found, key=lambda campaign: (campaign < 0, abs(campaign)))

    def changed(self, versions: Mapping[Place, bytes]) -> list[Place]:
        """Name the pieces that have another version than those held here."""
        return [place for place, version in versions.items() if self.versions.get(place) != version]

    def replace(self, versions: Mapping[Place, bytes], pieces: Mapping[Place, bytes]) -> dict[int, bytes]:
        """Take over the changed `pieces` and drop those that `versions` names no more.

        Gives, for each range, the bitmap of hosts that have a bit now which they had not before: those to wake.
        """
        fresh: dict[int, int] = defaultdict(int)
        gone: set[int] = set()  # ranges of which bits went that another campaign may have as well
        for campaign, number in self.versions.keys() - versions.keys():
            if _number(self._pieces[number].pop(campaign)):
                gone.add(number)
        for (campaign, number), piece in pieces.items():
            new, old = _number(piece.ljust(BITMAP_BYTES, b"\0")), _number(self._pieces[number].get(campaign, b""))
            self._pieces[number][campaign] = bytearray(new.to_bytes(BITMAP_BYTES))
            fresh[number] |= new & ~old
            if old & ~new:
                gone.add(number)
        self.versions = dict(versions)
        self.generation += 1
        for number, bits in fresh.items():
            if number not in gone:
                self._offer(number, bits | _number(self._union.get(number, b"")))
        for number in gone:  # of many campaigns the dearest part: a launch only adds
            self._offer(number, reduce(or_, map(_number, self._pieces[number].values()), 0))
        return {number: bits.to_bytes(BITMAP_BYTES) for number, bits in fresh.items() if bits}

    def clear(self, host: int, campaigns: Iterable[int], generation: int) -> None:
        """Forget the host's bits of these campaigns, unless the copy was refreshed since `generation`."""
        if generation != self.generation:
            return
        seat = seat_of(host)
        pieces = self._pieces[seat.number]
        mask = 0x80 >> (seat.bit & 7)
        for campaign in campaigns:
            if campaign in pieces:
                pieces[campaign][seat.bit >> 3] &= ~mask
        if seat.number in self._union and not any(has_bit(piece, seat.bit) for piece in pieces.values()):
            self._union[seat.number][seat.bit >> 3] &= ~mask

    def _offer(self, number: int, bits: int) -> None:
        """Let these be the hosts of a range that some campaign may have something for."""
        if bits:
            self._union[number] = bytearray(bits.to_bytes(BITMAP_BYTES))
        else:
            self._union.pop(number, None)


def _number(piece: bytes | bytearray) -> int:
    return int.from_bytes(piece)
