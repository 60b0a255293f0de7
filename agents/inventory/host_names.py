"""Hosts by the names people give: a hostname in any case, or exactly a uuid, a serial or a host identifier.

However many names there are, they are looked up in one query.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django.db import connection
from django.db.models import Q
from django.db.models.expressions import RawSQL

from agents.models import HostQuerySet
from fleet.errors import BadInputError

EXACT = ("uuid", "hardware_serial", "host_identifier")
NAMES_SHOWN = 10  # in a sentence

# Lower case is Postgres' own on both sides, so that the index on it serves and no two rules of case meet.
_BY_HOSTNAME = (
    "SELECT host.id, asked.name FROM asked JOIN agents_host AS host ON lower(host.hostname) = lower(asked.name)"
)
_BY_EXACT = " UNION ".join(
    f"SELECT host.id, asked.name FROM asked JOIN agents_host AS host ON host.{field} = asked.name"  # noqa: S608 - ours
    for field in EXACT
)
NAMED = f"WITH asked AS (SELECT DISTINCT unnest(%s::text[]) AS name) {_BY_HOSTNAME} UNION {_BY_EXACT}"
NAMED_IDS = f"SELECT id FROM ({NAMED}) AS named (id, name)"  # noqa: S608 - nothing of it comes from outside
# {visible} is a further condition, if there is one.
LOOK_UP = f"""
SELECT named.name, host.id FROM ({NAMED}) AS named (id, name)
JOIN agents_host AS host USING (id) WHERE host.revoked_at IS NULL {{visible}}
"""  # noqa: S608 - as above


class Found(NamedTuple):
    """The enrolled hosts that ids and names mean, what means nobody, and what is said of names that mean several."""

    ids: set[int]
    unknown: list[int | str]
    warnings: list[str]


def named(names: Sequence[str]) -> Q:
    """Give the condition that a host bears one of these names."""
    return Q(pk__in=RawSQL(NAMED_IDS, [list(names)])) if names else Q(pk__in=[])  # noqa: S611 - names are parameters


def look_up(ids: Iterable[int], names: Iterable[str], visible: HostQuerySet, *, among_revoked: bool = False) -> Found:
    """Find hosts by ids and names among those that are `visible` to who names them: others are unknown to him.

    They are enrolled, unless revoked ones are looked for as well; those by id only.
    """
    ids, names = list(dict.fromkeys(ids)), list(dict.fromkeys(names))
    among = visible if among_revoked else visible.enrolled()
    known = set(among.filter(pk__in=ids).values_list("pk", flat=True)) if ids else set()
    bearers = _bearers(names, visible)
    unknown: list[int | str] = [
        *(pk for pk in ids if pk not in known),
        *(name for name in names if name not in bearers),
    ]
    warnings = [
        f"{len(bearers[name])} hosts are called {name!r}: all of them are meant"
        for name in names
        if len(bearers.get(name, ())) > 1
    ]
    return Found(known.union(*bearers.values()), unknown, warnings)


def check_known(found: Found, field: str) -> None:
    """Raise BadInputError naming what means nobody."""
    if found.unknown:
        shown = ", ".join(map(repr, found.unknown[:NAMES_SHOWN]))
        more = f" and {len(found.unknown) - NAMES_SHOWN} more" if len(found.unknown) > NAMES_SHOWN else ""
        raise BadInputError(f"unknown host: {shown}{more}", field)


def _bearers(names: list[str], visible: HostQuerySet) -> dict[str, set[int]]:
    if not names:
        return {}
    text, params = "", ()
    if visible.query.where:  # not every host: the ORM's own query says which
        text, params = visible.sql_of("pk")
        text = f"AND host.id IN ({text})"
    bearers: dict[str, set[int]] = {}
    with connection.cursor() as cursor:
        cursor.execute(LOOK_UP.format(visible=text), [names, *params])
        for name, pk in cursor.fetchall():
            bearers.setdefault(name, set()).add(pk)
    return bearers
