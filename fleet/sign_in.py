"""Signing in with a password: wrong ones are counted by name and address, and few are checked at once.

An authentication backend, so that it stands at every door that takes passwords: the console's and the admin's.

Why not django-axes: it has one limit for names, addresses and pairs alike, and writes a row of PostgreSQL for whatever
a stranger types. Here a name is locked at an address after few wrong passwords, but for everybody only after many, and
never where its owner signed in lately: otherwise who knows a name could keep its owner out. The counts lie in Redis;
while it is away nothing is counted, and the bound on checks at once remains.
"""

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from redis.exceptions import RedisError

from agents.board import keyspace, redis_client
from campaigns.people import lockouts
from campaigns.tokens import ApiToken
from fleet import audit
from fleet.addresses import address_of, network_of
from fleet.counting import counted
from fleet.middleware import RETRY_AFTER

logger = logging.getLogger(__name__)

WAITING_AT_ONCE = 8  # for their turn; each holds a thread
WAIT_SECONDS = 5.0
KNOWN_SECONDS = 30 * 86_400


class TooManyTriesError(ValidationError):
    """The password is not looked at. Forms show the sentence; `fleet.middleware` makes the answer a 429."""

    def __init__(self, sentence: str, wait: int) -> None:
        super().__init__(sentence, code="too_many")
        self.wait = wait  # seconds


class Turnstile:
    """Lets so many checks in at once; a few more wait for their turn, the rest is to come again."""

    def __init__(self, at_once: int) -> None:
        self._checking = threading.BoundedSemaphore(at_once)
        self._places = threading.BoundedSemaphore(at_once + WAITING_AT_ONCE)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn. Raise TooManyTriesError."""
        if not self._places.acquire(blocking=False):
            raise _busy()
        try:
            if not self._checking.acquire(timeout=WAIT_SECONDS):
                raise _busy()
            try:
                yield
            finally:
                self._checking.release()
        finally:
            self._places.release()


def _busy() -> TooManyTriesError:
    return TooManyTriesError("Too many people sign in at this moment: try again in a few seconds.", 5)


_turnstile = Turnstile(settings.PASSWORD_CHECKS_AT_ONCE)


class PasswordBackend(ModelBackend):
    """Django's own, behind the counts and the turnstile."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **more: Any
    ) -> Any:
        """Give who it is, or None. Raise TooManyTriesError."""
        if username is None or password is None or not settings.LOCAL_PASSWORDS:
            return None
        tries = Tries(username, address_of(request.META) if request is not None else "")
        with refusal_noted(request):
            tries.check()
            with _turnstile.turn():
                before = User.objects.filter(username=username).values_list("password", flat=True).first()
                user = super().authenticate(request, username, password, **more)
        if user is None:
            tries.count()
            audit.note("sign_in.failed", request=request, who=username)
            return None
        tries.forget()
        ApiToken.objects.follow_rehash(user, before or "")
        return user


@contextmanager
def refusal_noted(request: HttpRequest | None) -> Iterator[None]:
    """Let the answer say when to come again, where a password or code is not looked at."""
    try:
        yield
    except TooManyTriesError as refusal:
        if request is not None:
            request.META[RETRY_AFTER] = str(refusal.wait)
        raise


class Tries:
    """The wrong passwords, or codes, of one name at one address."""

    def __init__(self, name: str, address: str, what: str = "passwords") -> None:
        self._name, self._address, self._what = name, address, what
        keys, limits = lockouts.keys_of(name, address), lockouts.limits()
        self._known = keyspace.sign_in_key("known", lockouts.digest_of(name), network_of(address))
        self._pair = keys[lockouts.PAIR]
        self._limits = {key: limits[kind] for kind, key in keys.items()}

    def check(self) -> None:
        """Raise TooManyTriesError when the name, the address, or the name at the address is locked."""
        try:
            key, wait = self._locked_by()
        except (RedisError, OSError) as error:
            logger.warning("wrong passwords not counted reason=%s", error)
            return
        if key:
            logger.warning("sign-in refused: locked name=%r address=%s by=%s", self._name[:150], self._address, key)
            minutes = math.ceil(wait / 60)
            raise TooManyTriesError(
                f"Too many wrong {self._what}: try again in {counted(minutes, 'minute')}.", minutes * 60
            )

    def _locked_by(self) -> tuple[str, int]:
        """Give the key of what locks, "" = nothing does, and for how many seconds."""
        *counts, known = cast(list[bytes | None], redis_client.client().mget([*self._limits, self._known]))
        for key, count in zip(self._limits, counts, strict=True):
            if int(count or 0) >= self._limits[key] and not (known and key != self._pair):
                return key, lockouts.seconds_left(key)
        return "", 0

    def count(self) -> None:
        """Count a wrong one; the last that is allowed begins the lock."""
        seconds = settings.SIGN_IN_LOCK_MINUTES * 60
        pipe = redis_client.client().pipeline()
        for key in self._limits:
            pipe.set(key, 0, ex=seconds, nx=True).incr(key)
        try:
            done = pipe.execute()
        except (RedisError, OSError) as error:
            logger.warning("wrong password not counted reason=%s", error)
            return
        times = [int(value) for value in done[1::2]]
        logger.warning("wrong password name=%r address=%s times=%s", self._name[:150], self._address, times[0])
        self._lock([key for key, many in zip(self._limits, times, strict=True) if many == self._limits[key]], seconds)

    def _lock(self, keys: list[str], seconds: int) -> None:
        for key in keys:
            redis_client.client().expire(key, seconds)
            logger.warning("locked name=%r address=%s key=%s seconds=%s", self._name[:150], self._address, key, seconds)
            what = key.split(":")[1]  # the name at the address, the name, or the address
            audit.note("sign_in.locked", who=self._name, what=what, seconds=seconds)

    def forget(self) -> None:
        """Begin anew for this name at this address, and know them together: the password was right."""
        try:
            redis_client.client().pipeline().delete(self._pair).set(self._known, 1, ex=KNOWN_SECONDS).execute()
        except (RedisError, OSError) as error:
            logger.warning("sign-in not remembered reason=%s", error)
        logger.info("signed in name=%r address=%s", self._name[:150], self._address)
