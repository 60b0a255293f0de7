"""Signing in with an OpenID provider, by the code flow with PKCE; every token's signature is checked.

Who comes for the first time gets an account under the name of a claim, without a password. Groups follow a claim at
every sign-in: those that OIDC_GROUPS names, and no others. django-allauth does the protocol.
"""

import logging
from collections.abc import Callable
from typing import Any, cast

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.internal import jwtkit
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET
from requests import RequestException

from fleet import audit
from fleet.audit.gathering import told_by_verb

logger = logging.getLogger(__name__)

PROVIDER = "openid"  # as it stands in addresses
AUTH_TIME = "FLEET_AUTH_TIME"  # in META: when the provider saw the person, seconds of Unix time


# --- the two addresses -----------------------------------------------------------------------------------------


class Protocol(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]  # allauth has no types
    """Allauth's, which trusts the connection for tokens that it fetched itself; here signatures are always checked."""

    def _decode_id_token(self, app: Any, id_token: str) -> dict[str, Any]:
        try:
            claims = jwtkit.verify_and_decode(
                credential=id_token,
                keys_url=self.openid_config["jwks_uri"],
                issuer=self.openid_config["issuer"],
                audience=app.client_id,
                lookup_kid=jwtkit.lookup_kid_jwk,
            )
        except (KeyError, ValueError) as error:
            raise OAuth2Error(f"the provider's token or keys lack {error}") from error
        return cast(dict[str, Any], claims)

    def get_callback_url(self, request: HttpRequest, app: Any) -> str:
        """Give where the provider sends back to."""
        return request.build_absolute_uri(reverse("openid-callback"))

    def complete_login(self, request: HttpRequest, app: Any, token: Any, **more: Any) -> Any:
        """Give who it is. Raise OAuth2Error when token and account speak of different people, or nothing is signed."""
        if not more["response"].get("id_token"):
            raise OAuth2Error("the provider sent no id_token")
        login = super().complete_login(request, app, token, **more)
        data = login.account.extra_data
        if data["userinfo"].get("sub") != data["id_token"].get("sub"):
            raise OAuth2Error("userinfo is of another person than the id_token")
        return login


def _reached(view: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Answer with a sentence when there is no provider, or it does not answer."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        if not settings.OIDC_ISSUER:
            raise Http404("no OpenID provider is set")
        try:
            return view(request)
        except (RequestException, OAuth2Error, KeyError, ValueError) as error:
            logger.warning("openid provider not usable reason=%s", error)
            return _refused(request, "The OpenID provider does not answer as it should: try again in a moment.", 503)

    return answer


@require_GET
@_reached
def begin(request: HttpRequest) -> HttpResponseBase:
    """Send to the provider; `again` has it ask anew who sits there."""
    protocol = Protocol(request, PROVIDER)
    wanted = request.GET.get("next", "")
    next_url = wanted if url_has_allowed_host_and_scheme(wanted, {request.get_host()}) else None
    params = {"prompt": "login", "max_age": "0"} if "again" in request.GET else {}
    provider = protocol.get_provider()
    provider.oauth2_adapter_class = Protocol
    answer: HttpResponseBase = provider.redirect(request, "login", next_url, auth_params=params)
    return answer


@require_GET
@_reached
def come_back(request: HttpRequest) -> HttpResponseBase:
    """Take what the provider sends back, and sign in."""
    answer: HttpResponseBase = OAuth2CallbackView.adapter_view(Protocol(request, PROVIDER))(request)
    return answer


def _refused(request: HttpRequest, sentence: str, status: int = 403) -> HttpResponse:
    return render(request, "campaigns/refused.html", {"sentence": sentence, "kind": "sign-in"}, status=status)


# --- who it is -------------------------------------------------------------------------------------------------


class OpenIdAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Which account somebody gets, and which groups."""

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Find or make the account, and let its groups follow the claims. Raise ImmediateHttpResponse."""
        data = sociallogin.account.extra_data
        claims = {**data.get("userinfo", {}), **data.get("id_token", {})}
        sociallogin.email_addresses = []
        if not sociallogin.is_existing:
            sociallogin.connect(request, self._account_for(request, claims))
        follow(sociallogin.user, claims.get(settings.OIDC_GROUPS_CLAIM))
        if isinstance(claims.get("auth_time"), int):
            request.META[AUTH_TIME] = claims["auth_time"]

    def _account_for(self, request: HttpRequest, claims: dict[str, Any]) -> User:
        name = claims.get(settings.OIDC_USERNAME_CLAIM)
        try:
            return account_named(name, claims)
        except ValidationError as refusal:
            logger.warning("openid sign-in refused name=%r reason=%s", str(name)[:150], refusal.message)
            _note_failure(request, str(refusal.message), str(name or ""))
            raise ImmediateHttpResponse(_refused(request, str(refusal.message))) from refusal

    def on_authentication_error(self, request: HttpRequest, provider: Any, *args: Any, **more: Any) -> None:
        """Say that it did not work; the log says why."""
        logger.warning("openid sign-in failed error=%s reason=%s", more.get("error"), more.get("exception"))
        _note_failure(request, str(more.get("exception") or more.get("error") or ""))
        raise ImmediateHttpResponse(
            _refused(request, "Logging in with the OpenID provider did not work, or was cancelled: begin again.")
        )


def _note_failure(request: HttpRequest, reason: str, name: str = "") -> None:
    audit.note("sign_in.failed", request=request, who=name, way="openid", reason=reason[:500])


def account_named(name: Any, claims: dict[str, Any]) -> User:
    """Make the account, or give the one of that name where OIDC_ADOPT_ACCOUNTS says so. Raise ValidationError."""
    if not isinstance(name, str) or not name:
        raise ValidationError(f"The provider does not tell your name in the claim {settings.OIDC_USERNAME_CLAIM}.")
    found = User.objects.filter(username=name).first()
    if found is not None:
        if settings.OIDC_ADOPT_ACCOUNTS:
            return found
        raise ValidationError(f"There is an account named {name} already, which is not of your OpenID provider.")
    texts = {field: claims.get(claim) for field, claim in _TAKEN.items()}
    made = User(username=name, **{field: text for field, text in texts.items() if isinstance(text, str)})
    made.set_unusable_password()
    try:
        made.full_clean()
    except ValidationError as error:
        raise ValidationError(f"Your OpenID provider tells what no account has: {' '.join(error.messages)}") from error
    made.save()
    return made


_TAKEN = {"email": "email", "first_name": "given_name", "last_name": "family_name"}


def follow(user: User, claim: Any) -> None:
    """Put a person into the groups that the claim's values mean, and out of the others that OIDC_GROUPS names."""
    values = claim.replace(",", " ").split() if isinstance(claim, str) else claim
    values = set(map(str, values)) if isinstance(values, list) else set()
    meant = {group for value, group in settings.OIDC_GROUPS.items() if value in values}
    groups = {group.name: group for group in Group.objects.filter(name__in=settings.OIDC_GROUPS.values())}
    for name in meant - set(groups):
        logger.warning("openid group not known group=%r user=%s", name, user.pk)
    before = set(user.groups.values_list("name", flat=True)) & set(groups)
    if before == meant & set(groups):
        return
    audit.note("person.groups_followed", by=user, subject=f"person {user.pk}", before=sorted(before), now=sorted(meant))
    with told_by_verb():
        user.groups.remove(*(group for name, group in groups.items() if name not in meant))
        user.groups.add(*(group for name, group in groups.items() if name in meant))
