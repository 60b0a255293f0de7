"""Where people are signed in: each session with its browser and address, how long it lasts, and how it ends.

The rows are django-allauth's, one for each session of Django's. A session ends by itself after SESSION_IDLE_MINUTES
without its owner, and after SESSION_HOURS whatever he does. What pages ask by themselves is not its owner.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.db.models import Q, QuerySet
from django.utils import timezone

SEEN_EVERY = timedelta(minutes=1)
MOST_AGENT = 200  # letters of what a browser calls itself
UNKNOWN = "0.0.0.0"  # noqa: S104 - stands for an address that the server was not told


def begin(session: SessionBase, user: User, address: str, browser: str) -> UserSession:
    """Give the row of this session, made now when it is new."""
    facts = {"user": user, "ip": address.partition("%")[0] or UNKNOWN, "user_agent": browser[:MOST_AGENT]}
    found, _ = UserSession.objects.get_or_create(session_key=session.session_key, defaults=facts)
    return found


def look_after(row: UserSession, address: str, *, by_person: bool) -> bool:
    """Say whether the session still holds, and note when and from where its owner used it, once a minute."""
    now = timezone.now()
    if is_over(row, now):
        return False
    if by_person and now - row.last_seen_at >= SEEN_EVERY:
        UserSession.objects.filter(pk=row.pk).update(last_seen_at=now, ip=address.partition("%")[0] or UNKNOWN)
    return True


def is_over(row: UserSession, now: datetime) -> bool:
    """Say whether its time is up, by its owner's silence or by its age."""
    idle, age = _limits()
    return bool((idle and now - row.last_seen_at > idle) or (age and now - row.created_at > age))


def _limits() -> tuple[timedelta | None, timedelta | None]:
    idle, age = settings.SESSION_IDLE_MINUTES, settings.SESSION_HOURS
    return timedelta(minutes=idle) if idle else None, timedelta(hours=age) if age else None


def holds(session_key: str | None) -> bool:
    """Say whether the time of a session is not up; for sockets, which ask again while they are open."""
    row = UserSession.objects.filter(session_key=session_key).first() if session_key else None
    return row is None or not is_over(row, timezone.now())


def of(user: User) -> list[UserSession]:
    """Give where a person is signed in, latest first."""
    forget(user)
    return list(_living(user).order_by("-last_seen_at"))


def forget(user: User) -> None:
    """Forget those sessions of a person that open nothing any more: logged out, or begun with a password before."""
    keys = set(UserSession.objects.filter(user=user).values_list("session_key", flat=True))
    kept = Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
    proofs = {user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()}
    gone = keys - {session.session_key for session in kept if _opens(session.get_decoded(), user, proofs)}
    if gone:
        UserSession.objects.filter(user=user, session_key__in=gone).delete()


def _opens(kept: dict[str, Any], user: User, proofs: Collection[str]) -> bool:
    """Say whether what is kept of a session is of this person, and of his password as it is, as Django looks at it."""
    return kept.get(SESSION_KEY) == str(user.pk) and kept.get(HASH_SESSION_KEY) in proofs


def _living(user: User) -> QuerySet[UserSession]:
    rows: QuerySet[UserSession] = UserSession.objects.filter(user=user).exclude(_over_by(timezone.now()))
    return rows


def _over_by(now: datetime) -> Q:
    idle, age = _limits()
    over = Q(pk__in=[])
    if idle:
        over |= Q(last_seen_at__lt=now - idle)
    return over | Q(created_at__lt=now - age) if age else over


def end(rows: Iterable[UserSession]) -> int:
    """End sessions at once; give how many there were."""
    keys = [row.session_key for row in rows]
    Session.objects.filter(session_key__in=keys).delete()
    ended: int = UserSession.objects.filter(session_key__in=keys).delete()[0]
    return ended


def end_all(user: User, but: str | None = None) -> int:
    """Sign a person out everywhere, or everywhere else than in the session `but`; give how often."""
    return end(UserSession.objects.filter(user=user).exclude(session_key=but or ""))


def sweep() -> int:
    """End for good what is over, and what belongs to who was deactivated, by whatever way; give how many."""
    now = timezone.now()
    Session.objects.filter(expire_date__lt=now).delete()
    UserSession.objects.exclude(session_key__in=Session.objects.values("session_key")).delete()
    return end(UserSession.objects.filter(_over_by(now) | Q(user__is_active=False)))
