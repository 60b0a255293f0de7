"""Runs as one person sees them now: he may see less than when they were compared."""

from collections.abc import Iterable

from django.contrib.auth.models import User

from campaigns.answers import sight
from campaigns.recurring.models import ScheduledRun


def seen_by(runs: Iterable[ScheduledRun], user: User) -> list[ScheduledRun]:
    """Give the runs with their campaigns as this person sees them.

    What changed is told with values of hosts: it is left out of a run over hosts of which he does not see all.
    """
    found = list(runs)
    for run in found:
        run.campaign.columns = []  # of which a list of runs shows none, and to find those of a part reads every row
        run.campaign = sight.seen_by(run.campaign, user)
        if run.campaign.is_partial:
            run.changes = []
    return found
