"""What must be said of a campaign above its rows: how it ended, why it waits, what was warned of. Most urgent first."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from campaigns.console import wording
from campaigns.launching.models import Approval
from campaigns.models import Campaign
from campaigns.states import Status

WARN, PLAIN = "warn", "plain-banner"
SHORT = 60  # characters that fit a phone's line


class Notice(NamedTuple):
    """One thing to say; `at` stands behind it, then the campaigns it is about."""

    kind: str
    text: str
    at: datetime | None = None
    campaigns: tuple[int, ...] = ()
    is_ending: bool = False

    @property
    def is_short(self) -> bool:
        """Say whether it is read whole on any screen."""
        return len(self.text) <= SHORT and not self.campaigns


def notices(shown: Campaign, approval: Approval | None, reruns: Iterable[Campaign]) -> list[Notice]:
    """Give them; [] = nothing must be said."""
    found = []
    if ending := wording.ending(shown):
        found.append(Notice(PLAIN, ending, is_ending=True))
    if shown.status == Status.PAUSED and not shown.ended_by:
        found.append(Notice(WARN, wording.pause(shown)))
    if shown.status == Status.SCHEDULED:
        found.append(_start(shown, approval))
    found += [Notice(WARN, warning) for warning in shown.warnings]
    if again := tuple(rerun.pk for rerun in reruns):
        found.append(Notice(PLAIN, "Asked again in", campaigns=again))
    return found


def _start(shown: Campaign, approval: Approval | None) -> Notice:
    if shown.waits_for and approval is not None:
        why = "" if shown.is_partial else f": {'; '.join(approval.why)}"  # it counts hosts
        text = f"Waits for a second person{why}. Its hosts are frozen; nobody is asked yet. The request expires"
        return Notice(WARN, text, approval.expires_at)
    by = f", approved by {approval.decided_by_name}," if approval is not None else ""
    if shown.start_at is None:
        return Notice(PLAIN, f"It begins{by} when it may")
    text = f"Nobody is asked yet. It begins{by} at {wording.moment(shown.start_at)},"
    return Notice(PLAIN, text, shown.start_at)
