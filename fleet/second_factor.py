"""Who has a second factor, and who has to have one."""

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User

FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)  # recovery codes stand in for one, they are none


def is_set_up(user: AbstractBaseUser) -> bool:
    """Say whether signing in asks this person for one."""
    return bool(Authenticator.objects.filter(user_id=user.pk, type__in=FACTORS).exists())


def has_app(user: AbstractBaseUser) -> bool:
    """Say whether an app makes codes for this person: who has passkeys alone can type a recovery code."""
    return bool(Authenticator.objects.filter(user_id=user.pk, type=Authenticator.Type.TOTP).exists())


def is_missing(user: User | AnonymousUser) -> bool:
    """Say whether this person has to set one up before anything else."""
    if not settings.REQUIRE_SECOND_FACTOR or not (user.is_staff or user.is_superuser):
        return False
    return not is_set_up(user)


def remove(user: User) -> int:
    """Take a person's second factors and recovery codes away, as for a lost telephone; give how many."""
    removed: int = Authenticator.objects.filter(user=user).delete()[0]
    return removed
