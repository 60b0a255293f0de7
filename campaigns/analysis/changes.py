"""What a run is answered differently than the one before, in sentences: `3 hosts newly gave port=4444`.

Looked at column by column, over hosts that answered both, and all of whose rows were kept: a host that was away is no
change, nor is what was cut off. A column that differs on nearly every host by itself, as numbers of processes do, says
nothing and is left out. When rows differ though no column gained or lost a value, whole rows are told.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.contrib.auth.models import User

from campaigns.analysis import diff
from campaigns.analysis.asking import Limits, answers
from campaigns.models import Campaign
from fleet.counting import counted
from fleet.text import shown

MOST_SENTENCES = 5
FEW_HOSTS = 5
MOST_COLUMNS = 20
MOST_VALUES = 50  # of a column
VALUE_SHOWN = 120  # characters
BOTH = "SELECT host_id FROM here WHERE NOT truncated INTERSECT SELECT host_id FROM there WHERE NOT truncated"
OF_COLUMN = """
WITH now AS (SELECT DISTINCT host_id, coalesce({here}, '') AS value FROM here WHERE place IS NOT NULL),
before AS (SELECT DISTINCT host_id, coalesce({there}, '') AS value FROM there WHERE place IS NOT NULL),
moved AS (
    SELECT host_id, value, true AS gained FROM (SELECT * FROM now EXCEPT SELECT * FROM before)
    UNION ALL SELECT host_id, value, false FROM (SELECT * FROM before EXCEPT SELECT * FROM now)
)
SELECT value, gained, count(*) FROM moved WHERE host_id IN ({both}) GROUP BY ALL ORDER BY 3 DESC, 2 DESC, 1 LIMIT {most}
"""


class Change(NamedTuple):
    """So many hosts gave something newly, or give it no more."""

    hosts: int
    gained: bool
    what: str

    @property
    def sentence(self) -> str:
        """Say the change in words: how many hosts gave what newly, or no longer."""
        verb = "newly gave" if self.gained else "no longer gave"
        return f"{counted(self.hosts, 'host')} {verb} {self.what}"


def sentences(now: Campaign, before: Campaign, by: User, see: diff.See) -> list[str]:
    """Say what changed, as this person sees both; [] = nothing did. Raise what `diff` does."""
    both = diff.compared(now, before.pk, (), by, see)
    page = both.page(1, 0, by_groups=False)
    if not page["hosts"]["changed"]:
        return []
    of_columns = _by_column(both)
    hosts = page["hosts"]["changed"] + page["hosts"]["same"]
    noise = {name for name in page["suggested_ignore"] if _is_noise(of_columns.get(name, []), hosts)}
    found = [change for name, some in of_columns.items() if name not in noise for change in some]
    if not of_columns and not page["truncated_hosts"]:
        found = _by_row(both)
    said = [change.sentence for change in sorted(found, key=lambda one: (-one.hosts, not one.gained, one.what))]
    more = len(said) - MOST_SENTENCES
    return [*said[:MOST_SENTENCES], *([f"and {counted(more, 'more change')}"] if more > 0 else [])]


def _is_noise(some: Sequence[Change], hosts: int) -> bool:
    """Say whether each host has a value of its own here; of few hosts nobody can tell."""
    return hosts >= FEW_HOSTS and all(change.hosts <= max(1, hosts // 10) for change in some)


def _by_column(both: diff.Diff) -> dict[str, list[Change]]:
    """Give the changes of each column that has some."""
    columns = both.columns[:MOST_COLUMNS]
    texts = [
        OF_COLUMN.format(
            here=diff.place_of(both.here, "", name),
            there=diff.place_of(both.there, "", name),
            both=BOTH,
            most=MOST_VALUES,
        )
        for name in columns
    ]
    found = answers(texts, both.tables, Limits(bytes=diff.MOST_BYTES)) if texts else []
    return {
        name: [Change(hosts, gained, _named(name, value)) for value, gained, hosts in answer.rows]
        for name, answer in zip(columns, found, strict=True)
        if answer.rows
    }


def _by_row(both: diff.Diff) -> list[Change]:
    groups: list[dict[str, Any]] = both.page(MOST_VALUES, 0, by_groups=True)["results"]
    return [
        Change(
            group["hosts_in_both"],
            group["change"] == "added",
            ", ".join(_named(*cell) for cell in group["row"].items()),
        )
        for group in groups
        if group["hosts_in_both"]
    ]


def _named(name: str, value: str) -> str:
    return f"{_shown(name)}={_shown(value)}"


def _shown(text: str) -> str:
    """Give the beginning of what a host sent, on one line: sentences go to people's mails and chats."""
    return f"{shown(text[:VALUE_SHOWN])}{'…' if len(text) > VALUE_SHOWN else ''}"
