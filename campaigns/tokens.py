"""What programs show to be let in."""

from datetime import timedelta
from hashlib import sha256
from typing import Any, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from knox.models import AbstractAuthToken, AuthTokenManager

from fleet.addresses import address_of

USE_NOTED_EVERY = timedelta(minutes=1)


class Access(models.TextChoices):
    """What a token is good for, within what its owner may."""

    RUN = "run", "everything its owner may"
    READ = "read", "reading only"


def stamp_of(password: str) -> str:
    """Give what tells one stored password from another and says nothing of it."""
    return sha256(password.encode()).hexdigest()[:32]


class ApiTokens(AuthTokenManager):  # type: ignore[misc]  # knox has no types
    """Tokens bear the stamp of their owner's password: whatever changes it, a page or a command, ends them."""

    def create(self, user: User, **fields: Any) -> "tuple[ApiToken, str]":
        """Make a token; give it and what is to be shown."""
        stamped = {"password_stamp": stamp_of(user.password), **fields}
        return cast("tuple[ApiToken, str]", super().create(user, **stamped))

    def make(
        self, user: User, name: str, days: int | None, access: str, made_by: "ApiToken | None" = None
    ) -> "tuple[ApiToken, str]":
        """Make one that lives so many days. One that a token makes is good for no more, and lives no longer."""
        life = timedelta(days=days or settings.TOKEN_DAYS)
        if made_by is not None:
            access = Access.READ if made_by.access == Access.READ else access
            life = min(life, made_by.expiry - timezone.now()) if made_by.expiry else life
        return self.create(user, expiry=life, name=name, access=access)

    def of(self, user: User) -> "models.QuerySet[ApiToken]":
        """Give a person's tokens that still let in."""
        lasting = models.Q(expiry=None) | models.Q(expiry__gt=timezone.now())
        found = self.filter(lasting, user=user, password_stamp=stamp_of(user.password))
        return cast("models.QuerySet[ApiToken]", found)

    def revoke_of_the_deactivated(self) -> int:
        """Take away for good the tokens of people who are not active, by whatever way they became so."""
        gone: int = self.filter(user__is_active=False).delete()[0]
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

    def note_use(self, request: HttpRequest) -> None:
        """Note when and from where it is used, at most once a minute."""
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at >= USE_NOTED_EVERY:
            changes = {"last_used_at": now, "last_used_from": address_of(request.META) or None}
            ApiToken.objects.filter(pk=self.pk).update(**changes)
