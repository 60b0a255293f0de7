"""What programs show to be let in."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models, transaction
from django.utils import timezone
from knox.models import AbstractAuthToken, AuthTokenManager

from agents.models import Label
from campaigns.people import narrowing
from campaigns.people.roles import ROLES
from fleet.addresses import address_of
from fleet.audit.gathering import in_one_line
from fleet.errors import BadInputError, ForbiddenError

USE_NOTED_EVERY = timedelta(minutes=1)


class Access(models.TextChoices):
    """What a token is good for, within what its owner may."""

    RUN = "run", "everything its owner may"
    READ = "read", "reading only"


def stamp_of(password: str) -> str:
    """Give what tells one stored password from another and says nothing of it."""
    return sha256(password.encode()).hexdigest()[:32]


class Wanted(NamedTuple):
    """What a token is to be good for, within what its owner may."""

    name: str = ""
    days: int | None = None  # None = TOKEN_DAYS
    access: str = "run"
    role: str = ""  # "" = whatever its owner may
    labels: Sequence[Label] | None = None  # hosts that bear one of them; None = all that its owner sees
    tools_may_launch: bool = False  # of language models, at /mcp

    def check(self, owner: User) -> None:
        """Raise BadInputError when it says two things, or names a role that may more than who is to own it."""
        if self.role and self.role not in (within := narrowing.roles_within(owner)):
            allowed = f"allowed are {', '.join(within)} and none" if within else "allowed is none"
            raise BadInputError(
                f"role {self.role!r} may more than the token's owner: {allowed}, which is all that the owner may",
                "role",
            )
        if self.tools_may_launch and self.access == Access.READ:
            raise BadInputError("tools_may_launch needs a token that is good for more than reading", "tools_may_launch")

    def within(self, other: "ApiToken") -> "Wanted":
        """Narrow it to what the token may that asks for it. Raise ForbiddenError when it names more."""
        role, labels = self.role or other.role, self.labels
        if other.role and not narrowing.is_within(role, other.role):
            raise ForbiddenError(f"role {role!r} may more than {other.role!r}, the role of the token that asks", "role")
        if other.is_scoped:
            allowed = list(other.labels.all())
            labels = allowed if labels is None else labels
            if more := [label.name for label in labels if label not in allowed]:
                raise ForbiddenError(f"labels name {more[0]!r}, which the token that asks does not have", "labels")
        access = Access.READ if other.access == Access.READ else self.access
        return self._replace(role=role, labels=labels, access=access)


class ApiTokens(AuthTokenManager):  # type: ignore[misc]  # knox has no types
    """Tokens bear the stamp of their owner's password: whatever changes it, a page or a command, ends them."""

    def create(self, user: User, **fields: Any) -> "tuple[ApiToken, str]":
        """Make a token; give it and what is to be shown."""
        stamped = {"password_stamp": stamp_of(user.password), **fields}
        return cast("tuple[ApiToken, str]", super().create(user, **stamped))

    def make(self, user: User, wanted: "Wanted", made_by: "ApiToken | None" = None) -> "tuple[ApiToken, str]":
        """Make one. One that a token makes is good for no more, and lives no longer.

        Raise ForbiddenError, or BadInputError.
        """
        life = timedelta(days=wanted.days or settings.TOKEN_DAYS)
        if made_by is not None:
            wanted = wanted.within(made_by)
            life = min(life, made_by.expiry - timezone.now()) if made_by.expiry else life
        wanted.check(user)
        labels = wanted.labels
        kept = ("name", "access", "role", "tools_may_launch")
        fields = {"is_scoped": labels is not None, **{name: getattr(wanted, name) for name in kept}}
        with transaction.atomic(), in_one_line():
            token_row, token = self.create(user, expiry=life, **fields)
            token_row.labels.set(labels or ())
        return token_row, token

    def living(self) -> "models.QuerySet[ApiToken]":
        """Give everybody's tokens that have not expired."""
        lasting = self.filter(models.Q(expiry=None) | models.Q(expiry__gt=timezone.now()))
        return cast("models.QuerySet[ApiToken]", lasting.select_related("user").prefetch_related("labels"))

    def of(self, user: User) -> "models.QuerySet[ApiToken]":
        """Give a person's tokens that still let in."""
        own: models.QuerySet[ApiToken] = self.living().filter(user=user, password_stamp=stamp_of(user.password))
        return own

    def revoke_all(self, user: User) -> int:
        """Take away every token of a person, at once; give how many there were. Each leaves its line of the audit."""
        with transaction.atomic():
            return len([token.delete() for token in self.filter(user=user)])

    def sweep(self) -> int:
        """Delete tokens that have expired, and those of people who are not active, by whatever way they became so."""
        over = models.Q(expiry__lt=timezone.now()) | models.Q(user__is_active=False)
        gone: int = self.filter(over).delete()[0]
        return gone

    def follow_rehash(self, user: User, before: str) -> None:
        """Keep tokens whose owner's password is stored in another form now, but is the same."""
        if user.password != before:
            self.filter(user=user, password_stamp=stamp_of(before)).update(password_stamp=stamp_of(user.password))


class ApiToken(AbstractAuthToken):  # type: ignore[misc]  # knox has no types
    """A token of the API; the table holds its digest, the token itself is shown once, at creation."""

    id = models.BigAutoField(primary_key=True)
    digest = models.CharField(max_length=128, unique=True, editable=False)
    name = models.CharField(max_length=100, blank=True, default="")
    access = models.CharField(max_length=8, choices=Access.choices, default=Access.RUN)
    role = models.CharField(
        max_length=32, blank=True, default="", choices=[(role, role) for role in ROLES], help_text="empty = its owner's"
    )
    labels: "models.ManyToManyField[Label, Any]" = models.ManyToManyField(Label, blank=True, related_name="tokens")
    # Whether labels limit it: one whose labels were all deleted since sees nothing, not everything.
    is_scoped = models.BooleanField(default=False, editable=False)
    tools_may_launch = models.BooleanField(
        default=False, db_default=False, help_text="whether a language model that works with it, at /mcp, may launch"
    )
    is_throttled = models.BooleanField(default=True, editable=False)
    password_stamp = models.CharField(max_length=32, default="", editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    last_used_from = models.GenericIPAddressField(null=True, editable=False)

    objects = ApiTokens()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name or f"token {self.token_key}…"

    @property
    def is_current(self) -> bool:
        """Say whether its owner's password is the one it was made under."""
        return bool(self.password_stamp == stamp_of(self.user.password))

    def narrow(self, user: User) -> User:
        """Let this object of the owner do and see no more than the token is for."""
        if self.role:
            narrowing.to_role(user, self.role)
        if self.is_scoped:
            narrowing.to_labels(user, self.labels.values_list("pk", flat=True))
        return user

    def note_use(self, meta: Mapping[str, Any]) -> None:
        """Note when and from where it is used, at most once a minute."""
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at >= USE_NOTED_EVERY:
            changes = {"last_used_at": now, "last_used_from": address_of(meta) or None}
            ApiToken.objects.filter(pk=self.pk).update(**changes)
