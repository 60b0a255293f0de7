"""Make what a test needs; every argument changes one field of something plausible."""

from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Permission, User
from django.utils import timezone

from agents.board.keyspace import NoBoardError
from agents.inventory import installation
from agents.models import EnrollSecret, Host, Label, LabelMembership, TableSchema, digest_of
from campaigns.launching.launch import Order, launch
from campaigns.models import Campaign, Result, Target
from campaigns.running.targeting import write_range
from campaigns.states import State, Status
from campaigns.tokens import ApiToken, Wanted

_numbers = count(1)


def make_host(**changes: Any) -> Host:
    """Give an enrolled Linux host."""
    return _admitted([Host.objects.create(**_facts(changes))])[0]


def make_hosts(many: int, **changes: Any) -> list[Host]:
    """Give several."""
    return _admitted(Host.objects.bulk_create(Host(**_facts(changes)) for _ in range(many)))


def _facts(changes: dict[str, Any]) -> dict[str, Any]:
    number = f"{next(_numbers):06}"  # so that hosts sort by their names as they were made, the tenth after the ninth
    return {"host_identifier": f"uuid-{number}", "hostname": f"host-{number}", "platform": "linux", **changes}


def _admitted(hosts: list[Host]) -> list[Host]:
    if hosts:
        with suppress(NoBoardError):  # tests without a board
            installation.admit(hosts)
    return hosts


def make_label(name: str, *hosts: Host) -> Label:
    """Give a label with these members."""
    label = Label.objects.create(name=name)
    LabelMembership.objects.bulk_create(LabelMembership(label=label, host=host) for host in hosts)
    return label


def usable_secret(secret: str) -> EnrollSecret | None:
    """Find the row of a secret that hosts can still enroll with; None when there is none."""
    return EnrollSecret.objects.filter(digest=digest_of(secret), revoked_at=None).first()


def learn(platform: str, *tables: str, version: str = "5.23.0") -> None:
    """Let it be known which tables a kind of host has, each with a name."""
    columns = {table: [["name", "TEXT", False]] for table in tables}
    TableSchema.objects.create(platform=platform, osquery_version=version, tables=columns, learned_at=timezone.now())


def make_user(name: str = "", *, admin: bool = False) -> User:
    """Give a user without any permission, or one with all."""
    name = name or f"user-{next(_numbers)}"
    return User.objects.create_superuser(name) if admin else User.objects.create_user(name)


def make_person(*permissions: str) -> User:
    """Give a user with exactly these permissions, written as `app.codename`."""
    user = make_user()
    for permission in permissions:
        app, _, codename = permission.partition(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return user


def bearer(user: User, **wanted: Any) -> dict[str, str]:
    """Give the header of a fresh token that is good for what is wanted, as Django's test client takes it."""
    return {"HTTP_AUTHORIZATION": f"Bearer {ApiToken.objects.make(user, Wanted(days=1, **wanted))[1]}"}


def make_campaign(*hosts: Host, by: User | None = None, **order: Any) -> Campaign:
    """Launch over these hosts and write the ranges, as the worker would; give the running campaign."""
    asked = {"sql": "SELECT 1", "target": {"hosts": [host.pk for host in hosts]}, "timeout": 60, **order}
    campaign = launch(Order(**asked), by or make_user(admin=True))
    for number in list(campaign.ranges.values_list("number", flat=True)):
        write_range(campaign.pk, number)
    campaign.refresh_from_db()
    return campaign


def answer(campaign: Campaign, host: Host, *rows: dict[str, str], state: State = State.ANSWERED, **more: Any) -> Result:
    """Store an answer as the collector leaves it; `more` are fields of the target."""
    campaign.last_seq += 1
    campaign.count_rows += len(rows)
    campaign.columns = list(dict.fromkeys([*campaign.columns, *(name for row in rows for name in row)]))
    campaign.move(State.WAITING, state)
    campaign.save_counts("last_seq", "columns")
    changes = {"state": state, "answered_at": timezone.now(), "row_count": len(rows), **more}
    Target.objects.filter(campaign=campaign, host=host).update(**changes)
    return Result.objects.create(
        campaign=campaign,
        host=host,
        hostname=host.hostname,
        seq=campaign.last_seq,
        state=state,
        rows=list(rows),
        row_count=len(rows),
        received_at=timezone.now(),
    )


def end(campaign: Campaign, ago: timedelta = timedelta(0)) -> Campaign:
    """Let the campaign have ended, as if its time had been up: every host that is still open was missed."""
    at = timezone.now() - ago
    for state in (State.WAITING, State.DELIVERED):
        open_ = Target.objects.filter(campaign=campaign, state=state).update(state=State.MISSED, ended_at=at)
        campaign.move(state, State.MISSED, open_)
    campaign.status, campaign.ended_at, campaign.closed_at = Status.EXPIRED, at, at
    campaign.closed_entry = "0-0"
    campaign.save_counts("status", "ended_at", "closed_at", "closed_entry")
    return campaign


def archive_in(place: Path, settings: Any) -> None:
    """Have answers archived in that folder."""
    options = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(place)}}
    settings.ARCHIVE_ANSWERS, settings.STORAGES = True, {**settings.STORAGES, "archive": options}
