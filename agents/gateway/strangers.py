"""Sound keys that speak for no host of this database: it was lost, or restored from an older backup.

Who enrolled a moment ago looks like one until the copy of the board is refreshed, so a key is judged by a look at the
board that began after it came; all that come meanwhile share the look, and each is judged once.
"""

from agents.board.copy import Board
from agents.board.keyspace import NoBoardError
from agents.gateway.follower import Follower
from agents.gateway.identity import Identities
from agents.protocol.node_key import Identity


class Strangers:
    """Judges the keys that the copy of the board does not know."""

    def __init__(self, board: Board, follower: Follower, identities: Identities) -> None:
        self._board, self._follower, self._identities = board, follower, identities
        self._judged: set[Identity] = set()
        self._generation = 0  # of the copy by which they were judged

    async def is_one(self, identity: Identity) -> bool:
        """Say whether a key that the copy does not know is of no host. Raise NoBoardError while nobody can tell."""
        if self._board.epoch is None:
            raise NoBoardError
        if self._generation != self._board.generation:
            self._judged, self._generation = set(), self._board.generation
        if identity not in self._judged:
            await self._follower.look_again()
            if not self._board.is_stranger(identity):
                return False
            if self._generation == self._board.generation:
                self._judged.add(identity)
        self._identities.note_stranger()
        return True
