"""What a campaign's brakes read: each figure as it is now, whether it is past a limit, the sentence to stop with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection

from agents.board import heartbeats
from campaigns.launching.rollout import Rollout
from campaigns.models import Campaign, Target
from campaigns.states import State
from fleet.counting import counted

SILENT_AFTER = timedelta(seconds=15)  # a host that asked again so long after its delivery has nothing to say
MEDIAN = "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY wall_ms) FROM campaigns_target WHERE campaign_id = %s"


@dataclass(frozen=True)
class Reading:
    """A brake's figure: `value`, None = not known yet; of how many hosts it is a part, None = it is no part."""

    name: str
    value: float | None
    of: int | None
    words: str  # with {limit}
    reaches: bool = False  # whether the limit itself is too much

    def is_past(self, limit: float) -> bool:
        """Say whether it is time to stop."""
        if self.value is None:
            return False
        if self.of is not None:
            return 100 * self.value > limit * self.of
        return self.value >= limit if self.reaches else self.value > limit

    def sentence(self, limit: float) -> str:
        """Say which brake was pulled at which figures."""
        return f"brake {self.name}: {self.words.format(limit=f'{limit:g}')}"


def readings(campaign: Campaign) -> list[tuple[Reading, float]]:
    """Read the brakes that were ordered, each with its limit; [] = none were."""
    rollout = Rollout.read(campaign.rollout)
    return [(READ[name](campaign), limit) for name, limit in rollout.stop_if.items()] if rollout else []


def _failed(campaign: Campaign) -> Reading:
    failed = campaign.count_failed + campaign.count_denylisted
    answers = campaign.count_answered + failed
    words = f"{failed} of {counted(answers, 'answer')} failed, the limit is {{limit}} %"
    return Reading("failed_percent", failed, answers, words)


def _rows(campaign: Campaign) -> Reading:
    return Reading("rows", campaign.count_rows, None, f"{counted(campaign.count_rows, 'row')}, the limit is {{limit}}")


def _median(campaign: Campaign) -> Reading:
    with connection.cursor() as cursor:
        cursor.execute(MEDIAN, [campaign.pk])
        median: float | None = cursor.fetchone()[0]
    took = "" if median is None else f"{median:g}"
    return Reading("median_wall_ms", median, None, f"the median host took {took} ms, the limit is {{limit}} ms")


def _silent(campaign: Campaign) -> Reading:
    """Count the hosts that were handed the SQL and have asked again without answering, and all that were handed it."""
    handed = Target.objects.filter(campaign=campaign, delivered_at__isnull=False)
    in_flight = handed.filter(state=State.DELIVERED).values_list("host_id", "delivered_at")
    due = {host: at + SILENT_AFTER for host, at in in_flight if at is not None}
    reads = heartbeats.reads_of(list(due))
    silent = campaign.count_no_answer + sum(read.last > due[host] for host, read in reads.items())
    asked = handed.count()
    words = f"{silent} of {counted(asked, 'host')} were asked and stay silent, the limit is {{limit}} %"
    return Reading("silent_percent", silent, asked, words)


def _denylisted(campaign: Campaign) -> Reading:
    return _of_denylisted(campaign.count_denylisted)


def _of_denylisted(hosts: int) -> Reading:
    words = f"{counted(hosts, 'host')} died running this SQL before, the limit is {{limit}}"
    return Reading("denylisted", hosts, None, words, reaches=True)


def denylisted_sentence(denylisted: int, limit: float) -> str:
    """Say that hosts died running this SQL."""
    return _of_denylisted(denylisted).sentence(limit)


READ: dict[str, Callable[[Campaign], Reading]] = {
    "failed_percent": _failed,
    "silent_percent": _silent,
    "median_wall_ms": _median,
    "rows": _rows,
    "denylisted": _denylisted,
}
