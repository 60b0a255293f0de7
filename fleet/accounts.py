"""django-allauth, fitted: every door of people ends here, wrong codes are counted as wrong passwords are.

Allauth leads through the steps of signing in; what it would show, mail or limit by itself is ours.
"""

import logging
import struct
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any, cast

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.totp.internal.auth import generate_totp_secret
from allauth.mfa.webauthn.forms import AddWebAuthnForm, AuthenticateWebAuthnForm
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django import forms
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from fido2.webauthn import AuthenticationResponse, RegistrationResponse
from redis.exceptions import RedisError

from agents.board import keyspace, redis_client
from campaigns.people import lockouts
from fleet import audit, confirming, sessions
from fleet.addresses import address_of
from fleet.openid import AUTH_TIME
from fleet.sign_in import Tries, refusal_noted

logger = logging.getLogger(__name__)

CODE_SECONDS = 120  # within which a code of a telephone may be right, so within which it is good only once
MOST_OF_NAME = 100  # letters of a passkey's

NO_PASSKEY = "This passkey was not accepted: what the browser sent is no answer of a passkey."
NOT_ASKED = "This passkey was not accepted: it does not answer what this page asked. Try once more."
NOT_YOURS = (
    "This passkey was not accepted: it is none of your account, or does not answer what this page asked. Try once more."
)


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """What happens when somebody has passed all steps, and where he is sent."""

    def login(self, request: HttpRequest, user: User) -> None:
        """Begin the session, under a new key."""
        super().login(request, user)
        browser = request.META.get("HTTP_USER_AGENT", "")
        ways = [record.get("type", record["method"]) for record in get_authentication_records(request, user)]
        audit.note("session.begun", by=user, request=request, subject=f"person {user.pk}", ways=ways)
        sessions.forget(user)
        sessions.begin(request.session, user, self.get_client_ip(request), browser)
        if (seen := request.META.get(AUTH_TIME)) is not None:
            confirming.note(request, min(float(seen), time.time()))

    def get_client_ip(self, request: HttpRequest) -> str:
        """Give the address as everything else here takes it."""
        return address_of(request.META) or sessions.UNKNOWN

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponseBase:
        """Say that the account is switched off."""
        audit.note("sign_in.failed", request=request, who=user.get_username(), reason="the account is switched off")
        sentence = "Your account is switched off: an administrator can switch it on."
        return render(request, "campaigns/refused.html", {"sentence": sentence, "kind": "sign-in"}, status=403)

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """Lead to the console's first page."""
        return reverse("home")

    def add_message(self, request: HttpRequest, level: int, template: str = "", *args: Any, **more: Any) -> None:
        """Say what became of second factors; what the next page says itself is not said twice."""
        if not template.startswith(("account/", "mfa/messages/recovery_codes_generated")):
            super().add_message(request, level, template, *args, **more)

    def send_notification_mail(self, template_prefix: str, user: User, *args: Any, **more: Any) -> None:
        """Put into the audit what allauth would mail: what became of somebody's second factors, and of his account."""
        what = template_prefix.rpartition("/")[2]
        action = "second_factor.changed" if template_prefix.startswith("mfa/") else f"person.{what}"
        audit.note(action, by=user, request=context.request, subject=f"person {user.pk}", what=what)

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Let nobody make an account for himself."""
        return False

    def is_reauthentication_required(self, *, app: str, **more: Any) -> bool:
        """Ask what everything else here asks."""
        return not confirming.is_recent(context.request)

    def get_reauthentication_methods(self, user: User | AnonymousUser) -> list[dict[str, str]]:
        """Give the one page that takes them all."""
        return [{"id": "reauthenticate", "description": "", "url": reverse("confirm")}]


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth has no types
    """Seeds of codes are stored encrypted: who reads the database can make none."""

    def encrypt(self, text: str) -> str:
        """Encrypt a seed."""
        return _lock().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Give the seed; one that no code fits when SECRET_KEY is another by now."""
        try:
            return _lock().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            logger.warning("second factor cannot be read: SECRET_KEY changed since it was set up")
            return cast(str, generate_totp_secret())


def _lock() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(urlsafe_b64encode(sha256(f"second factor {key}".encode()).digest())) for key in keys])


# --- codes -----------------------------------------------------------------------------------------------------


def counted(user: AbstractBaseUser, check: Callable[[], Any]) -> Any:
    """Check what proves a second factor, unless too many were wrong. Raise ValidationError, TooManyTriesError.

    Apart from passwords, whose right one begins their count anew: who has it could try codes without end.
    """
    tries = Tries(user.get_username() + lockouts.SECOND_FACTOR, address_of(context.request.META), "codes")
    with refusal_noted(context.request):
        tries.check()
    try:
        proven = check()
    except ValidationError:
        tries.count()
        audit.note("second_factor.wrong", by=user, request=context.request, subject=f"person {user.pk}")
        raise
    tries.forget()
    return proven


def _is_fresh(user: AbstractBaseUser, code: str) -> bool:
    """Say whether a code is used for the first time, by whatever process it is checked."""
    digest = sha256("".join(filter(str.isalnum, code)).encode()).hexdigest()[:32]
    try:
        key = keyspace.sign_in_key("code", str(user.pk), digest)
        return bool(redis_client.client().set(key, 1, nx=True, ex=CODE_SECONDS))
    except (RedisError, OSError) as error:
        logger.warning("second factor refused: used codes are not known reason=%s", error)
        raise ValidationError("Codes cannot be checked at this moment: try again in a minute.") from error


class CodeForm(AuthenticateForm):  # type: ignore[misc]  # allauth has no types
    """A code of a telephone, or a recovery code."""

    def clean_code(self) -> str:
        """Give the code. Raise ValidationError when it is wrong or was used, TooManyTriesError after many."""
        return cast(str, counted(self.user, self._clean_code))

    def _clean_code(self) -> str:
        code: str = super().clean_code()
        if not _is_fresh(self.user, code):
            raise ValidationError("This code was used already: wait for the next one.")
        return code


class PasskeyField(forms.JSONField):
    """What a browser sends of a passkey; nothing else is looked at, or kept."""

    def __init__(self, shape: Any) -> None:
        super().__init__(error_messages={"required": NO_PASSKEY, "invalid": NO_PASSKEY})
        self._shape = shape

    def to_python(self, value: Any) -> Any:
        """Read it. Raise ValidationError for what no browser writes, which the libraries do not expect."""
        if "\\u" in str(value):  # of what is no ASCII, and base64 holds none; NUL cannot be kept
            raise ValidationError(NO_PASSKEY)
        try:
            read = super().to_python(value)
            self._shape.from_dict(read)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, struct.error) as error:
            raise ValidationError(NO_PASSKEY) from error
        return read


class AddPasskeyForm(AddWebAuthnForm):  # type: ignore[misc]  # allauth has no types
    """A new passkey, and how it is called."""

    name = forms.CharField(required=False, max_length=MOST_OF_NAME)
    credential = PasskeyField(RegistrationResponse)

    def clean(self) -> Any:
        """Check what it answers, where nothing else is wrong. Raise ValidationError."""
        if self.errors:
            return self.cleaned_data
        try:
            return super().clean()
        except ValidationError as error:
            raise ValidationError(NOT_ASKED) from error


class PasskeyForm(AuthenticateWebAuthnForm):  # type: ignore[misc]  # allauth has no types
    """What a passkey signed."""

    credential = PasskeyField(AuthenticationResponse)

    def clean_credential(self) -> Any:
        """Give whose it is. Raise ValidationError, TooManyTriesError after many."""
        return counted(self.user, self._clean_credential)

    def _clean_credential(self) -> Any:
        try:
            return super().clean_credential()
        except ValidationError as error:
            raise ValidationError(NOT_YOURS) from error


class ActivateForm(ActivateTOTPForm):  # type: ignore[misc]  # allauth has no types
    """The first code of a telephone; it signs nobody in afterwards."""

    def clean_code(self) -> str:
        """Give the code. Raise ValidationError."""
        code: str = super().clean_code()
        _is_fresh(self.user, code)
        return code


class CodeAgainForm(CodeForm, ReauthenticateForm):  # type: ignore[misc]  # allauth has no types
    """A code of somebody who is signed in."""


class PasskeyAgainForm(PasskeyForm):
    """What a passkey of somebody who is signed in signed."""

    reauthenticated = True
