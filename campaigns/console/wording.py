"""Campaigns in the words and shapes that people see: what a state means, whom a target means, how a bar is cut.

Reads campaigns and changes nothing; the console, the admin and their templates share it.
"""

import json
import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

from agents.models import Platform
from campaigns.launching.rollout import ASKS
from campaigns.models import Campaign
from campaigns.states import State
from fleet.counting import counted
from fleet.text import visible

# In the order of the bar: what came back first, what is still open last.
MEANINGS: dict[State, str] = {
    State.ANSWERED: "The host ran the SQL and answered. No rows is an answer too.",
    State.FAILED: "The host reported an error, or its answer could not be stored. The error is kept.",
    State.DENYLISTED: "The host refuses this exact SQL because osquery died running it before.",
    State.UNSUPPORTED: "A table or column does not exist on this platform and version. It was never sent.",
    State.NO_ANSWER: "The SQL was handed out as often as allowed and nothing came back in time.",
    State.MISSED: "The host did not ask for work between start and end. It was probably offline.",
    State.HELD_BACK: "The SQL was kept from the host by a canary, a limit, a pause or an outage.",
    State.STOPPED: "Still open when the campaign was stopped.",
    State.DELIVERED: "The host has the SQL and has not answered yet.",
    State.WAITING: "Not handed to the host yet. It gets the SQL when it asks for work.",
}
BAR_UNITS = 1000  # the bar's width in its own units
LEAST_UNITS = 6  # so that one host in 100,000 can be seen
BRAKED = re.compile(r"brake \w+: ")  # how the sentence of a brake begins, which names it for programs
SQL_EXCERPT = 90  # characters
NAMES_SHOWN = 5


# What each brake watches, and the unit of its figures.
BRAKES = {
    "failed_percent": ("Answers that are errors", " %"),
    "silent_percent": ("Hosts that were asked and stay silent", " %"),
    "median_wall_ms": ("What the median host takes", " ms"),
    "rows": ("Rows that have come in all", ""),
    "denylisted": ("Hosts that refuse it, because osquery died running it before", ""),
}


class Segment(NamedTuple):
    """One state of a campaign: its words, its count, and its place on the bar in bar units."""

    state: str
    label: str
    meaning: str
    hosts: int
    x: int
    width: int


def segments(campaign: Campaign) -> list[Segment]:
    """Give every state in the order of the bar. Widths follow the counts, but nothing that is there is invisible."""
    counts = {state: campaign.counts[state.value] for state in MEANINGS}
    widths = bar_widths(list(counts.values()))
    made, x = [], 0
    for (state, count), width in zip(counts.items(), widths, strict=True):
        made.append(Segment(state.value, str(state.label), MEANINGS[state], count, x, width))
        x += width
    return made


def bar_widths(counts: list[int]) -> list[int]:
    """Share the bar out among the counts; `bar.ts` does the same."""
    total = sum(counts)
    if not total:
        return [0] * len(counts)
    widths = [max(LEAST_UNITS, round(BAR_UNITS * count / total)) if count else 0 for count in counts]
    widest = widths.index(max(widths))
    widths[widest] += BAR_UNITS - sum(widths)  # what rounding and the least width took comes from the widest
    return widths


def target_in_words(target: Any) -> str:
    """Say whom a selection means: `hosts labelled web, on Linux; only those online`."""
    if not isinstance(target, dict):
        return "unknown"
    chosen = _chosen(target)
    text = " and ".join(chosen) if chosen else "nobody"
    if target.get("exclude_labels"):
        text += f"; without {_names(target['exclude_labels'])}"
    if target.get("online"):
        text += "; only those online at launch"
    return text + _sample(target.get("sample", {}))


def _sample(sample: dict[str, Any]) -> str:
    if "percent" in sample:
        return f"; a sample of {sample['percent']} %"
    return f"; a sample of {sample['count']}" if "count" in sample else ""


def _chosen(target: dict[str, Any]) -> list[str]:
    if target.get("all"):
        return ["all hosts"]
    parts = []
    platforms = [str(Platform(name).label) if name in Platform.values else name for name in target.get("platforms", [])]
    if target.get("labels"):
        parts.append(f"hosts labelled {_names(target['labels'])}" + (f", on {_names(platforms)}" if platforms else ""))
    elif platforms:
        parts.append(f"{_names(platforms)} hosts")
    if target.get("hosts"):
        hosts = [f"#{name}" if isinstance(name, int) else str(name) for name in target["hosts"]]
        are_ids = all(isinstance(name, int) for name in target["hosts"])  # else names, which several may bear
        kind = "hosts" if are_ids else "host names"
        parts.append(f"{'host' if len(hosts) == 1 else f'{len(hosts)} {kind}:'} {_names(hosts)}")
    if target.get("campaign"):
        parts.append(_of_campaign(target["campaign"]))
    return parts


def _of_campaign(earlier: dict[str, Any]) -> str:
    words = [str(State(state).label) for state in earlier.get("states", [])]
    group = ", with one answer" if "group" in earlier else ""
    return f"hosts of campaign {earlier['id']}" + (f" that are {_names(words)}" if words else "") + group


def _names(names: list[str]) -> str:
    """Join alternatives for reading; long lists are cut with their number said."""
    if len(names) > NAMES_SHOWN:
        return f"{', '.join(names[:NAMES_SHOWN])} and {len(names) - NAMES_SHOWN} more"
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def state_word(campaign: Campaign) -> str:
    """Say in a word or three how far a campaign is. `words.ts` says the same."""
    if campaign.waits_for:
        return "waits for approval"
    return "stopping" if campaign.ended_by and not campaign.is_over else str(campaign.status)


def moment(at: datetime) -> str:
    """Write a moment as sentences name it; pages show it by the clock that was chosen."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def limits_in_words(campaign: Campaign) -> list[tuple[str, str]]:
    """Name the limits of a campaign as a second person reads them; those that are not set are left out."""
    lines = [("Waits", f"{duration(campaign.timeout)} for answers")]
    if campaign.answer_within is not None:
        lines.append(("One host", f"has {duration(campaign.answer_within)} to answer"))
    if campaign.start_at is not None:
        lines.append(("Begins", f"at {moment(campaign.start_at)}, not before"))
    lines.append(("Rollout", json.dumps(campaign.rollout) if campaign.rollout else "all hosts at once"))
    if campaign.is_forced:
        lines.append(("Forced", "hosts too whose tables speak against the SQL"))
    return lines


def ending(campaign: Campaign) -> str:
    """Say how long it took and who ended it why, or that it is ending; "" = it is open. `words.ts` says the same."""
    braked = BRAKED.match(campaign.ended_reason) if campaign.ended_by == "brake" else None
    by = " by a brake" if braked else f" by {campaign.ended_by}" if campaign.ended_by else ""
    why = campaign.ended_reason[braked.end() if braked else 0 :]
    if campaign.is_over and campaign.started_at is None and (never := _never_begun(campaign)):
        return never
    why = f": {why}" if why else ""
    if campaign.is_over:
        return f"{campaign.status.capitalize()}{_took(campaign)}{by}{why}".rstrip(".") + "."
    return f"Stopping{by}{why}. What hosts have sent is being stored." if campaign.ended_by else ""


def _never_begun(campaign: Campaign) -> str:
    """Say what a second person, who asked, or the time did to what waited for an approval; "" = it did not."""
    by, why = campaign.ended_by, campaign.ended_reason.rstrip(".")
    if why.startswith("rejected: "):
        return f"Rejected by {by}: {why.removeprefix('rejected: ')}."
    if why == f"withdrawn by {by} before it began":
        return f"{why[0].upper()}{why[1:]}."
    begins = {"approval": "Stopped", "schedule": "It did not begin"}
    return f"{begins[by]}: {why}." if by in begins else ""


def nothing_sent(campaign: Campaign) -> str:
    """Say why an ended campaign has no rows. `words.ts` says the same."""
    failed = campaign.count_failed + campaign.count_denylisted
    if not campaign.count_targeted:
        return "Nobody was asked."
    if campaign.count_unsupported == campaign.count_targeted:
        return "No host can run this SQL: a table or column is missing on each."
    if campaign.count_answered:
        return f"{counted(campaign.count_answered, 'host')} answered, without a row."
    return f"No host sent a row: {failed:,} failed." if failed else "Nobody answered."


def pause(campaign: Campaign) -> str:
    """Say who paused it why, each once."""
    by = "" if campaign.paused_by == ASKS else f" by {campaign.paused_by}"
    why = "" if campaign.paused_reason in ("", f"paused{by}") else f": {campaign.paused_reason}".rstrip(".")
    return f"Paused{by}{why}. Nobody is handed the SQL; hosts that have it may answer."


def _took(campaign: Campaign) -> str:
    if campaign.started_at is None or campaign.ended_at is None:
        return ""
    return f" after {duration((campaign.ended_at - campaign.started_at).total_seconds())}"


def title(campaign: Campaign) -> str:
    """Give the campaign's name, or else the beginning of its SQL on one line."""
    text = campaign.name or " ".join(campaign.sql.split())
    return visible(text if len(text) <= SQL_EXCERPT else text[: SQL_EXCERPT - 1] + "…")


def duration(seconds: float) -> str:
    """Give a length of time in its two largest units: `2 h 5 min`."""
    left = max(0, round(seconds))
    parts = []
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {name}")
    return " ".join(parts[:2]) or "0 s"


def binary_size(number: int | None) -> str:
    """Write bytes in the largest binary unit that leaves one or more: 64 GiB, 1.5 GiB; "" for None."""
    if number is None:
        return ""
    size = float(number)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.1f}".removesuffix(".0") + f" {unit}"


def cost(value: float, measure: str) -> str:
    """Write what a query cost: memory in binary units, anything else is milliseconds."""
    if measure == "memory":
        return binary_size(round(value))
    if value >= 10_000:
        return f"{value / 1000:,.1f} s"
    return f"{value:,.1f}".removesuffix(".0") + " ms"
