"""What one batch adds to one campaign: its room, its columns, its numbers, its counts."""

import logging
from collections import Counter
from datetime import datetime

from agents.carving import carves
from campaigns import doorbell
from campaigns.collecting.limits import Fitting, Room, Rows, warn_of_cut
from campaigns.collecting.targets import TargetRow
from campaigns.models import Campaign
from campaigns.states import OPEN_STATES

logger = logging.getLogger(__name__)

MOST_COLUMNS, LONGEST_COLUMN = 2_000, 256  # that a campaign lists, and characters; rows keep all of theirs
COLUMNS_LEFT_OUT = (
    f"answers have columns that are not listed: a campaign lists {MOST_COLUMNS:,}, with names of {LONGEST_COLUMN}"
    " characters at most; rows keep all of theirs"
)


class Tally:
    """One campaign, whose lock the caller holds until the transaction ends.

    So `last_seq` can be counted up here: commits become visible in order of seq.
    """

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.asks_for_carves = carves.asks_for_carves(campaign.sql)
        self.last_seq = campaign.last_seq
        self._room = Room(campaign)
        self._columns = dict.fromkeys(campaign.columns)
        self._moves: Counter[tuple[str, str]] = Counter()
        self._last_end: datetime | None = None

    def take(self, rows: Rows) -> Fitting:
        """Number an answer and give what there is room for; of what is cut the campaign says so."""
        kept = self._room.fit(rows)
        if kept.cut:
            warn_of_cut(self.campaign)
        self.last_seq += 1
        self.campaign.count_rows += len(kept.rows)
        self.campaign.stored_bytes += len(kept.text)
        for row in kept.rows:
            if not row.keys() <= self._columns.keys():
                self._columns |= dict.fromkeys(row)
        return kept

    def count(self, target: TargetRow) -> None:
        """Count what the batch made of a target."""
        if target.before == target.state:
            return
        self._moves[target.before, target.state] += 1
        # A late answer says nothing of when the last open target became final.
        ended = target.ended_at if target.before in OPEN_STATES else None
        if ended and (self._last_end is None or ended > self._last_end):
            self._last_end = ended

    def save(self) -> None:
        """Write it, complete the campaign with its last final target, and ring for who watches."""
        campaign = self.campaign
        for (before, after), number in self._moves.items():
            campaign.move(before, after, number)
        if self.last_seq and not campaign.last_seq:
            logger.info("first answers stored campaign=%s hosts=%s", campaign.pk, self.last_seq)
        campaign.last_seq = self.last_seq
        self._list_columns()
        campaign.save_counts("last_seq", "columns", "stored_bytes", "warnings")
        if self._last_end:
            campaign.complete_if_over(self._last_end)
        doorbell.ring(campaign.pk)

    def _list_columns(self) -> None:
        """List the columns in order of first appearance; let the campaign say so when some are left out."""
        listed = [name for name in self._columns if len(name) <= LONGEST_COLUMN][:MOST_COLUMNS]
        if len(listed) < len(self._columns) and COLUMNS_LEFT_OUT not in self.campaign.warnings:
            self.campaign.warnings.append(COLUMNS_LEFT_OUT)
        self.campaign.columns = listed
