"""Signing in with an OpenID provider, by the code flow with PKCE; every token's signature is checked.

Who comes for the first time gets an account under the name of a claim, without a password. Groups follow a claim at
every sign-in: those that OIDC_GROUPS names, and no others. django-allauth does the protocol.
"""

import logging
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db.models import Field, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET
from requests import RequestException

from campaigns.people.scopes import Scope
from fleet import audit, confirming, openid_tokens
from fleet.audit.gathering import told_by_verb
from fleet.coming_back import page_behind_door
from fleet.text import is_text

logger = logging.getLogger(__name__)

PROVIDER = "openid"  # as it stands in addresses, and in links of before, whatever issuer they are of
AUTH_TIME = "FLEET_AUTH_TIME"  # in META: when the provider saw the person, seconds of Unix time
AGAIN = "again"  # in what is kept of a way to the provider: it is to ask anew who sits there
MOST_SUB, MOST_ISSUER = 191, 200  # letters, in the columns
TOLD = re.compile(r'"error(?:_description)?"\s*:\s*"([^"]*)"')

# What the person reads; the reason is for who runs this server.
AWAY = "The OpenID provider does not answer as it should: try again in a moment."
UNFIT = "The OpenID provider answered, but not in a way that this server can trust."
STALE = "This log-in was begun in another browser or more than ten minutes ago, or it is over already."
CANCELLED = "The OpenID provider did not let you in, or you broke it off there."
REFUSED = "The OpenID provider refused to log you in."
ANOTHER = "You logged in at the OpenID provider as another person than you are here: log out here first."
NOT_ASKED = "The OpenID provider did not ask again who you are: log out there, then show again here that it is you."


# --- the two addresses -----------------------------------------------------------------------------------------


class Protocol(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]  # allauth has no types
    """Allauth's, which trusts the connection for tokens that it fetched itself; here signatures are always checked."""

    def get_callback_url(self, request: HttpRequest, app: Any) -> str:
        """Give where the provider sends back to."""
        return request.build_absolute_uri(reverse("openid-callback"))

    def get_access_token_data(self, request: HttpRequest, app: Any, client: Any, **more: Any) -> Any:
        """Give what the code is good for. Raise OAuth2Error, without what is secret in the provider's answer."""
        try:
            return super().get_access_token_data(request, app, client, **more)
        except OAuth2Error as error:
            told = "; ".join(TOLD.findall(str(error)))
            raise OAuth2Error(f"the provider gives no tokens: {told or 'it does not say why'}") from error

    def complete_login(self, request: HttpRequest, app: Any, token: Any, **more: Any) -> Any:
        """Give who it is, with his `claims`. Raise OAuth2Error when they are not signed, or of different people."""
        signed = more["response"].get("id_token")
        if not isinstance(signed, str):
            raise OAuth2Error("the provider sent no id_token")
        claims = openid_tokens.claims_of(signed, self._keys(), self.openid_config["issuer"], app.client_id)
        sub = str(claims["sub"])
        if "userinfo_endpoint" in self.openid_config:
            userinfo = self._fetch_user_info(token.token)
            if str(userinfo.get("sub")) != sub:
                raise OAuth2Error("userinfo is of another person than the id_token")
            claims = {**userinfo, **claims}
        if not is_text(sub) or not 0 < len(sub) <= MOST_SUB:
            raise OAuth2Error("the provider's sub is not text of 1 to 191 letters")
        issuer = str(claims["iss"])
        if len(issuer) > MOST_ISSUER:
            raise OAuth2Error("the provider's issuer is longer than 200 letters")
        login = self.get_provider().sociallogin_from_response(request, _kept(sub, claims))
        known = links_of(issuer).filter(uid=sub).first()
        login.account.provider = known.provider if known is not None else issuer
        login.claims = claims
        return login

    def _keys(self) -> Any:
        """Fetch the provider's keys, whatever stands there."""
        with OpenIdAdapter(self.request).get_requests_session() as session:
            answer = session.get(self.openid_config["jwks_uri"])
        answer.raise_for_status()
        return answer.json().get("keys")


def links_of(issuer: str) -> "QuerySet[SocialAccount]":
    """Give what links accounts with people of this issuer: `sub` says who it is among these, and among no others."""
    found: QuerySet[SocialAccount] = SocialAccount.objects.filter(
        Q(provider=issuer) | Q(provider=PROVIDER, extra_data__id_token__iss=issuer)
    )
    return found


def _kept(sub: str, claims: dict[str, Any]) -> dict[str, Any]:
    """Give what is kept of what the provider tells: who at which provider, and no more."""
    return {"userinfo": {"sub": sub}, "id_token": {"iss": claims["iss"]}}


def _reached(view: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Answer with a sentence when there is no provider, or it does not answer."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        if not settings.OIDC_ISSUER:
            raise Http404("no OpenID provider is set")
        try:
            return view(request)
        except (RequestException, OAuth2Error, KeyError, ValueError) as error:
            lacks = "its answer lacks " if isinstance(error, KeyError) else ""
            return _turned_away(request, AWAY, f"{lacks}{error}", status=503)

    return answer


@require_GET
@_reached
def begin(request: HttpRequest) -> HttpResponseBase:
    """Send to the provider; `again` has it ask anew who sits there."""
    protocol = Protocol(request, PROVIDER)
    again = AGAIN if "again" in request.GET else None
    params = {"prompt": "login", "max_age": "0"} if again else {}
    provider = protocol.get_provider()
    provider.oauth2_adapter_class = Protocol
    next_url = page_behind_door(request) or None
    answer: HttpResponseBase = provider.redirect(request, "login", next_url, again, auth_params=params)
    return answer


@require_GET
@_reached
def come_back(request: HttpRequest) -> HttpResponseBase:
    """Take what the provider sends back, and sign in."""
    answer: HttpResponseBase = OAuth2CallbackView.adapter_view(Protocol(request, PROVIDER))(request)
    return answer


def _turned_away(request: HttpRequest, sentence: str, reason: str, name: str = "", status: int = 403) -> HttpResponse:
    """Say what the person reads; log and audit say the reason."""
    logger.warning("openid sign-in refused name=%r reason=%s", name[:150], reason[:500])
    audit.note("sign_in.failed", request=request, who=name, way="openid", reason=reason[:500])
    return render(request, "campaigns/refused.html", {"sentence": sentence, "kind": "sign-in"}, status=status)


def _why(request: HttpRequest, context: dict[str, Any], exception: Any) -> tuple[str, str, int]:
    """Give what the person reads, the reason, and the status."""
    if isinstance(exception, RequestException):
        return AWAY, str(exception), 503
    if exception is not None:
        return UNFIT, str(exception), 403
    if "state" not in context:
        return STALE, "this browser did not begin it, or more than ten minutes ago, or it is over", 403
    error, described = (request.GET.get(name, "") for name in ("error", "error_description"))
    sentence = CANCELLED if error == "access_denied" else REFUSED
    return sentence, f"the provider says {error or 'nothing'}{': ' * bool(described)}{described}", 403


# --- who it is -------------------------------------------------------------------------------------------------


class OpenIdAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Which account somebody gets, and which groups."""

    def get_requests_session(self) -> Any:
        """Give what asks the provider. Its answers are objects of JSON, or OAuth2Error is raised."""
        session = super().get_requests_session()
        session.hooks["response"].append(_look_at)
        return session

    def get_provider(self, request: HttpRequest, provider: str, client_id: str | None = None) -> Any:
        """Give the one that is set, of whatever issuer a link is."""
        return super().get_provider(request, PROVIDER, client_id)

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Find or make the account, and let its groups follow the claims. Raise ImmediateHttpResponse.

        Who is signed in as that person already stays in his session, under its key: his other tabs go on.
        """
        claims, here = sociallogin.claims, request.user if request.user.is_authenticated else None
        again = sociallogin.state.get("data") == AGAIN
        if again and here is not None and sociallogin.user.pk != here.pk:
            raise ImmediateHttpResponse(_turned_away(request, ANOTHER, "it is another person", here.get_username()))
        if not sociallogin.is_existing:
            sociallogin.connect(request, self._account_for(request, claims))
        follow(sociallogin.user, told(claims, settings.OIDC_GROUPS_CLAIM))
        age = openid_tokens.age_of(claims)
        if here is not None and sociallogin.user.pk == here.pk:
            if again or age is not None:
                confirming.note_later(request, time.time() - (age or 0))
            raise ImmediateHttpResponse(_go_on(request, sociallogin.get_redirect_url(request), again, age))
        if age is not None:
            request.META[AUTH_TIME] = time.time() - age

    def _account_for(self, request: HttpRequest, claims: dict[str, Any]) -> User:
        name = told(claims, settings.OIDC_USERNAME_CLAIM)
        try:
            return account_named(name, claims)
        except ValidationError as refusal:
            sentence, shown = str(refusal.message), str(name or "").replace("\0", "")
            raise ImmediateHttpResponse(_turned_away(request, sentence, sentence, shown)) from refusal

    def on_authentication_error(self, request: HttpRequest, provider: Any, *args: Any, **more: Any) -> None:
        """Say that it did not work; log and audit say why."""
        sentence, reason, status = _why(request, more.get("extra_context") or {}, more.get("exception"))
        raise ImmediateHttpResponse(_turned_away(request, sentence, reason, status=status))


def _look_at(answer: Any, *_: Any, **__: Any) -> None:
    if answer.status_code == HTTPStatus.OK and not isinstance(answer.json(), dict):
        raise OAuth2Error(f"no object of JSON came from {answer.url}")


def _go_on(request: HttpRequest, to: str | None, again: bool, age: float | None) -> HttpResponse:
    """Lead a person on who is signed in already, and showed again who he is where that was asked."""
    if again and not confirming.is_recent(request):
        return _turned_away(
            request, NOT_ASKED, f"it saw the person {round(age or 0)} s ago", request.user.get_username()
        )
    if again:
        audit.note("person.confirmed", request=request, subject=f"person {request.user.pk}")
        messages.success(request, confirming.THANKS)
    return HttpResponseRedirect(to or reverse("home"))


def told(claims: dict[str, Any], name: str) -> Any:
    """Give a claim by its name; one within another as realm_access.roles. None = the provider does not tell it."""
    if name in claims:
        return claims[name]
    for at in (at for at, letter in enumerate(name) if letter == "."):
        if isinstance(inner := claims.get(name[:at]), dict) and (found := told(inner, name[at + 1 :])) is not None:
            return found
    return None


def account_named(name: Any, claims: dict[str, Any]) -> User:
    """Make the account, or give the one of that name where OIDC_ADOPT_ACCOUNTS says so. Raise ValidationError."""
    if not isinstance(name, str) or not name or not is_text(name):
        raise ValidationError(f"The provider does not tell your name in the claim {settings.OIDC_USERNAME_CLAIM}.")
    name = User.normalize_username(name)
    found = User.objects.filter(username=name).first()
    if found is not None:
        if not settings.OIDC_ADOPT_ACCOUNTS:
            raise ValidationError(f"There is an account named {name} already, which is not of your OpenID provider.")
        if links_of(str(claims["iss"])).filter(user=found).exists():
            raise ValidationError(f"The account named {name} is of another person of your OpenID provider.")
        return found
    if alike := User.objects.filter(username__iexact=name).values_list("username", flat=True).first():
        raise ValidationError(f"There is an account named {alike}, which only capitals tell from your name, {name}.")
    return _made(name, claims)


def _made(name: str, claims: dict[str, Any]) -> User:
    """Make the account, with what else the provider tells of the person and an account can have."""
    made = User(username=name)
    made.set_unusable_password()
    try:
        made.full_clean()
    except ValidationError as error:
        raise ValidationError(f"Your OpenID provider tells what no account has: {' '.join(error.messages)}") from error
    for field, claim in _TAKEN.items():
        setattr(made, field, _fitting(field, claims.get(claim)))
    made.save()
    return made


_TAKEN = {"email": "email", "first_name": "given_name", "last_name": "family_name"}


def _fitting(field: str, value: Any) -> str:
    """Give what an account's field takes; "" for anything else, which keeps nobody out."""
    if not isinstance(value, str) or not is_text(value):
        return ""
    try:
        return str(cast("Field[str, str]", User._meta.get_field(field)).clean(value, None))
    except ValidationError:
        return ""


def follow(user: User, claim: Any) -> None:
    """Put a person into the groups that the claim's values mean, and out of the others that OIDC_GROUPS names.

    A claim that is not there takes the groups that give rights, and leaves teams: without one he would see every host.
    """
    values = _values(claim)
    named = {group.name: group for group in Group.objects.filter(name__in={name for _, name in settings.OIDC_GROUPS})}
    wanted = {name for value, name in settings.OIDC_GROUPS if value in (values or ())}
    for name in wanted - named.keys():
        logger.warning("openid group not known group=%r user=%s", name, user.pk)
    before = set(user.groups.values_list("name", flat=True)) & named.keys()
    kept = set()
    if named and values is None:
        kept = set(Scope.objects.filter(group__name__in=before).values_list("group__name", flat=True))
        logger.warning("openid groups not told claim=%r user=%s", settings.OIDC_GROUPS_CLAIM, user.pk)
    now = wanted & named.keys() | kept
    if before == now:
        return
    audit.note("person.groups_followed", by=user, subject=f"person {user.pk}", before=sorted(before), now=sorted(now))
    with told_by_verb():
        user.groups.remove(*(named[name] for name in before - now))
        user.groups.add(*(named[name] for name in now - before))


def _values(claim: Any) -> set[str] | None:
    """Give a claim's values, a text's whole and its words; None = it is not there."""
    if isinstance(claim, str):
        return {claim, *claim.replace(",", " ").split()}
    return set(map(str, claim)) if isinstance(claim, list) else None
