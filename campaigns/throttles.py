"""How often a person, or a token, may ask the API and open sockets within a minute; counted in Redis for all processes.

Stands still while Redis is away: then nothing can be launched anyway. The demo's token is not throttled.
"""

import logging
import time
from typing import Any, NamedTuple

from django.conf import settings
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from agents.board import keyspace, redis_client
from fleet.errors import TooManyError

logger = logging.getLogger(__name__)

WINDOW = 60  # seconds


class Limit(NamedTuple):
    """Something that is counted within each minute, and how many are allowed; 0 = any number."""

    what: str
    counted_for: str  # kind and id, as in the key
    whose: str  # in words
    setting: str

    @property
    def most(self) -> int:
        """Give how many are allowed, as of now."""
        return int(getattr(settings, self.setting))


def limits_of(user: Any, token: Any, kind: str) -> list[Limit]:
    """Give what holds for a request or socket of this person, made with this token or none."""
    if token is not None and not token.is_throttled:
        return []
    what, prefix = ("requests to the API", "API_REQUESTS") if kind == "request" else ("sockets opened", "SOCKETS")
    person = Limit(what, f"{kind}:person:{user.pk}", user.get_username(), f"{prefix}_OF_PERSON_PER_MINUTE")
    if token is None:
        return [person]
    return [Limit(what, f"{kind}:token:{token.pk}", f"token {token}", f"{prefix}_OF_TOKEN_PER_MINUTE"), person]


def count(limits: list[Limit]) -> None:
    """Count one more. Raise TooManyError, which says which limit it is and when to come again."""
    limits = [limit for limit in limits if limit.most]
    if not limits:
        return
    now = int(time.time())
    pipe = redis_client.client().pipeline()
    for limit in limits:
        key = keyspace.throttle_key(limit.counted_for, now // WINDOW)
        pipe.incr(key).expire(key, WINDOW)
    try:
        counted = pipe.execute()[::2]
    except (RedisError, OSError) as error:
        logger.warning("requests not counted reason=%s", error)
        return
    for limit, many in zip(limits, counted, strict=True):
        if many > limit.most:
            wait = WINDOW - now % WINDOW
            sentence = f"{limit.what} of {limit.whose} within a minute: more than {limit.most} ({limit.setting})"
            raise TooManyError(f"{sentence}, come again in {wait} second{'s'[: wait != 1]}", wait)


class PerPersonAndToken(BaseThrottle):
    """What REST framework asks before each view of the API; who did not sign in is refused anyway."""

    def allow_request(self, request: Request, view: Any) -> bool:
        """Count a request. Raise TooManyError when there were too many within the minute."""
        if request.user is not None and request.user.is_authenticated:
            count(limits_of(request.user, request.auth, "request"))
        return True
