"""The tables, functions and flags of osquery, learned from the fleet: no static copy, and extensions are known as well.

One host of each kind is asked, again after a day and when one has enrolled since. A kind is platform, version,
extensions and the digest of the names of all tables, so that hosts whose config or extensions add tables are a kind of
their own. When the host does not answer, the next of its kind is asked.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, F, OuterRef

from agents.models import Host, HostQuerySet, HousekeepingQuery, TableSchema

# Facts and tables tell the same digest of the names of active tables, so that either notices a change.
DIGEST = """(SELECT sha1(group_concat(name)) FROM
  (SELECT name FROM osquery_registry WHERE registry = 'table' AND active = 1 ORDER BY name))"""
SQL = f"""SELECT r.name AS "table", c.name AS "column", c.type AS type, c.hidden AS hidden
 FROM osquery_registry AS r, pragma_table_xinfo(r.name) AS c WHERE r.registry = 'table' AND r.active = 1
 UNION ALL SELECT '', 'digest', {DIGEST}, 0"""  # noqa: S608 - both parts are ours
FUNCTIONS_SQL = "SELECT DISTINCT name, narg AS arguments, type AS kind FROM pragma_function_list"
FLAGS_SQL = "SELECT name FROM osquery_flags"
QUESTIONS = {
    HousekeepingQuery.Kind.SCHEMA: SQL,
    HousekeepingQuery.Kind.FUNCTIONS: FUNCTIONS_SQL,
    HousekeepingQuery.Kind.FLAGS: FLAGS_SQL,
}

KIND = ("platform", "osquery_version", "extensions", "registry_digest")  # fields of hosts and of what is learned
ASK_AGAIN_AFTER = timedelta(minutes=10)  # when nothing came
LEARN_AGAIN_AFTER = timedelta(days=1)


def queries() -> list[HousekeepingQuery]:
    """Give the questions."""
    return list(HousekeepingQuery.objects.filter(kind__in=QUESTIONS))


def is_wanted(host: Host, now: datetime) -> bool:
    """Say whether this host should be asked: nobody of its kind has answered lately, or it enrolled since.

    While somebody of the kind is asked and has not answered, others wait for ten minutes.
    """
    if not host.osquery_version:
        return False
    schema, is_new = TableSchema.objects.get_or_create(**_kind(host), defaults={"asked_at": now})
    if is_new:
        return True
    learned = schema.learned_at
    is_fresh = learned is not None and max(now - LEARN_AGAIN_AFTER, host.enrolled_at) < learned
    is_under_way = (learned is None or learned < schema.asked_at) and schema.asked_at > now - ASK_AGAIN_AFTER
    if is_fresh or is_under_way:
        return False
    schema.asked_at = now
    schema.save(update_fields=["asked_at"])
    return True


def one_of_each_kind(hosts: HostQuerySet) -> HostQuerySet:
    """Give of each kind among these hosts the one that asked last."""
    last = hosts.order_by(*KIND, F("presence__last_seen").desc(nulls_last=True)).distinct(*KIND)
    chosen: HostQuerySet = Host.objects.filter(pk__in=list(last.values_list("pk", flat=True)))
    return chosen


def learn(host: Host, rows: list[dict[str, str]], at: datetime) -> None:
    """Keep the tables one host told, for all of its kind. An answer without any table teaches nothing."""
    tables: dict[str, list[tuple[str, str, bool]]] = defaultdict(list)
    for row in rows:
        if row.get("table") and row.get("column"):
            tables[row["table"]].append((row["column"], row.get("type", ""), row.get("hidden", "0") != "0"))
        elif row.get("column") == "digest":
            note_digest(host, row.get("type", ""))
    if tables:
        TableSchema.objects.update_or_create(**_kind(host), defaults={"tables": tables, "learned_at": at})


def learn_functions(host: Host, rows: Iterable[dict[str, str]]) -> None:
    """Keep the functions one host told, for all of its kind."""
    functions = sorted(
        {(row["name"], _whole(row.get("arguments", "")), row.get("kind", "")) for row in rows if row.get("name")}
    )
    if functions:
        _keep(host, functions=functions)


def learn_flags(host: Host, rows: Iterable[dict[str, str]]) -> None:
    """Keep the names of flags one host told, for all of its kind."""
    flags = sorted({row["name"] for row in rows if row.get("name")})
    if flags:
        _keep(host, flags=flags)


def _keep(host: Host, **told: list[Any]) -> None:
    if host.osquery_version:
        TableSchema.objects.update_or_create(**_kind(host), defaults=told)


def note_digest(host: Host, digest: str) -> None:
    """Let a host be of the kind that its tables say; an old agent without sha1 says none."""
    digest = digest.replace("\0", "")[:64]
    if digest and digest != host.registry_digest:
        host.registry_digest = digest
        host.save(update_fields=["registry_digest"])


def _whole(text: str) -> int:
    return int(text) if text.removeprefix("-").isdecimal() and len(text) < 9 else -1


def tables(platform: str = "", search: str = "", *, of: HostQuerySet | None = None) -> list[dict[str, Any]]:
    """Give every learned table by name: on which platforms it is, and its columns with theirs.

    `platform` and `search`, part of a table's name, narrow them, and so do the hosts they are `of`: None = of any,
    also of kinds that no host is of any more.
    """
    learned = TableSchema.objects.exclude(learned_at=None).order_by("learned_at")
    if of is not None:
        learned = learned.filter(Exists(of.filter(**{name: OuterRef(name) for name in KIND}).order_by()))
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
    return {name: getattr(host, name) for name in KIND}
