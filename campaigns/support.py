"""Which kinds of host cannot run a campaign's SQL, as SQLite says with the tables that such hosts told of."""

from typing import NamedTuple

from django.db import connection

from agents import sql
from agents.models import HostQuerySet, TableSchema
from campaigns.selection import sql_of
from fleet.errors import BadInputError

Kind = tuple[str, str, str]  # platform, osquery version, extensions

COUNT_KINDS = (
    "SELECT platform, version, extensions, count(*) FROM ({}) AS meant (platform, version, extensions) GROUP BY 1, 2, 3"
)


class Unsupported(NamedTuple):
    """One kind of host that is never asked, and why; kept with the campaign as a list of four texts."""

    platform: str
    osquery_version: str
    extensions: str
    error: str


def unsupported(text: str, hosts: HostQuerySet) -> list[Unsupported]:
    """Name the kinds among `hosts` that cannot run the SQL. Raise BadInputError when that is every one of them."""
    kinds = _kinds_of(hosts)
    schemas = {_kind(schema): schema for schema in TableSchema.objects.exclude(learned_at=None)}
    troubles = {kind: sql.trouble_on(text, schemas[kind]) for kind in kinds if kind in schemas}
    refused = [Unsupported(*kind, trouble) for kind, trouble in troubles.items() if trouble is not None]
    if refused and len(refused) == len(kinds):
        most = max(refused, key=lambda kind: kinds[kind[:3]])
        raise BadInputError(f"sql {sql.excerpt(text)} is wrong on every host that is meant: {most.error}", "sql")
    return refused


def _kinds_of(hosts: HostQuerySet) -> dict[Kind, int]:
    text, params = sql_of(hosts, "platform", "osquery_version", "extensions")
    with connection.cursor() as cursor:
        cursor.execute(COUNT_KINDS.format(text), params)
        return {(platform, version, extensions): hosts for platform, version, extensions, hosts in cursor.fetchall()}


def _kind(schema: TableSchema) -> Kind:
    return schema.platform, schema.osquery_version, schema.extensions
