"""Which kinds of host cannot run a campaign's SQL, as SQLite says with the tables that such hosts told of."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from django.db import connection

from agents.inventory import sql
from agents.models import HostQuerySet, TableSchema
from campaigns.selecting.selection import sql_of
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
    return unsupported_among(text, _kinds_of(hosts))


def unsupported_among(text: str, kinds: Mapping[Kind, int]) -> list[Unsupported]:
    """Name those of these kinds, of which there are so many hosts, that cannot run the SQL. Raise BadInputError."""
    refused = _refused(text, kinds)
    if refused and len(refused) == len(kinds):
        commonest = max(refused, key=lambda kind: kinds[kind[:3]])
        raise BadInputError(f"sql {sql.excerpt(text)} is wrong on every host that is meant: {commonest.error}", "sql")
    return refused


def unsupported_too(known: Sequence[Sequence[str]], text: str, joined: HostQuerySet) -> list[Unsupported]:
    """Name the kinds that cannot run the SQL: those that are known, and those among hosts that join later."""
    kinds = {Unsupported(*kind)[:3]: Unsupported(*kind) for kind in known}
    fresh = [kind for kind in _kinds_of(joined) if kind not in kinds]
    return [*kinds.values(), *_refused(text, fresh)]


def able(hosts: HostQuerySet, refused: Sequence[Unsupported]) -> HostQuerySet:
    """Give those of the hosts that can run the SQL, as far as is known."""
    for kind in refused:
        hosts = hosts.exclude(platform=kind.platform, osquery_version=kind.osquery_version, extensions=kind.extensions)
    return hosts


def _refused(text: str, kinds: Iterable[Kind]) -> list[Unsupported]:
    schemas = {_kind(schema): schema for schema in TableSchema.objects.exclude(learned_at=None).defer("tables")}
    troubles = {kind: sql.trouble_on(text, schemas[kind]) for kind in kinds if kind in schemas}
    return [Unsupported(*kind, trouble) for kind, trouble in troubles.items() if trouble is not None]


def _kinds_of(hosts: HostQuerySet) -> dict[Kind, int]:
    text, params = sql_of(hosts, "platform", "osquery_version", "extensions")
    with connection.cursor() as cursor:
        cursor.execute(COUNT_KINDS.format(text), params)
        return {(platform, version, extensions): hosts for platform, version, extensions, hosts in cursor.fetchall()}


def _kind(schema: TableSchema) -> Kind:
    return schema.platform, schema.osquery_version, schema.extensions
