"""Which installation this database is, and whether it was restored since anybody looked.

A key names the installation and its host's identifier (`agents.protocol.node_key`). After a loss the name is another
one; after a restore, of whichever kind, the hosts that enrolled since the backup are no hosts of it. That a dump was
restored is seen by where the database lies: cluster, database and table have other numbers then.
"""

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db import connection

from agents.board import known_hosts
from agents.board.known_hosts import Life
from agents.models import Host, Installation
from agents.protocol.node_key import OLD_FORM, Enrolled, Identity, tag_of
from fleet.errors import UnavailableError

PLACE = """
SELECT concat_ws('.', (SELECT system_identifier FROM pg_control_system()),
    (SELECT oid FROM pg_database WHERE datname = current_database()), 'agents_installation'::regclass::oid)
"""
CURRENT = f"SELECT name, ({PLACE}), place, old_keys_up_to FROM agents_installation WHERE id = 1"  # noqa: S608
MOST_TAGS = 10_000  # read at a time


@dataclass(frozen=True)
class Here:
    """This installation: its life as it is, and where it lay when the board was written last."""

    life: Life
    kept_place: str
    old_keys_up_to: int

    @property
    def has_moved(self) -> bool:
        """Say whether the database was restored, and nobody has seen to it yet."""
        return self.life.place != self.kept_place


def place() -> str:
    """Give where the database lies, as far as it can tell: the same until it is restored from a dump."""
    with connection.cursor() as cursor:
        cursor.execute(PLACE)
        return str(cursor.fetchone()[0])


def here() -> Here:
    """Give this installation; it is named at the first use."""
    with connection.cursor() as cursor:
        cursor.execute(CURRENT)
        row = cursor.fetchone()
    if row is None:
        Installation.objects.get_or_create(pk=1, defaults={"name": new_name(), "place": place()})
        return here()
    return Here(Life(row[0], row[1]), row[2], row[3])


def new_name() -> str:
    """Make the name of an installation."""
    return secrets.token_hex(6)


def admit(hosts: Iterable[Host]) -> dict[int, Enrolled]:
    """Let gateways know hosts that enroll, within their transaction; give what the key of each says.

    Raise NoBoardError while the board is that of another life, whose hosts may have the same numbers.
    """
    now = here()
    tags = {host.pk: tag_of(host.host_identifier) for host in hosts}
    known_hosts.note(now.life, tags)
    return {host: Enrolled(now.life.name, tag) for host, tag in tags.items()}


def host_of(identity: Identity) -> Host | None:
    """Give the enrolled host that a sound key speaks for, None when it speaks for nobody here."""
    host: Host | None = Host.objects.enrolled().filter(pk=identity.host, epoch_floor__lte=identity.epoch).first()
    if host is None:
        return None
    now = here()
    if identity.enrolled == OLD_FORM:
        return host if host.pk <= now.old_keys_up_to else None
    return host if identity.enrolled == (now.life.name, tag_of(host.host_identifier)) else None


def write_hosts(now: Here) -> None:
    """Write on the board whose it is, and every host."""
    known_hosts.write(now.life, now.old_keys_up_to, _tags())


def keep_place(now: Here) -> None:
    """Remember where the database lies now."""
    Installation.objects.filter(pk=1).update(place=now.life.place)


def refuse_when_moved() -> None:
    """Raise UnavailableError while the board still is that of before the restore."""
    if here().has_moved:
        raise UnavailableError(
            "the database was restored and the board is not written anew yet: the sweeper does it within a second"
        )


def _tags() -> Iterator[tuple[int, bytes]]:
    hosts = Host.objects.order_by("pk").values_list("pk", "host_identifier")
    for host, identifier in hosts.iterator(MOST_TAGS):
        yield host, tag_of(identifier)
