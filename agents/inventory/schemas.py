"""The tables of osquery, learned from the fleet: no static copy, and the tables of extensions are known as well.

One host of each kind (platform, version, extensions) is asked. When it does not answer, the next of its kind is.
"""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from agents.models import Host, HousekeepingQuery, TableSchema

SQL = """SELECT r.name AS "table", c.name AS "column", c.type AS type, c.hidden AS hidden
 FROM osquery_registry AS r, pragma_table_xinfo(r.name) AS c WHERE r.registry = 'table' AND r.active = 1"""

ASK_AGAIN_AFTER = timedelta(minutes=10)


def query() -> HousekeepingQuery:
    """Give the question."""
    return HousekeepingQuery.objects.get(kind=HousekeepingQuery.Kind.SCHEMA)


def is_wanted(host: Host, now: datetime) -> bool:
    """Say whether this host should be asked for its tables: nobody of its kind has answered, or was asked lately."""
    if not host.osquery_version:
        return False
    schema, is_new = TableSchema.objects.get_or_create(**_kind(host), defaults={"asked_at": now})
    if is_new:
        return True
    if schema.learned_at is not None or schema.asked_at > now - ASK_AGAIN_AFTER:
        return False
    schema.asked_at = now
    schema.save(update_fields=["asked_at"])
    return True


def learn(host: Host, rows: list[dict[str, str]], at: datetime) -> None:
    """Keep the tables one host told, for all of its kind. An answer without any table teaches nothing."""
    tables: dict[str, list[tuple[str, str, bool]]] = defaultdict(list)
    for row in rows:
        if row.get("table") and row.get("column"):
            tables[row["table"]].append((row["column"], row.get("type", ""), row.get("hidden", "0") != "0"))
    if tables:
        TableSchema.objects.update_or_create(**_kind(host), defaults={"tables": tables, "learned_at": at})


def tables(platform: str = "", search: str = "") -> list[dict[str, Any]]:
    """Give every learned table by name: on which platforms it is, and its columns with theirs.

    `platform` and `search`, part of a table's name, narrow them.
    """
    learned = TableSchema.objects.exclude(learned_at=None).order_by("learned_at")
    merged: dict[str, dict[str, Any]] = {}
    for schema in learned.filter(platform=platform) if platform else learned:
        for name, columns in schema.tables.items():
            if search.lower() in name.lower():
                table = merged.setdefault(name, {"platforms": set(), "columns": {}})
                table["platforms"].add(schema.platform)
                for column, kind, hidden in columns:
                    known = table["columns"].setdefault(column, {"platforms": set()})
                    known |= {"type": kind, "hidden": hidden}
                    known["platforms"].add(schema.platform)
    return [
        {
            "name": name,
            "platforms": sorted(table["platforms"]),
            "columns": [
                {"name": column, **known, "platforms": sorted(known["platforms"])}
                for column, known in table["columns"].items()
            ],
        }
        for name, table in sorted(merged.items())
    ]


def _kind(host: Host) -> dict[str, Any]:
    return {"platform": host.platform, "osquery_version": host.osquery_version, "extensions": host.extensions}
