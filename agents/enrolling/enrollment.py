"""Enroll a machine: the one verb of agents that needs Postgres."""

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from redis.exceptions import RedisError

from agents.board import clock, heartbeats
from agents.board.redis_client import NoBoardError
from agents.enrolling import wrong_secrets
from agents.inventory import facts, housekeeping, installation
from agents.inventory.labels import follow_platform, set_membership
from agents.models import EnrollSecret, Host, Platform, Presence, online_since
from agents.protocol.node_key import Enrolled

logger = logging.getLogger(__name__)

LONGEST_IDENTIFIER = 255
ALIVE = timedelta(minutes=1)
# osquery's bits, most telling first (osquery/utils/info/platform_type.h)
PLATFORM_BITS = ((2, Platform.WINDOWS), (16, Platform.DARWIN), (32, Platform.FREEBSD), (8, Platform.LINUX))


class EnrollmentRefusedError(Exception):
    """The sentence says why; agents log it and try again."""


@dataclass(frozen=True)
class Application:
    """What a machine sends to enroll, read leniently: whatever is missing or odd is empty."""

    secret: str
    host_identifier: str
    platform_type: str
    details: dict[str, dict[str, str]]
    address: str | None

    @classmethod
    def read(cls, body: Any, address: str | None) -> "Application":
        """Read the body of an enroll request. Raise EnrollmentRefusedError when it is none."""
        if not isinstance(body, dict):
            raise EnrollmentRefusedError("the enroll request is not a JSON object")
        sent = body.get("host_details")
        tables = sent.items() if isinstance(sent, dict) else ()
        return cls(
            secret=_text(body.get("enroll_secret")),
            host_identifier=_text(body.get("host_identifier")),
            platform_type=_text(body.get("platform_type")),
            details={
                _text(table): {_text(column): _text(value) for column, value in row.items()}
                for table, row in tables
                if isinstance(row, dict)
            },
            address=address,
        )

    def fact(self, table: str, column: str, longest: int = 200) -> str:
        """Give one cell of host_details, "" when it was not sent, cut to `longest` characters."""
        return self.details.get(table, {}).get(column, "")[:longest]

    @property
    def platform(self) -> Platform:
        """Tell the platform from osquery's bits, else from os_version."""
        bits = int(self.platform_type) if self.platform_type.isdecimal() and len(self.platform_type) < 10 else 0
        for bit, platform in PLATFORM_BITS:
            if bits & bit:
                return platform
        named = self.fact("os_version", "platform")
        return Platform(named) if named in Platform.values else Platform.OTHER


def enroll(application: Application) -> tuple[Host, Enrolled]:
    """Keep the host, new or known, under a new epoch; give it and what its key says of it.

    Raise EnrollmentRefusedError with the reason.
    """
    identifier = application.host_identifier
    if not 0 < len(identifier) <= LONGEST_IDENTIFIER:
        raise EnrollmentRefusedError(f"host_identifier has {len(identifier)} characters, allowed are 1 to 255")
    if not any(letter.isprintable() and not letter.isspace() for letter in identifier):
        raise EnrollmentRefusedError(f"host_identifier {identifier!r} is blank: it names no host")
    with transaction.atomic():
        secret = _valid_secret(application)
        host, created = Host.objects.select_for_update(no_key=True).get_or_create(
            host_identifier=identifier, defaults=facts_of(application)
        )
        if host.revoked_at is not None:
            raise EnrollmentRefusedError("this host was revoked")
        if not created:
            _check_takeover(host, application.address)
            for name, value in facts_of(application).items():
                setattr(host, name, value)
            host.epoch += 1
        if created or host.enroll_secret_id != secret.pk:
            _check_quota(secret)
        host.enroll_secret = secret
        host.enrolled_at = timezone.now()
        host.save()
        Presence.objects.update_or_create(host=host, defaults={"last_seen": host.enrolled_at})
        follow_platform(host)
        for label in secret.labels.all():
            set_membership(label, host, is_member=True)
        enrolled = _admit(host)
        transaction.on_commit(lambda: housekeeping.ask_all(host.pk))
    logger.info("host enrolled host=%s epoch=%s new=%s", host.pk, host.epoch, created)
    return host, enrolled


def _admit(host: Host) -> Enrolled:
    """Let gateways know the host. Refuse while no board can take it, or that of another life of the database."""
    try:
        return installation.admit(host)
    except NoBoardError:
        raise EnrollmentRefusedError("the board is being rebuilt, come again") from None
    except (RedisError, OSError) as error:
        logger.warning("host cannot enroll identifier=%r reason=%s", host.host_identifier, error)
        raise EnrollmentRefusedError("the server cannot reach its board, come again") from error


def _valid_secret(application: Application) -> EnrollSecret:
    """Give the secret that was offered, locked when its hosts are counted. Wrong ones are counted by address."""
    secret = EnrollSecret.objects.matching(application.secret)
    now = timezone.now()
    if secret is None:
        if too_many := wrong_secrets.count(application.address):
            raise EnrollmentRefusedError(too_many)
        raise EnrollmentRefusedError("the enroll secret is wrong or was revoked")
    if secret.valid_from is not None and now < secret.valid_from:
        raise EnrollmentRefusedError(f"the enroll secret {secret.name!r} is not valid yet")
    if secret.valid_until is not None and now >= secret.valid_until:
        raise EnrollmentRefusedError(f"the enroll secret {secret.name!r} is not valid any more")
    return EnrollSecret.objects.select_for_update().get(pk=secret.pk) if secret.quota is not None else secret


def _check_quota(secret: EnrollSecret) -> None:
    if secret.quota is not None and Host.objects.filter(enroll_secret=secret).count() >= secret.quota:
        raise EnrollmentRefusedError(f"the enroll secret {secret.name!r} is spent: its quota is {secret.quota} hosts")


def _check_takeover(host: Host, address: str | None) -> None:
    """Mark a host whose name is taken at another address while it is alive; refuse that when the setting says so.

    What counts is where a key of the host was used last, within ONLINE_SECONDS: a laptop that moved has been silent for
    longer, or used its key at the new address already.
    """
    elsewhere = _address_in_use(host)
    if settings.ENROLL_TAKEOVER != "refuse":
        if address and elsewhere not in (None, address):
            _doubt(host, f"it was enrolled again from {address} while {elsewhere} used its name")
        return
    reads = heartbeats.reads_of([host.pk]).get(host.pk)
    if reads is not None and reads.last > clock.now() - ALIVE:
        raise EnrollmentRefusedError("a host with this host_identifier asked within the last minute, come again later")


def _address_in_use(host: Host) -> str | None:
    """Give where the host is alive, by its last use of a key or its enrollment; None when it is not."""
    use = heartbeats.last_use_of(host.pk)
    if use is not None and use.at >= online_since(clock.now()):
        return use.address
    return host.address if host.enrolled_at >= online_since(timezone.now()) else None


def _doubt(host: Host, reason: str) -> None:
    """Mark the host, to be saved with it; a mark that stands keeps its time and reason."""
    if host.in_doubt_since is None:
        host.in_doubt_since, host.in_doubt_reason = timezone.now(), reason
        logger.warning("identity in doubt host=%s reason=%s", host.pk, reason)


def facts_of(application: Application) -> dict[str, Any]:
    """Give the fields of a Host that host_details tells."""
    memory = application.fact("system_info", "physical_memory")
    hostname = application.fact("system_info", "hostname", 255) or application.host_identifier
    return {
        "hostname": hostname,
        "uuid": application.fact("system_info", "uuid", 64),
        "hardware_serial": application.fact("system_info", "hardware_serial", 128),
        "platform": application.platform,
        "platform_contradiction": facts.contradiction(
            application.platform,
            application.fact("os_version", "platform"),
            application.fact("os_version", "name", 100),
        ),
        "os_name": application.fact("os_version", "name", 100),
        "os_version": application.fact("os_version", "version"),
        "osquery_version": application.fact("osquery_info", "version", 50),
        "cpu_brand": application.fact("system_info", "cpu_brand"),
        "physical_memory": int(memory) if memory.isdecimal() and len(memory) < 19 else None,
        "address": application.address,
        "details": application.details,
    }


def _text(value: Any) -> str:
    """Give a text PostgreSQL takes: NUL and lone surrogates it refuses. A list or an object, however deep, is none."""
    text = str(value) if isinstance(value, str | int | float) else ""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
