"""`?wait=SECONDS` on a launch: the answer comes when the campaign has ended, or when the time is up.

Waiting happens on the event loop, with the campaign's reader; the request's thread sleeps meanwhile, without a
connection to PostgreSQL.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

import msgspec
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import User
from django.db import DatabaseError, close_old_connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.response import Response

from campaigns.answers import sight
from campaigns.answers.results import MOST_ITEMS, campaign_json, results_page
from campaigns.models import Campaign
from campaigns.people.scopes import UNLIMITED
from campaigns.tokens import ApiToken
from campaigns.watching.readers import readers
from fleet import sessions, turns
from fleet.api.asking import BearerAuthentication
from fleet.errors import BadInputError
from fleet.handler import GONE

logger = logging.getLogger(__name__)

LONGEST_WAIT = 60  # seconds


def seconds_to_wait(asked: Any) -> int | None:
    """Read `wait` of a query string; None = do not wait. Raise BadInputError."""
    value = asked.get("wait")
    if value is None:
        return None
    if not value.isdecimal() or len(value) > 2 or int(value) > LONGEST_WAIT:
        raise BadInputError(f"wait {value!r} is not a number of seconds from 0 to {LONGEST_WAIT}", "wait")
    return int(value)


def waiting(view: Callable[..., HttpResponseBase]) -> Callable[..., Any]:
    """Let a view that launches wait for the end when it is asked to."""

    @wraps(view)  # the attributes too, by which the URLs and the API's document know it
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        launched = view(request, *args, **kwargs)
        if request.method != "POST" or "wait" not in request.GET or not isinstance(launched, Response):
            return launched
        if launched.status_code not in (200, 201) or GONE in request.META:
            return launched
        campaign_id = launched.data["id"]
        close_old_connections()
        try:
            async_to_sync(until_over)(campaign_id, seconds_to_wait(request.GET) or 0)
            return _answer(request, campaign_id)
        except DatabaseError as error:
            logger.warning("launch answered early campaign=%s reason=%s", campaign_id, str(error).strip())
            return launched

    return answer


async def until_over(campaign_id: int, seconds: int) -> None:
    """Return when the campaign has ended, or after so many seconds."""
    turns.give_up()
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    reader = await readers.enter(campaign_id, UNLIMITED)  # only its end is looked at
    try:
        while not reader.is_over and loop.time() < until:
            await reader.wait(reader.generation, until - loop.time())
    finally:
        await readers.leave(reader)


def look_again(request: Any) -> None:
    """Let the person of a request that waited be who he is now, with what he may now. Raise NotAuthenticated."""
    shown = getattr(request, "auth", None)
    user = _of_token(shown) if isinstance(shown, ApiToken) else _of_session(request)
    if user is None:
        raise NotAuthenticated("while this waited, the token or session that it came with has ended")
    request.user = user


def _of_token(shown: ApiToken) -> User | None:
    now = ApiToken.objects.living().select_related("user").filter(pk=shown.pk).first()
    try:
        return BearerAuthentication().validate_user(now)[0] if now is not None else None
    except AuthenticationFailed:
        return None


def _of_session(request: Any) -> User | None:
    key = request.session.session_key
    if key is None:  # he was known by something else than a session or a token
        return User.objects.filter(pk=request.user.pk, is_active=True).first()
    user = get_user(request) if request.session.exists(key) and sessions.holds(key) else None
    return user if isinstance(user, User) else None


def _answer(request: HttpRequest, campaign_id: int) -> HttpResponse:
    try:
        look_again(request)
    except NotAuthenticated as refusal:
        return JsonResponse({"error": str(refusal.detail)}, status=401)
    campaign = sight.seen_by(Campaign.objects.select_related("created_by").get(pk=campaign_id), request.user)
    body = campaign_json(campaign, settings.PUBLIC_URL or request.build_absolute_uri("/")[:-1])
    page = results_page(request, campaign, 0, MOST_ITEMS)
    return HttpResponse(
        msgspec.json.encode({**body, "results": page["results"], "next": page["next"]}),
        content_type="application/json",
        status=200 if campaign.is_over else 202,
    )
