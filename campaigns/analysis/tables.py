"""The tables that people ask: what PostgreSQL sends for each, and how the columns of answers are called there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from campaigns.analysis.sight import Sight
from campaigns.models import Campaign
from campaigns.states import State
from fleet.counting import counted
from fleet.errors import BadInputError

OURS = ("host_id", "host", "platform", "labels", "received_at", "late", "truncated")  # beside what was answered
MOST_COLUMNS = 1000
UTC = "{} AT TIME ZONE 'UTC'"

ANSWERS = """
SELECT result.seq, item.place, result.host_id, result.hostname, {received_at}, result.late, result.truncated{cells}
FROM campaigns_result AS result
LEFT JOIN LATERAL jsonb_array_elements(result.rows) WITH ORDINALITY AS item (row, place) ON TRUE
WHERE result.campaign_id = %s AND result.state = %s AND result.seq > %s AND result.seq <= %s AND {seen}
ORDER BY result.seq, item.place
"""
TARGETS = """
SELECT host_id, hostname, state, late, deliveries, {delivered_at}, {answered_at}, {ended_at}, nullif(error, ''),
    row_count, wall_ms, user_ms, system_ms, memory_bytes
FROM campaigns_target WHERE campaign_id = %s AND {seen} ORDER BY host_id
"""
# What is told of a host is what is known now, not when it answered.
HOSTS = """
SELECT host.id, host.hostname, host.platform, coalesce(label.names, '[]'){facts}
FROM campaigns_target AS target JOIN agents_host AS host ON host.id = target.host_id
LEFT JOIN LATERAL (
    SELECT jsonb_agg(label.name ORDER BY label.name)::text AS names FROM agents_labelmembership AS member
    JOIN agents_label AS label ON label.id = member.label_id WHERE member.host_id = host.id
) AS label ON TRUE
LEFT JOIN agents_presence AS presence ON presence.host_id = host.id
WHERE target.campaign_id = %s AND {seen} ORDER BY host.id
"""
FACTS = {
    "os_name": ("VARCHAR", "host.os_name"),
    "os_version": ("VARCHAR", "host.os_version"),
    "osquery_version": ("VARCHAR", "host.osquery_version"),
    "host_identifier": ("VARCHAR", "host.host_identifier"),
    "uuid": ("VARCHAR", "host.uuid"),
    "hardware_serial": ("VARCHAR", "host.hardware_serial"),
    "cpu_brand": ("VARCHAR", "host.cpu_brand"),
    "physical_memory": ("BIGINT", "host.physical_memory"),
    "address": ("VARCHAR", "host(host.address)"),
    "addresses": ("VARCHAR", "host.addresses"),
    "enrolled_at": ("TIMESTAMP", UTC.format("host.enrolled_at")),
    "last_seen": ("TIMESTAMP", UTC.format("presence.last_seen")),
    "revoked_at": ("TIMESTAMP", UTC.format("host.revoked_at")),
}
TARGET_COLUMNS = {
    "host_id": "BIGINT",
    "host": "VARCHAR",
    "state": "VARCHAR",
    "late": "BOOLEAN",
    "deliveries": "INTEGER",
    **dict.fromkeys(("delivered_at", "answered_at", "ended_at"), "TIMESTAMP"),
    "error": "VARCHAR",
    "row_count": "BIGINT",
    **dict.fromkeys(("wall_ms", "user_ms", "system_ms", "memory_bytes"), "BIGINT"),
}
ANSWER_COLUMNS = {
    "seq": "BIGINT",
    "place": "BIGINT",
    "host_id": "BIGINT",
    "host": "VARCHAR",
    "received_at": "TIMESTAMP",
    "late": "BOOLEAN",
    "truncated": "BOOLEAN",
}
HOST_COLUMNS = {"host_id": "BIGINT", "host": "VARCHAR", "platform": "VARCHAR", "labels": "VARCHAR"}
LABELS = {"labels": """from_json("labels", '["VARCHAR"]')"""}


@dataclass(frozen=True)
class Table:
    """What PostgreSQL sends for one table, and what becomes of it."""

    sql: str
    values: list[Any]
    columns: dict[str, str]
    shown: dict[str, str] = field(default_factory=dict)  # columns that take another form
    answers: list[tuple[str, str]] = field(default_factory=list)  # where a column of the answers lies, its name
    texts: list[str] = field(default_factory=list)  # those of them that are texts whatever they hold


def names_of(columns: Iterable[str], ours: Sequence[str] = OURS) -> list[str]:
    """Name the columns of answers as SQL can: the engine knows no case, and no name that is empty.

    One that is called like a column of ours begins with `row.`, one like an earlier column ends with its number.
    """
    taken, names = {name.lower() for name in ours}, []
    for place, column in enumerate(columns, 1):
        name = column or f"column{place}"
        if name.lower() in {own.lower() for own in ours}:
            name = f"row.{name}"
        stem, number = name, 2
        while name.lower() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.lower())
        names.append(name)
    return names


def answers_table(campaign: Campaign, last_seq: int, sight: Sight, after: int = 0) -> Table:
    """Give the table of what hosts answered after a seq and up to one; without rows a host has empty cells."""
    columns = campaign.columns
    check_size(f"campaign {campaign.pk}", columns, campaign.stored_bytes)
    seen, values = sight.of("result.host_id")
    cells = "".join([", item.row ->> %s"] * len(columns))
    sql = ANSWERS.format(received_at=UTC.format("result.received_at"), cells=cells, seen=seen)
    places = [f"c{place}" for place in range(len(columns))]
    names = names_of(columns)
    return Table(
        sql,
        [*columns, campaign.pk, State.ANSWERED.value, after, last_seq, *values],
        {**ANSWER_COLUMNS, **dict.fromkeys(places, "VARCHAR")},
        answers=list(zip(places, names, strict=True)),
        texts=[place for place, name in zip(places, names, strict=True) if is_text_by_name(name)],
    )


def check_size(whose: str, columns: Sequence[str], stored_bytes: int) -> None:
    """Raise BadInputError for more than is copied."""
    if len(columns) > MOST_COLUMNS:
        raise BadInputError(f"{whose} has {len(columns)} columns, {MOST_COLUMNS} are the most that can be analysed")
    if stored_bytes > settings.ANALYSIS_COPY_BYTES:
        raise BadInputError(
            f"{whose} has {counted(stored_bytes, 'byte')} of answers, {settings.ANALYSIS_COPY_BYTES} are the most"
            " that can be analysed (ANALYSIS_COPY_BYTES): export them instead"
        )


def is_text_by_name(name: str) -> bool:
    """Say whether a column is text whatever it holds: 1.10 is a version, and no number."""
    return name.lower().endswith("version")


def targets_table(campaign: Campaign, sight: Sight) -> Table:
    """Give the table of targets."""
    moments = {name: UTC.format(name) for name in ("delivered_at", "answered_at", "ended_at")}
    seen, values = sight.of("host_id")
    return Table(TARGETS.format(**moments, seen=seen), [campaign.pk, *values], TARGET_COLUMNS)


def hosts_table(campaign: Campaign, sight: Sight) -> Table:
    """Give the table of the facts of a campaign's hosts."""
    facts = FACTS if sight.sees_facts else {}
    seen, values = sight.of("host.id")
    sql = HOSTS.format(facts="".join(f", {source}" for _, source in facts.values()), seen=seen)
    kinds = {name: kind for name, (kind, _) in facts.items()}
    return Table(sql, [campaign.pk, *values], {**HOST_COLUMNS, **kinds}, shown=LABELS)
