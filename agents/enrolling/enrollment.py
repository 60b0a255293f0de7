"""Enroll machines: the one verb of agents that needs Postgres. Those that come at once share a transaction."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import DatabaseError, DataError, IntegrityError, transaction
from django.db.models import Count
from django.utils import timezone
from redis.exceptions import RedisError

from agents.board import clock, heartbeats
from agents.board.keyspace import NoBoardError
from agents.enrolling import wrong_secrets
from agents.enrolling.application import FACTS, Application, EnrollmentRefusedError, WrongSecretError
from agents.inventory import housekeeping, installation
from agents.inventory.labels import follow_platforms, put_into
from agents.models import EnrollSecret, Host, Presence, digest_of, online_since
from agents.protocol.node_key import Enrolled
from fleet.counting import counted
from fleet.once import Once

logger = logging.getLogger(__name__)
refused = Once()

LONGEST_IDENTIFIER = 255
ALIVE = timedelta(minutes=1)
CHANGED = ("epoch", "enroll_secret", "enrolled_at", "in_doubt_since", "in_doubt_reason")  # beside the facts
Outcome = tuple[Host, Enrolled] | EnrollmentRefusedError


def enroll(application: Application) -> tuple[Host, Enrolled]:
    """Keep the host, new or known, under a new epoch; give it and what its key says of it.

    Raise EnrollmentRefusedError with the reason.
    """
    outcome = enroll_all([application])[0]
    if isinstance(outcome, EnrollmentRefusedError):
        raise outcome
    return outcome


def enroll_all(applications: Sequence[Application]) -> list[Outcome]:
    """Enroll many, each as if it had come alone; give what becomes of each, in their order."""
    outcomes: dict[int, Outcome] = {}
    for places in _rounds(applications):
        together = [applications[place] for place in places]
        outcomes.update(zip(places, _enroll_or_refuse(together), strict=True))
    return [outcomes[place] for place in range(len(applications))]


def _rounds(applications: Sequence[Application]) -> Iterator[list[int]]:
    """Part them so that nobody is in a transaction with its own twin: a second enrollment follows the first."""
    left = list(range(len(applications)))
    while left:
        first = {applications[place].host_identifier: place for place in reversed(left)}
        yield sorted(first.values())
        left = [place for place in left if first[applications[place].host_identifier] != place]


def _enroll_or_refuse(applications: Sequence[Application]) -> Sequence[Outcome]:
    try:
        return _enroll_together(applications)
    except EnrollmentRefusedError as refusal:
        return [refusal] * len(applications)
    except (DataError, IntegrityError):  # one of them is odd, or enrolls at another gateway in this very moment
        return [_enroll_alone(application) for application in applications]


def _enroll_alone(application: Application) -> Outcome:
    try:
        return _enroll_together([application])[0]
    except EnrollmentRefusedError as refusal:
        return refusal
    except DatabaseError:
        logger.exception("host cannot enroll identifier=%r", application.host_identifier)
        return EnrollmentRefusedError("the server cannot do this now, come again")


def _enroll_together(applications: Sequence[Application]) -> list[Outcome]:
    """Enroll in one transaction. Raise EnrollmentRefusedError when nobody can enroll."""
    with transaction.atomic():
        secrets = _Secrets(applications)
        known = {host.host_identifier: host for host in _known(applications)}
        uses = _Uses([host.pk for host in known.values()])
        decided: list[Host | EnrollmentRefusedError] = []
        for application in applications:
            try:
                host = known.get(application.host_identifier)
                decided.append(_decide(application, host, secrets, uses))
            except EnrollmentRefusedError as refusal:
                decided.append(refusal)
                _say(refusal, application)
        admitted = [host for host in decided if isinstance(host, Host)]
        enrolled = _keep(admitted) if admitted else {}
    for application, one in zip(applications, decided, strict=True):
        if isinstance(one, Host):
            facts = one.pk, one.epoch, one.epoch == 1, application.certificate
            logger.info("host enrolled host=%s epoch=%s new=%s certificate=%r", *facts)
    return [(one, enrolled[one.pk]) if isinstance(one, Host) else one for one in decided]


def _say(refusal: EnrollmentRefusedError, application: Application) -> None:
    """Tell why a machine with a secret of ours is kept out; wrong secrets are told of where they are counted."""
    named = application.host_identifier[:LONGEST_IDENTIFIER]
    if not isinstance(refusal, WrongSecretError) and refused.is_due((named, str(refusal))):
        logger.warning("host not enrolled identifier=%r address=%s reason=%s", named, application.address, refusal)


def _known(applications: Sequence[Application]) -> Sequence[Host]:
    names = [application.host_identifier for application in applications]
    return list(Host.objects.select_for_update(no_key=True).filter(host_identifier__in=names).order_by("pk"))


def _decide(application: Application, host: Host | None, secrets: "_Secrets", uses: "_Uses") -> Host:
    """Give the host as it is to be kept. Raise EnrollmentRefusedError."""
    secret = secrets.valid(application)
    _check_name(application.host_identifier)
    if host is None:
        host = Host(host_identifier=application.host_identifier, epoch=0)
    elif host.revoked_at is not None:
        raise EnrollmentRefusedError("this host was revoked")
    else:
        uses.check_takeover(host, application.address)
    if host.enroll_secret_id != secret.pk:
        secrets.spend(secret, host.enroll_secret_id)
    for name, value in application.facts().items():
        setattr(host, name, value)
    host.epoch += 1
    host.enroll_secret = secret
    host.enrolled_at = timezone.now()
    return host


def _check_name(identifier: str) -> None:
    if not 0 < len(identifier) <= LONGEST_IDENTIFIER:
        raise EnrollmentRefusedError(
            f"host_identifier has {counted(len(identifier), 'character')}, allowed are 1 to 255"
        )
    if not any(letter.isprintable() and not letter.isspace() for letter in identifier):
        raise EnrollmentRefusedError(f"host_identifier {identifier!r} is blank: it names no host")


def _keep(hosts: list[Host]) -> dict[int, Enrolled]:
    """Write hosts and what follows from their enrollment; give what their keys say."""
    new = sorted((host for host in hosts if host.pk is None), key=lambda host: host.host_identifier)
    known = [host for host in hosts if host.pk is not None]
    Host.objects.bulk_create(new)
    changed = [*FACTS, *CHANGED]
    Host.objects.bulk_create(known, update_conflicts=True, unique_fields=["id"], update_fields=changed)
    seen = [Presence(host=host, last_seen=host.enrolled_at) for host in hosts]
    Presence.objects.bulk_create(seen, update_conflicts=True, unique_fields=["host"], update_fields=["last_seen"])
    follow_platforms(hosts)
    put_into((label, host) for host in hosts if host.enroll_secret for label in host.enroll_secret.labels.all())
    transaction.on_commit(partial(housekeeping.ask_all, [host.pk for host in hosts]))
    return _admit(hosts)


def _admit(hosts: Sequence[Host]) -> dict[int, Enrolled]:
    """Let gateways know the hosts. Refuse while no board can take them, or that of another life of the database."""
    try:
        return installation.admit(hosts)
    except NoBoardError:
        raise EnrollmentRefusedError("the board is being rebuilt, come again") from None
    except (RedisError, OSError) as error:
        names = [host.host_identifier for host in hosts]
        logger.warning("hosts cannot enroll identifiers=%r reason=%s", names, error)
        raise EnrollmentRefusedError("the server cannot reach its board, come again") from error


class _Secrets:
    """The secrets that were offered. Those with a quota are locked, in order of id, while their hosts are counted."""

    def __init__(self, applications: Sequence[Application]) -> None:
        digests = {digest_of(application.secret) for application in applications}
        offered = EnrollSecret.objects.filter(digest__in=digests, revoked_at=None).prefetch_related("labels")
        self._offered = {secret.digest: secret for secret in offered}
        limited = [secret.pk for secret in self._offered.values() if secret.quota is not None]
        self._quotas: dict[int, int | None] = {}
        self._hosts: Counter[int | None] = Counter()
        if limited:
            locked = EnrollSecret.objects.select_for_update().filter(pk__in=limited).order_by("pk")
            self._quotas = {secret.pk: secret.quota for secret in locked}
            counts = Host.objects.filter(enroll_secret__in=limited).order_by().values("enroll_secret")
            self._hosts.update(dict(counts.annotate(number=Count("pk")).values_list("enroll_secret", "number")))

    def valid(self, application: Application) -> EnrollSecret:
        """Give the secret that was offered. Wrong ones are counted by address."""
        secret = self._offered.get(digest_of(application.secret))
        now = timezone.now()
        if secret is None:
            if too_many := wrong_secrets.count(application.address):
                raise WrongSecretError(too_many)
            raise WrongSecretError("the enroll secret is wrong or was revoked")
        if secret.valid_from is not None and now < secret.valid_from:
            raise EnrollmentRefusedError(f"the enroll secret {secret.name!r} is not valid yet")
        if secret.valid_until is not None and now >= secret.valid_until:
            raise EnrollmentRefusedError(f"the enroll secret {secret.name!r} is not valid any more")
        return secret

    def spend(self, secret: EnrollSecret, before: int | None) -> None:
        """Count a host that now has this secret instead of another one or none."""
        quota = self._quotas.get(secret.pk)
        if quota is not None and self._hosts[secret.pk] >= quota:
            raise EnrollmentRefusedError(
                f"the enroll secret {secret.name!r} is spent: its quota is {counted(quota, 'host')}"
            )
        self._hosts[secret.pk] += 1
        self._hosts[before] -= 1


class _Uses:
    """When and where known hosts were alive last."""

    def __init__(self, hosts: list[int]) -> None:
        self._now: datetime | None = clock.now() if hosts else None
        self._uses = heartbeats.last_uses_of(hosts)
        self._reads = heartbeats.reads_of(hosts) if settings.ENROLL_TAKEOVER == "refuse" else {}

    def check_takeover(self, host: Host, address: str | None) -> None:
        """Mark a host whose name is taken at another address while it is alive; refuse that when the setting says so.

        What counts is where a key of the host was used last, within ONLINE_SECONDS: a laptop that moved has been silent
        for longer, or used its key at the new address already.
        """
        if settings.ENROLL_TAKEOVER != "refuse":
            elsewhere = self._address_in_use(host)
            if address and elsewhere not in (None, address):
                _doubt(host, f"it was enrolled again from {address} while {elsewhere} used its name")
            return
        reads = self._reads.get(host.pk)
        if reads is not None and self._now is not None and reads.last > self._now - ALIVE:
            sentence = "a host with this host_identifier asked within the last minute, come again later"
            raise EnrollmentRefusedError(sentence)

    def _address_in_use(self, host: Host) -> str | None:
        """Give where the host is alive, by its last use of a key or its enrollment; None when it is not."""
        use = self._uses.get(host.pk)
        if use is not None and self._now is not None and use.at >= online_since(self._now):
            return use.address
        return host.address if host.enrolled_at >= online_since(timezone.now()) else None


def _doubt(host: Host, reason: str) -> None:
    """Mark the host, to be saved with it; a mark that stands keeps its time and reason."""
    if host.in_doubt_since is None:
        host.in_doubt_since, host.in_doubt_reason = timezone.now(), reason
        logger.warning("identity in doubt host=%s reason=%s", host.pk, reason)
