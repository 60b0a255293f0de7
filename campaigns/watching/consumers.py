"""The viewers' sockets: snapshot, then progress and results as they come, in order and without gaps (design 8).

A socket keeps nothing but its place; what it sends comes from the campaign's reader.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db import DatabaseError
from rest_framework.exceptions import AuthenticationFailed

from campaigns.answers import audit
from campaigns.models import Campaign
from campaigns.people import scopes
from campaigns.people.scopes import Limits
from campaigns.throttles import count, limits_of
from campaigns.tokens import ApiToken
from campaigns.watching.readers import PROGRESS_SECONDS, Reader, encode, readers
from fleet import second_factor, sessions
from fleet.addresses import is_ours
from fleet.api.asking import BearerAuthentication
from fleet.audit.refusing import note_refusal
from fleet.cancelling import end
from fleet.counting import counted
from fleet.errors import TooManyError

logger = logging.getLogger(__name__)

BAD_INPUT, NOT_SIGNED_IN, NOT_ALLOWED, NO_SUCH_CAMPAIGN, TOO_MANY, ENDED = 4400, 4401, 4403, 4404, 4429, 1000
RESTARTING = 1012  # come again with the last seq
AS_OF_HTTP = 4000  # less by that, the codes of refusals are HTTP's statuses
MOST_REASON_BYTES = 123  # a close frame holds no more
PING_SECONDS = 20.0
RIGHTS_SECONDS = 5.0  # so that what a right withdrawn ends has ended within ten


class RefusedError(Exception):
    """The viewer may not look; the code says why, and where the code is not enough a sentence."""

    def __init__(self, code: int, sentence: str = "") -> None:
        super().__init__(code)
        self.code, self.reason = code, sentence.encode()[:MOST_REASON_BYTES].decode(errors="ignore")


class Socket(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """A socket that opens while Redis is away: nobody sends it anything through the channel layer."""

    channel_layer_alias = "none"  # readers listen for all


class CampaignConsumer(Socket):
    """One viewer of one campaign."""

    async def connect(self) -> None:
        """Accept, then send until the campaign ended or the viewer left. A refusal is a close with its code."""
        self._sender: asyncio.Task[None] | None = None
        self._viewer: User | None = None
        self._shown: ApiToken | None = None
        bearer = "bearer" in self.scope["subprotocols"]
        await self.accept("bearer" if bearer else None)
        try:
            limits = await self._check_rights()
            await database_sync_to_async(_count_opened)(self._viewer, self._shown)
            after = self._after()
            reader = await readers.enter(self.scope["url_route"]["kwargs"]["campaign_id"], limits)
        except RefusedError as refusal:
            await self._refuse(refusal)
        except Campaign.DoesNotExist:
            await self.close(NO_SUCH_CAMPAIGN)
        except DatabaseError as error:
            await self._send_away(error)
        else:
            self._sender = asyncio.create_task(self._serve(reader, after))

    async def disconnect(self, code: int) -> None:
        """Stop sending."""
        if self._sender is not None:
            await end([self._sender])

    # --- who --------------------------------------------------------------------------------------------------

    async def _check_rights(self) -> Limits:
        """Look up who looks, whether they may, and of which hosts, as of now. Raise RefusedError."""
        token = self._token()
        if token is not None:
            user, self._shown = await database_sync_to_async(user_of_token)(token, self._meta())
        else:
            if not self._is_same_site():
                raise RefusedError(NOT_ALLOWED)
            user = await _user_of_session(self.scope["session"].session_key)
        if user is None or isinstance(user, AnonymousUser) or not user.is_authenticated:
            raise RefusedError(NOT_SIGNED_IN)
        self._viewer = user
        campaign_id = self.scope["url_route"]["kwargs"]["campaign_id"]
        limits: Limits = await database_sync_to_async(_limits_to_look_within)(user, campaign_id)
        return limits

    async def _refuse(self, refusal: RefusedError) -> None:
        """Close with the code. Of who is not known, or may not look, the audit is told."""
        await database_sync_to_async(note_refusal)(self._asked(), refusal.code - AS_OF_HTTP, refusal.reason)
        await self.close(refusal.code, refusal.reason)

    async def _send_away(self, error: DatabaseError) -> None:
        """Close with the code of a restart: it comes again with the last seq."""
        campaign = self.scope["url_route"]["kwargs"]["campaign_id"]
        logger.warning("viewer sent away campaign=%s reason=%s", campaign, str(error).strip())
        await self.close(RESTARTING)

    def _asked(self) -> SimpleNamespace:
        """Give who looks and from where, in the shape of a request of Django's."""
        return SimpleNamespace(
            user=self._viewer, auth=self._shown, META=self._meta(), path=self.scope["path"], method="GET"
        )

    def _meta(self) -> dict[str, str]:
        """Give where the socket comes from, as requests of Django's say it."""
        forwarded = dict(self.scope["headers"]).get(b"x-forwarded-for", b"").decode("latin-1")
        return {"REMOTE_ADDR": (self.scope.get("client") or ("",))[0], "HTTP_X_FORWARDED_FOR": forwarded}

    def _token(self) -> str | None:
        """Give the token, from the sub-protocols, which pages can set, or from the header; None = there is none."""
        protocols = self.scope["subprotocols"]
        if protocols[:1] == ["bearer"]:
            return protocols[1] if len(protocols) > 1 else ""
        scheme, _, token = dict(self.scope["headers"]).get(b"authorization", b"").decode("latin-1").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None

    def _is_same_site(self) -> bool:
        """Say whether the page that opened the socket is ours: browsers send cookies along from anywhere."""
        origin = dict(self.scope["headers"]).get(b"origin", b"").decode("latin-1")
        return is_ours(urlsplit(origin).netloc)

    def _after(self) -> int | None:
        """Give the seq after which results are wanted; None = only what is new. Raise RefusedError."""
        asked = parse_qs(self.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if "after" not in asked:
            return None
        value = asked["after"][-1]
        if not value.isdecimal() or len(value) > 18:
            raise RefusedError(BAD_INPUT, f"after {value[:40]!r} is not a whole number from 0 on")
        return int(value)

    # --- what -------------------------------------------------------------------------------------------------

    async def _serve(self, reader: Reader, after: int | None) -> None:
        try:
            await self._send_all(reader, await reader.place_of(after))
        except RefusedError as refusal:
            await self._refuse(refusal)
        except DatabaseError as error:
            await self._send_away(error)
        finally:
            await readers.leave(reader)

    async def _send_all(self, reader: Reader, place: int) -> None:
        """Send until the campaign ended and everything was sent. Raise RefusedError when the rights are gone."""
        await self._send({"type": "snapshot", "campaign": reader.state})
        pace, numbering = Pace(reader.state), reader.numbering
        behind = False
        while True:
            generation, state = reader.generation, reader.state
            if not behind and await reader.behind(place):
                behind = True  # the client pages over REST and comes back; until then it sees the counts
                await self._send({"type": "behind", "after": await reader.number_at(place)})
            page = None if behind else await reader.page_after(place)
            if page is not None:
                place = page.place
                await self._send_answers(page.frame, pace)
            if pace.progress_is_due(state):
                await self._send({"type": "progress", **_progress(state)})
            if page is None and not behind and state["ended_at"] is not None:
                return await self._send_end(state)
            # Who has asked for none of the answers that there are is given no number twice.
            is_renumbered = reader.numbering != numbering and place <= reader.newest
            if is_renumbered or (pace.rights_are_due() and await self._check_rights() != reader.limits):
                raise RefusedError(NOT_ALLOWED, "which hosts you may see has changed: connect again")
            if pace.ping_is_due():
                await self._send({"type": "ping"})
            if page is None:
                await reader.wait(generation, pace.seconds_left(state))

    async def _send_answers(self, frame: str | None, pace: "Pace") -> None:
        if frame:
            if pace.note_is_due():
                await database_sync_to_async(self._note_read)()
            await self.send(frame)

    def _note_read(self) -> None:
        """Note that answers are about to be given. What could not be noted is not given."""
        audit.note_read(f"campaign {self.scope['url_route']['kwargs']['campaign_id']}", "socket", self._asked())

    async def _send_end(self, state: dict[str, Any]) -> None:
        await self._send({"type": "progress", **_progress(state)})
        await self._send({"type": "ended", **_progress(state), "ended_reason": state["ended_reason"]})
        await self.close(ENDED)

    async def _send(self, frame: dict[str, Any]) -> None:
        await self.send(encode(frame).decode())


class NoSuchSocket(Socket):
    """Every address at which there is no socket."""

    async def connect(self) -> None:
        """Refuse as every socket does: accept, so that the close and its code arrive."""
        await self.accept("bearer" if "bearer" in self.scope["subprotocols"] else None)
        await self.close(NO_SUCH_CAMPAIGN)


class Pace:
    """When a socket is due to say what. Each question that is answered with yes sets the next time."""

    def __init__(self, state: dict[str, Any]) -> None:
        now = time.monotonic()
        self._shown = _progress(state)
        self._progress_at = now
        self._ping_at = now + PING_SECONDS
        self._rights_at = now + RIGHTS_SECONDS
        self._note_at = now

    def progress_is_due(self, state: dict[str, Any]) -> bool:
        """Say whether counts or status changed and the last were sent half a second ago."""
        now = time.monotonic()
        if _progress(state) == self._shown or now < self._progress_at:
            return False
        self._shown, self._progress_at = _progress(state), now + PROGRESS_SECONDS
        return True

    def rights_are_due(self) -> bool:
        """Say whether the viewer's rights were looked at RIGHTS_SECONDS ago."""
        now = time.monotonic()
        if now < self._rights_at:
            return False
        self._rights_at = now + RIGHTS_SECONDS
        return True

    def note_is_due(self) -> bool:
        """Say whether the audit was told a minute ago, or never, that this viewer reads."""
        now = time.monotonic()
        if now < self._note_at:
            return False
        self._note_at = now + audit.READS_NOTED_EVERY.total_seconds()
        return True

    def ping_is_due(self) -> bool:
        """Say whether the last ping was sent twenty seconds ago."""
        now = time.monotonic()
        if now < self._ping_at:
            return False
        self._ping_at = now + PING_SECONDS
        return True

    def seconds_left(self, state: dict[str, Any]) -> float:
        """Give how long there is nothing to say unless something changes."""
        next_at = min(self._ping_at, self._rights_at)
        if _progress(state) != self._shown:
            next_at = min(next_at, self._progress_at)
        return max(0.0, next_at - time.monotonic())


def _progress(state: dict[str, Any]) -> dict[str, Any]:
    """Give what changes while it runs: viewers hear of a pause, a stop and a widening as they do of counts."""
    return {name: state[name] for name in ("status", "waits_for", "ended_by", "released", "counts", "last_seq")}


def user_of_token(token: str, meta: Mapping[str, Any]) -> tuple[User | None, ApiToken | None]:
    """Give the owner, narrowed to what the token is for, and the token, whose use is noted."""
    try:
        found: tuple[User, ApiToken] = BearerAuthentication().authenticate_credentials(token.encode(errors="replace"))
    except AuthenticationFailed:
        return None, None
    found[1].note_use(meta)
    return found


async def _user_of_session(key: str | None) -> User | AnonymousUser:
    """Read the session anew: since the socket opened it may have ended, or its owner's password may have changed."""
    session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    user: User | AnonymousUser = await get_user({"session": session})
    return user if await database_sync_to_async(_holds)(key, user) else AnonymousUser()


def _holds(key: str | None, user: User | AnonymousUser) -> bool:
    """Say whether the session's time is not up, and its owner has the second factor he needs."""
    return sessions.holds(key) and not second_factor.is_missing(user)


def _count_opened(user: User, token: ApiToken | None) -> None:
    """Raise RefusedError when this person or token opened too many sockets within the minute."""
    try:
        count(limits_of(user, token, "socket"))
    except TooManyError as error:
        raise RefusedError(
            TOO_MANY, f"too many sockets opened: come again in {counted(error.wait, 'second')}"
        ) from error


def _limits_to_look_within(user: User, campaign_id: int) -> Limits:
    """Say within which limits a person may look at a campaign. Raise RefusedError.

    Django keeps rights, and `scopes` limits, on the object of the person: it is fetched anew for each look.
    """
    if not Campaign.objects.shows(campaign_id, user):
        raise RefusedError(NOT_ALLOWED)
    limits = scopes.limits_of(user)
    if limits and not Campaign.objects.visible_to(user).filter(pk=campaign_id).exists():
        raise RefusedError(NO_SUCH_CAMPAIGN)
    return limits
