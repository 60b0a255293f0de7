"""Enrolled machines and the groups they are in. A Host is never deleted, only revoked."""

import hashlib
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from fleet.counting import counted
from fleet.errors import BadInputError

SHORTEST_SECRET = 16  # characters of a new enroll secret
BUSY = timedelta(minutes=10)  # a host that was handed SQL longer ago, and has not asked since, is taken for gone


class Platform(models.TextChoices):
    """What osquery calls the family of the operating system; the distribution is a fact of the host."""

    LINUX = "linux", "Linux"
    DARWIN = "darwin", "macOS"
    WINDOWS = "windows", "Windows"
    FREEBSD = "freebsd", "FreeBSD"
    OTHER = "other", "other"


class EnrollSecretQuerySet(models.QuerySet["EnrollSecret"]):
    """Secrets are found by their digest: the table never holds a usable one."""

    def offer(self, name: str, secret: str) -> "EnrollSecret":
        """Make `secret` valid under `name`, replacing what that name offered before.

        Raise BadInputError when it is too short; one that the name offers already stays, whatever its length.
        """
        length = len(secret.strip())
        if length < SHORTEST_SECRET and not self.filter(name=name, digest=digest_of(secret), revoked_at=None).exists():
            raise BadInputError(
                f"the enroll secret has {counted(length, 'character')}, allowed are {SHORTEST_SECRET} or more", "secret"
            )
        return self.update_or_create(name=name, defaults={"digest": digest_of(secret), "revoked_at": None})[0]


class EnrollSecret(models.Model):
    """What a host offers to enroll."""

    name = models.CharField(max_length=100, unique=True)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    valid_from = models.DateTimeField(null=True, blank=True, help_text="empty = at once")
    valid_until = models.DateTimeField(null=True, blank=True, help_text="empty = until it is revoked")
    quota = models.PositiveIntegerField(null=True, blank=True, help_text="most hosts that enroll with it; empty = any")
    labels: "models.ManyToManyField[Label, Any]" = models.ManyToManyField(
        "Label", blank=True, help_text="labels, kept by hand, that its hosts get"
    )

    objects: ClassVar = EnrollSecretQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def revoke(self) -> bool:
        """Let nobody enroll with it any more; hosts that did stay. Say whether it was good until now."""
        if self.revoked_at is not None:
            return False
        self.revoked_at = timezone.now()
        self.save(update_fields=["revoked_at"])
        return True


class Label(models.Model):
    """A group of hosts: by hand, by SQL (it has housekeeping queries), or built in (all hosts of a platform)."""

    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True, default="")
    built_in = models.CharField(max_length=10, choices=Platform.choices, blank=True, default="", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class HostQuerySet(models.QuerySet["Host"]):
    """Questions about many hosts."""

    def enrolled(self) -> "HostQuerySet":
        """Hosts that may check in: those that were not revoked."""
        return self.filter(revoked_at=None)

    def searched(self, text: str) -> "HostQuerySet":
        """Hosts whose name, identifier, UUID, serial or addresses hold this text; behind a # it is an id."""
        if text.startswith("#") and text[1:].isdecimal() and len(text) < 20:
            return self.filter(pk=int(text[1:]))
        names = ("hostname", "host_identifier", "uuid", "hardware_serial", "addresses", "address")
        found = models.Q()
        for name in names:
            found |= models.Q(**{f"{name}__icontains": text})
        return self.filter(found)

    def online(self, now: datetime) -> "HostQuerySet":
        """Hosts that asked lately, or cannot ask because they run a query."""
        return self.filter(presence_is_online(now, "presence__"))

    def sql_of(self, *fields: str) -> tuple[str, tuple[Any, ...]]:
        """Give the query's text and values for use within another; one that finds nobody is a query all the same."""
        query = self.order_by().values(*fields).query
        text, params = query.get_compiler(self.db, elide_empty=False).as_sql()
        return text, tuple(params)


class Host(models.Model):
    """An enrolled machine, known by the `host_identifier` it sends."""

    host_identifier = models.CharField(max_length=255, unique=True)
    hostname = models.CharField(max_length=255, db_index=True)
    uuid = models.CharField(max_length=64, blank=True, db_index=True)
    hardware_serial = models.CharField(max_length=128, blank=True, db_index=True)
    platform = models.CharField(max_length=10, choices=Platform.choices, default=Platform.OTHER, db_index=True)
    platform_contradiction = models.CharField(
        max_length=300,
        blank=True,
        default="",
        help_text="how its platform_type and its os_version contradict each other",
    )
    os_name = models.CharField(max_length=100, blank=True)
    os_version = models.CharField(max_length=200, blank=True)
    osquery_version = models.CharField(max_length=50, blank=True)
    cpu_brand = models.CharField(max_length=200, blank=True)
    physical_memory = models.BigIntegerField(null=True, blank=True, help_text="bytes")
    extensions = models.TextField(blank=True, default="", help_text="name and version of each, sorted, one per line")
    registry_digest = models.CharField(
        max_length=64, blank=True, default="", help_text="of the names of its tables: what differs from its kind shows"
    )
    distributed_interval = models.PositiveIntegerField(null=True, blank=True, help_text="seconds between its reads")
    details_at = models.DateTimeField(null=True, blank=True, help_text="when it told these facts last")
    address = models.GenericIPAddressField(null=True, blank=True, help_text="the peer that enrolled")
    addresses = models.TextField(blank=True, default="", help_text="of its interfaces, one per line, at most 50")
    details = models.JSONField(default=dict, blank=True, help_text="host_details as sent when it enrolled")
    enroll_secret = models.ForeignKey(EnrollSecret, models.SET_NULL, null=True, blank=True)
    enrolled_at = models.DateTimeField(default=timezone.now)
    revoked_at = models.DateTimeField(null=True, blank=True)
    # Each enrollment raises the epoch; keys with an epoch below the floor are refused.
    epoch = models.PositiveIntegerField(default=1)
    epoch_floor = models.PositiveIntegerField(default=0)
    in_doubt_since = models.DateTimeField(null=True, blank=True, help_text="when a second machine was noticed")
    in_doubt_reason = models.TextField(blank=True, default="")
    labels = models.ManyToManyField(Label, through="LabelMembership", related_name="hosts")

    objects: ClassVar = HostQuerySet.as_manager()

    class Meta:
        ordering = ["hostname", "id"]
        indexes = [models.Index(Lower("hostname"), name="hosts_by_hostname_in_any_case")]

    def __str__(self) -> str:
        return self.hostname

    @property
    def last_seen(self) -> datetime | None:
        """When it last asked, as carried to Postgres (every ten seconds); None = never since it enrolled."""
        presence: Presence | None = getattr(self, "presence", None)
        return presence.last_seen if presence else None

    def is_online(self, now: datetime) -> bool:
        """Say whether it asked lately, or cannot ask because it runs a query."""
        presence: Presence | None = getattr(self, "presence", None)
        return presence is not None and presence.is_online(now)


class PresenceQuerySet(models.QuerySet["Presence"]):
    """Who is there."""

    def online(self, now: datetime) -> "PresenceQuerySet":
        """Presences of hosts that asked lately, or cannot ask because they run a query."""
        return self.filter(presence_is_online(now))


class Presence(models.Model):
    """When a host last asked: a table of its own, so that the wide one is not rewritten all day."""

    host = models.OneToOneField(Host, models.CASCADE, primary_key=True, db_constraint=False)
    last_seen = models.DateTimeField()
    busy_since = models.DateTimeField(null=True, blank=True, help_text="when it was handed SQL; it has not asked since")

    objects: ClassVar = PresenceQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "presence"

    def __str__(self) -> str:
        return f"host {self.host_id} at {self.last_seen:%Y-%m-%d %H:%M:%S}"

    def is_online(self, now: datetime) -> bool:
        """Say whether it asked lately, or cannot ask because it runs a query."""
        return self.last_seen >= online_since(now) or (self.busy_since is not None and self.busy_since >= now - BUSY)


class LabelMembership(models.Model):
    """One host in one label."""

    label = models.ForeignKey(Label, models.CASCADE)
    host = models.ForeignKey(Host, models.CASCADE)
    added_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["label", "host"], name="a_host_is_in_a_label_once")]

    def __str__(self) -> str:
        return f"host {self.host_id} in label {self.label_id}"


class TableSchema(models.Model):
    """The tables of one kind of osquery: platform, version, extensions and names of tables. Learned from one host."""

    platform = models.CharField(max_length=10, choices=Platform.choices)
    osquery_version = models.CharField(max_length=50)
    extensions = models.TextField(blank=True, default="")
    registry_digest = models.CharField(max_length=64, blank=True, default="", help_text="of the names of the tables")
    tables = models.JSONField(default=dict, help_text="table -> [[column, type, whether it is hidden]]")
    functions = models.JSONField(default=list, blank=True, help_text="[[name, arguments or -1, kind]]; none = not told")
    flags = models.JSONField(default=list, blank=True, help_text="names of its flags; none = not told")
    asked_at = models.DateTimeField(default=timezone.now)
    learned_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["platform", "osquery_version", "extensions", "registry_digest"]
        constraints = [
            models.UniqueConstraint(
                fields=["platform", "osquery_version", "extensions", "registry_digest"],
                name="a_kind_of_osquery_is_learned_once",
            )
        ]

    def __str__(self) -> str:
        return " ".join([self.get_platform_display(), self.osquery_version, *self.extensions.split("\n")]).strip()


class HousekeepingQuery(models.Model):
    """SQL that hosts are asked on the server's own behalf, through the same board; there its id is negative."""

    class Kind(models.TextChoices):
        """What its answers are for."""

        DETAILS = "details", "facts of the host"
        LABEL = "label", "membership in a label"
        SCHEMA = "schema", "tables and columns"
        FUNCTIONS = "functions", "functions of its SQL"
        FLAGS = "flags", "names of its flags"
        CARVES = "carves", "digests of its carves"

    kind = models.CharField(max_length=9, choices=Kind.choices)
    sql = models.TextField()
    platform = models.CharField(max_length=10, choices=Platform.choices, blank=True, help_text="empty = all")
    label = models.ForeignKey(Label, models.CASCADE, null=True, blank=True, related_name="queries")
    changed_at = models.DateTimeField(auto_now=True)
    last_error = models.TextField(blank=True, default="", help_text="the last error a host reported")
    written_by = models.CharField(max_length=150, blank=True, default="", help_text="who wrote a label's SQL")
    written_at = models.DateTimeField(default=timezone.now)
    answered_at = models.DateTimeField(null=True, blank=True, help_text="when a host could run it last")
    failed_at = models.DateTimeField(null=True, blank=True, help_text="when a host could not last")
    denylisted_by = models.JSONField(default=list, blank=True, help_text="ids of hosts that refuse it: it died there")
    stopped_at = models.DateTimeField(null=True, blank=True, help_text="when the brake stopped it")
    stopped_reason = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "housekeeping queries"
        constraints = [
            models.UniqueConstraint(fields=["label", "platform"], name="a_label_has_one_query_per_platform"),
            models.CheckConstraint(
                name="label_queries_have_a_label",
                condition=models.Q(kind="label", label__isnull=False) | ~models.Q(kind="label") & models.Q(label=None),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.label.name} on {self.get_platform_display() or 'all'}" if self.label else self.get_kind_display()

    @property
    def board_id(self) -> int:
        """Give the id it has on the board."""
        return -int(self.pk)


class ConfigDocument(models.Model):
    """The config that agents are served; there is one."""

    document = models.JSONField(default=dict)
    changed_by = models.CharField(max_length=150, blank=True, default="", editable=False)
    changed_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return "the config that agents are served"


class Installation(models.Model):
    """Which database this is, so that no key outlives it; there is one row (`agents.inventory.installation`)."""

    name = models.CharField(max_length=32)
    place = models.CharField(max_length=100, help_text="cluster, database and table, when the board was written last")
    old_keys_up_to = models.PositiveBigIntegerField(
        default=0, help_text="last host that may have a key of the older form"
    )
    named_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"installation {self.name}"


def digest_of(secret: str) -> str:
    """Give the hex SHA-256 of a secret; they are long and random, so a slow hash would add nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()


def presence_is_online(now: datetime, path: str = "") -> models.Q:
    """Give the condition that a presence, to which `path` leads, is online: an agent asks nothing while it runs SQL."""
    seen, busy = {f"{path}last_seen__gte": online_since(now)}, {f"{path}busy_since__gte": now - BUSY}
    return models.Q(**seen) | models.Q(**busy)


def online_since(now: datetime) -> datetime:
    """Give the moment since which a host must have asked to count as online."""
    return now - timedelta(seconds=settings.ONLINE_SECONDS)
