"""Which kinds of host cannot run a campaign's SQL, as SQLite says with the tables that such hosts told of."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from django.db import connection

from agents.inventory import sql
from agents.inventory.schemas import KIND
from agents.models import HostQuerySet, Platform, TableSchema
from fleet.counting import plural
from fleet.errors import BadInputError

Kind = tuple[str, str, str, str]  # platform, osquery version, extensions, digest of the names of its tables

COUNT_KINDS = """
SELECT platform, version, extensions, digest, count(*)
FROM ({}) AS meant (platform, version, extensions, digest) GROUP BY 1, 2, 3, 4
"""


class Unsupported(NamedTuple):
    """One kind of host that is never asked, and why; kept with the campaign as a list of these texts."""

    platform: str
    osquery_version: str
    extensions: str
    error: str
    registry_digest: str = ""

    @property
    def kind(self) -> Kind:
        """Give the kind."""
        return self.platform, self.osquery_version, self.extensions, self.registry_digest


class Trouble(NamedTuple):
    """What is wrong with SQL as it is typed; `everywhere` = on every kind of host that is enrolled."""

    trouble: sql.Trouble
    platforms: list[str]
    everywhere: bool


class Support(NamedTuple):
    """What is known of SQL on some kinds of host: which cannot run it, and what is to be said before it is sent."""

    refused: list[Unsupported]
    warnings: list[str]


class NobodyCanRunItError(BadInputError):
    """The SQL is wrong on every host that is meant, as far as their tables are known."""

    for_programs = ' (with "force": true they are asked all the same)'


def support(text: str, hosts: HostQuerySet, *, forced: bool = False) -> Support:
    """Say which kinds among `hosts` cannot run the SQL. Raise BadInputError when that is every one of them.

    When forced all of them are asked, and nothing is refused: the warnings say what spoke against it.
    """
    return support_among(text, _kinds_of(hosts), forced=forced, not_asked="will not be asked")


def support_among(
    text: str, kinds: Mapping[Kind, int], *, forced: bool = False, not_asked: str = "would not be asked"
) -> Support:
    """Say the same of these kinds, of which there are so many hosts. Raise BadInputError."""
    schemas = _learned(kinds)
    refused = _refused(text, kinds, schemas)
    if refused and len(refused) == len(kinds) and not forced:
        commonest = max(refused, key=lambda one: kinds[one.kind])
        raise NobodyCanRunItError(
            f"sql {sql.excerpt(text)} is wrong on every host that is meant: {commonest.error}", "sql"
        )
    lacking: Counter[tuple[str, str]] = Counter()
    for one in refused:
        lacking[one.platform, one.error] += kinds[one.kind]
    said = "will be asked in spite of the check, which says" if forced else f"cannot run it and {not_asked}"
    warnings = [
        f"{many} {Platform(platform).label} {plural(many, 'host')} {said}: {error}"
        for (platform, error), many in lacking.most_common()
    ]
    able = [schema for kind, schema in schemas.items() if forced or kind not in {one.kind for one in refused}]
    return Support([] if forced else refused, warnings + _of_repeated_columns(text, able))


def first_trouble(text: str, hosts: HostQuerySet) -> Trouble | None:
    """Give what is wrong on most of the hosts on which something is; None = nothing is, as far as is known."""
    kinds = _kinds_of(hosts)
    schemas = _learned(kinds)
    found = {kind: sql.find_trouble(text, schemas.get(kind)) for kind in kinds}
    wrong = {kind: trouble for kind, trouble in found.items() if trouble is not None}
    if not wrong:
        return None
    commonest = wrong[max(wrong, key=kinds.__getitem__)]
    platforms = sorted({kind[0] for kind, trouble in wrong.items() if trouble == commonest})
    return Trouble(commonest, platforms, everywhere=len(wrong) == len(kinds))


def _of_repeated_columns(text: str, schemas: Sequence[TableSchema]) -> list[str]:
    asked: Sequence[TableSchema | None] = schemas or [None]
    repeated = dict.fromkeys(name for schema in asked for name in sql.repeated_columns(text, schema))
    if not repeated:
        return []
    names = ", ".join(map(repr, repeated))
    return [f"the result has more than one column called {names}: osquery keeps one of each, give them names with AS"]


def unsupported_too(known: Sequence[Sequence[str]], text: str, joined: HostQuerySet) -> list[Unsupported]:
    """Name the kinds that cannot run the SQL: those that are known, and those among hosts that join later."""
    kinds = {Unsupported(*kind).kind: Unsupported(*kind) for kind in known}
    fresh = [kind for kind in _kinds_of(joined) if kind not in kinds]
    return [*kinds.values(), *_refused(text, fresh, _learned(fresh))]


def able(hosts: HostQuerySet, refused: Sequence[Unsupported]) -> HostQuerySet:
    """Give those of the hosts that can run the SQL, as far as is known."""
    for one in refused:
        hosts = hosts.exclude(**dict(zip(KIND, one.kind, strict=True)))
    return hosts


def _learned(kinds: Iterable[Kind]) -> dict[Kind, TableSchema]:
    schemas = {_kind(schema): schema for schema in TableSchema.objects.exclude(learned_at=None).defer("tables")}
    return {kind: schemas[kind] for kind in kinds if kind in schemas}


def _refused(text: str, kinds: Iterable[Kind], schemas: Mapping[Kind, TableSchema]) -> list[Unsupported]:
    troubles = {kind: sql.trouble_on(text, schemas.get(kind)) for kind in kinds}
    return [Unsupported(*kind[:3], trouble, kind[3]) for kind, trouble in troubles.items() if trouble is not None]


def _kinds_of(hosts: HostQuerySet) -> dict[Kind, int]:
    text, params = hosts.sql_of(*KIND)
    with connection.cursor() as cursor:
        cursor.execute(COUNT_KINDS.format(text), params)
        return {(row[0], row[1], row[2], row[3]): row[4] for row in cursor.fetchall()}


def _kind(schema: TableSchema) -> Kind:
    return schema.platform, schema.osquery_version, schema.extensions, schema.registry_digest
