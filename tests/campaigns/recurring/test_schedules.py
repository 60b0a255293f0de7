"""Recurring questions: when they run, with whose rights, what is not doubled, what changed since the run before."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.models import Host
from campaigns.analysis import changes
from campaigns.answers import archive, sight
from campaigns.answers.results import timestamp
from campaigns.hooks import telling
from campaigns.hooks.models import Delivery, Event, Hook, HookEvent
from campaigns.launching import control, kill_switch
from campaigns.launching.models import ApprovalRule
from campaigns.models import Campaign, Query
from campaigns.people.scopes import Scope
from campaigns.recurring import keeping, running, times
from campaigns.recurring.models import Schedule, ScheduledRun
from campaigns.running.targeting import write_range
from campaigns.states import Status, WaitsFor
from fleet.audit.models import AuditEvent
from fleet.errors import BadInputError, ConflictError, ForbiddenError
from tests.factories import (
    answer,
    archive_in,
    end,
    make_campaign,
    make_host,
    make_hosts,
    make_label,
    make_person,
    make_user,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]
RIGHTS = ("campaigns.add_campaign", "campaigns.view_campaign", "campaigns.view_query", "agents.view_host")


@pytest.fixture(autouse=True)
def copies_folder(settings: Any, tmp_path: Path) -> None:
    settings.ANALYSIS_DIR = str(tmp_path / "analysis")


@pytest.fixture
def owner(db: None) -> User:
    return make_person(*RIGHTS)


@pytest.fixture
def make(owner: User) -> Callable[..., Schedule]:
    """Make schedules of a query, every hour over every host unless told otherwise."""
    query = Query.objects.create(name="ports", sql="SELECT 1 AS port")

    def made(by: User | None = None, **changes: Any) -> Schedule:
        return keeping.make(Schedule(**{"query": query, "every": 60, "target": {"all": True}, **changes}), by or owner)

    return made


def let_be_due(schedule: Schedule) -> None:
    Schedule.objects.filter(pk=schedule.pk).update(next_at=timezone.now())


def run(schedule: Schedule) -> Campaign:
    let_be_due(schedule)
    running.step()
    campaign = Campaign.objects.filter(schedule=schedule).order_by("-pk")[0]
    for number in list(campaign.ranges.values_list("number", flat=True)):
        write_range(campaign.pk, number)
    campaign.refresh_from_db()
    return campaign


def answered(schedule: Schedule, rows: dict[Host, list[dict[str, str]]]) -> Campaign:
    campaign = run(schedule)
    for host, given in rows.items():
        answer(campaign, host, *given)
    return end(campaign)


def ports(*numbers: int) -> list[dict[str, str]]:
    return [{"port": str(number)} for number in numbers]


# --- when ------------------------------------------------------------------------------------------------------


def test_each_run_is_a_campaign_with_the_run_before_as_its_parent_and_names_its_schedule(
    make: Callable[..., Schedule], owner: User
) -> None:
    make_host()
    schedule = make(timeout=90, rollout={"canary": {"count": 1}, "then": "ask"})

    first = end(run(schedule))
    second = run(schedule)

    assert (second.parent, second.schedule_id, second.created_by, second.timeout) == (first, schedule.pk, owner, 90)
    assert second.rollout == schedule.rollout
    assert second.query == schedule.query
    assert f"schedule {schedule.pk}: every hour" in second.reason
    schedule.refresh_from_db()
    assert schedule.next_at is not None
    assert timezone.now() < schedule.next_at <= timezone.now() + timedelta(hours=1)


def test_a_run_that_is_going_is_not_doubled_and_one_that_was_missed_is_not_made_up_for(
    make: Callable[..., Schedule],
) -> None:
    make_host()
    schedule = make()
    missed = timezone.now() - timedelta(minutes=6)
    Schedule.objects.update(next_at=missed, created_at=timezone.now() - timedelta(days=9))

    running.step()

    schedule.refresh_from_db()
    assert not Campaign.objects.exists()
    assert f"nothing ran at {timestamp(missed)}, its time" in schedule.last_problem
    assert schedule.next_at is not None
    assert schedule.next_at > timezone.now()
    Schedule.objects.update(next_at=timezone.now() - timedelta(minutes=4))
    running.step()
    running.step()
    let_be_due(schedule)
    running.step()

    assert Campaign.objects.count() == 1
    schedule.refresh_from_db()
    assert "was still going" in schedule.last_problem
    assert schedule.next_at is not None
    assert schedule.next_at > timezone.now()


@pytest.mark.parametrize(
    ("crontab", "zone", "now", "expected"),
    [
        ("0 8 * * 1-5", "Europe/Berlin", "2026-11-27T07:00:00", "2026-11-30T07:00:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00", "2026-03-29T01:00:00"),  # 02:30 is skipped that night
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00", "2026-10-25T00:30:00"),  # 02:30 comes twice that night
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00", "2026-10-26T01:30:00"),
        ("0 * * * *", "Europe/Berlin", "2026-10-25T00:00:00", "2026-10-25T01:00:00"),
        ("*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00", "2026-03-30T00:00:00"),  # as docs/schedules.md says
        ("*/30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00", "2026-10-25T01:00:00"),
        ("30 0 * * *", "America/Santiago", "2026-09-05T12:00:00", "2026-09-06T04:00:00"),  # midnight is skipped
        ("0 2 * * *", "Australia/Lord_Howe", "2026-10-03T02:00:00", "2026-10-03T15:30:00"),  # half an hour is
        ("0 0 1 1 *", "Asia/Tokyo", "2026-06-01T00:00:00", "2026-12-31T15:00:00"),
        ("*/15 * * * *", "UTC", "2026-06-01T00:00:00", "2026-06-01T00:15:00"),
    ],
)
def test_a_crontab_is_read_by_the_clock_of_its_zone(crontab: str, zone: str, now: str, expected: str) -> None:
    moment, wanted = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (now, expected))

    assert times.next_by_crontab(crontab, zone, moment) == wanted


@pytest.mark.parametrize(
    ("every", "words"), [(1, "every minute"), (90, "every 90 minutes"), (120, "every 2 hours"), (1440, "every day")]
)
def test_times_are_said_in_words(every: int, words: str) -> None:
    assert times.in_words(every, "", "UTC") == words
    assert times.in_words(None, "0 8 * * *", "Europe/Berlin") == "At 08:00 every day, Europe/Berlin"


def test_minutes_are_counted_from_the_beginning(make: Callable[..., Schedule]) -> None:
    with time_machine.travel("2026-11-28T08:00:10Z", tick=False):
        make_host()
        schedule = make(every=15)
    with time_machine.travel("2026-11-28T09:07:00Z", tick=False):
        running.step()
        schedule.refresh_from_db()

    assert schedule.next_at == datetime(2026, 11, 28, 9, 15, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"every": 0}, "every 0 is not a number of minutes"),
        ({"every": None}, "give either every"),
        ({"crontab": "0 8 * * *"}, "give either every"),
        ({"every": None, "crontab": "0 8 * *"}, "has 4 fields, expected are 5"),
        ({"every": None, "crontab": "61 8 * * *"}, "'61 8 \\* \\* \\*' is none"),
        ({"every": None, "crontab": "0 0 30 2 *"}, "is none, or never comes"),
        ({"zone": "Mars/Base"}, "zone 'Mars/Base' is unknown"),
        ({"runs_kept": 0}, "runs_kept 0"),
        ({"timeout": 1}, "timeout 1 is below"),
        ({"target": {"labels": ["nope"]}}, "nope"),
        ({"rollout": {"canary": {"count": 0}}}, "canary"),
    ],
)
def test_what_is_wrong_is_named(make: Callable[..., Schedule], changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInputError, match=sentence):
        make(**changed)

    assert not Schedule.objects.exists()


def test_it_runs_at_once_when_its_owner_says_so_and_never_when_it_is_disabled(
    make: Callable[..., Schedule], owner: User
) -> None:
    make_host()
    schedule = make()

    campaign = running.run_now(schedule, owner)
    with pytest.raises(ConflictError, match=f"campaign {campaign.pk}"):
        running.run_now(schedule, owner)
    with pytest.raises(ForbiddenError, match="rights of"):
        running.run_now(schedule, make_person(*RIGHTS))
    keeping.disable(schedule, owner)
    end(campaign)
    Schedule.objects.update(next_at=timezone.now())
    running.step()

    assert Campaign.objects.count() == 1
    assert keeping.enable(schedule, owner).next_at is not None


# --- whose rights ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["deactivated", "right", "scope", "emptied scope", "other SQL"])
def test_a_schedule_whose_owner_may_no_more_stops_and_says_so(
    make: Callable[..., Schedule], owner: User, loss: str
) -> None:
    inside, outside = make_host(), make_host()
    schedule = make(target={"hosts": [outside.pk]})
    if loss == "deactivated":
        User.objects.filter(pk=owner.pk).update(is_active=False)
    elif loss == "right":
        owner.user_permissions.set(Permission.objects.filter(codename="view_campaign"))
    elif loss == "other SQL":
        Query.objects.update(sql="SELECT 2 AS port")
    else:
        team = Group.objects.create(name="team")
        Scope.objects.create(group=team)
        if loss == "scope":
            team.scope.labels.add(make_label("berlin", inside))
        owner.groups.add(team)

    let_be_due(schedule)
    running.step()

    schedule.refresh_from_db()
    assert not Campaign.objects.exists()
    assert (schedule.enabled, schedule.next_at) == (False, None)
    assert owner.username in schedule.stopped_reason
    assert AuditEvent.objects.filter(action="schedule.stopped", subject=f"schedule {schedule.pk}").exists()
    if loss == "other SQL":
        assert keeping.enable(schedule, owner).enabled


def test_what_goes_with_a_person_who_is_deleted_is_in_the_audit(make: Callable[..., Schedule], owner: User) -> None:
    schedule, others = make(), make(make_person(*RIGHTS))
    hook = Hook.objects.create(name="pager", address="https://pager.example/", owner=owner, events=[])

    User.objects.filter(pk=owner.pk).delete()

    assert list(Schedule.objects.all()) == [others]
    lines = AuditEvent.objects.filter(action__in=["schedule.deleted", "hook.deleted"]).order_by("action")
    reason = f"its owner {owner.get_username()} is deleted"
    assert [(line.subject, line.details["reason"]) for line in lines] == [
        (f"hook {hook.pk}", reason),
        (f"schedule {schedule.pk}", reason),
    ]


@pytest.mark.parametrize("loss", ["deactivated", "right", "other SQL"])
def test_a_schedule_without_rights_stops_long_before_its_next_time(
    make: Callable[..., Schedule], owner: User, loss: str
) -> None:
    yearly, others = make(every=None, crontab="0 0 1 1 *"), make(make_person(*RIGHTS))
    if loss == "deactivated":
        User.objects.filter(pk=owner.pk).update(is_active=False)
    elif loss == "right":
        owner.user_permissions.set(Permission.objects.filter(codename="view_campaign"))
    else:
        yearly.query = Query.objects.create(name="other", sql="SELECT 1")
        yearly.save()

    running.stop_without_right()
    running.stop_without_right()

    yearly.refresh_from_db(), others.refresh_from_db()
    assert (yearly.enabled, yearly.next_at, others.enabled) == (False, None, True)
    assert owner.username in yearly.stopped_reason
    assert AuditEvent.objects.filter(action="schedule.stopped").count() == 1


def test_looking_at_rights_costs_as_much_however_many_schedules_a_person_has(make: Callable[..., Schedule]) -> None:
    counts = []
    for many in (1, 5):
        for _ in range(many):
            make()
        with CaptureQueriesContext(connection) as asked:
            running.stop_without_right()
        counts.append(len(asked))

    assert counts[0] == counts[1]


@pytest.mark.parametrize("values", [{"runs_kept": 7}, {"enabled": True}, {"query": None}])
def test_sql_that_somebody_else_changed_is_accepted_by_a_word_and_not_by_any_change(
    make: Callable[..., Schedule], owner: User, values: dict[str, Any]
) -> None:
    make_host()
    schedule = make()
    Query.objects.update(sql="SELECT 2 AS port")
    schedule.query.refresh_from_db()
    with pytest.raises(ConflictError, match="was changed since"):
        running.run_now(schedule, owner)
    let_be_due(schedule)
    running.step()
    Schedule.objects.update(last_problem="campaign 1 was still going")

    changed = keeping.change(schedule, {**values, **({"query": schedule.query} if "query" in values else {})}, owner)

    accepted = "runs_kept" not in values
    assert (changed.sql == "SELECT 2 AS port", changed.stopped_reason == "") == (accepted, accepted)
    assert (changed.last_problem == "") == accepted
    if accepted:
        assert running.run_now(schedule, owner).sql == "SELECT 2 AS port"
    else:
        with pytest.raises(ConflictError, match="was changed since"):
            running.run_now(schedule, owner)
        assert not Campaign.objects.exists()


def test_what_holds_a_launch_holds_a_run(make: Callable[..., Schedule], owner: User, settings: Any) -> None:
    make_host()
    schedule = make()
    boss = make_user(admin=True)
    kill_switch.turn(boss, "tests", on=False)
    let_be_due(schedule)
    running.step()
    switched_off = Schedule.objects.get().last_problem
    kill_switch.turn(boss, "", on=True)
    ApprovalRule.objects.create(hosts_above=0)
    waiting = run(schedule)
    control.stop(waiting.pk, "test", "")
    ApprovalRule.objects.all().delete()
    settings.OPEN_CAMPAIGNS_PER_PERSON = 1
    other = make_campaign(make_host(), by=owner)
    let_be_due(schedule)
    running.step()

    assert "off" in switched_off
    assert waiting.waits_for == WaitsFor.APPROVAL
    assert list(Campaign.objects.filter(schedule=schedule)) == [waiting]
    assert "open" in Schedule.objects.get().last_problem
    assert other.status == Status.RUNNING


# --- what changed ----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_what_changed_since_the_run_before_is_a_sentence_and_an_event(
    make: Callable[..., Schedule], owner: User
) -> None:
    hosts = make_hosts(4)
    away = make_host()
    schedule = make()
    owner.user_permissions.add(Permission.objects.get(codename="add_hook"))
    hook = Hook.objects.create(owner=User.objects.get(pk=owner.pk), name="x", address="https://192.0.2.1/", secret="a")

    first = answered(schedule, {host: ports(22, 80) for host in hosts} | {away: ports(22)})
    running.compare_ended()
    same = answered(schedule, {host: ports(80, 22) for host in hosts})
    running.compare_ended()
    second = answered(schedule, {host: ports(22, 4444) for host in hosts[:3]} | {hosts[3]: ports(22, 80)})
    HookEvent.objects.all().delete()
    running.compare_ended()

    runs = {one.campaign_id: one for one in ScheduledRun.objects.all()}
    assert (runs[first.pk].before, runs[first.pk].changes) == (None, [])
    assert (runs[same.pk].before_id, runs[same.pk].changes) == (first.pk, [])
    told = ["3 hosts newly gave port=4444", "3 hosts no longer gave port=80"]
    assert (runs[second.pk].before_id, runs[second.pk].changes) == (same.pk, told)
    event = HookEvent.objects.get()
    assert (event.kind, event.campaign_id, event.facts["changes"]) == (Event.CHANGED, second.pk, told)
    telling.spread()
    data = json.loads(Delivery.objects.get(hook=hook).body)["data"]
    assert (data["before"], data["changes"], data["campaign"]["schedule"]) == (same.pk, told, schedule.pk)
    assert "3 hosts newly gave port=4444" in data["sentence"]


@pytest.mark.django_db(transaction=True)
def test_what_a_host_sent_is_one_line_of_a_sentence(make: Callable[..., Schedule], owner: User) -> None:
    host, schedule = make_host(), make()
    owner.user_permissions.add(Permission.objects.get(codename="add_hook"))
    hook = Hook.objects.create(owner=User.objects.get(pk=owner.pk), name="x", address="https://192.0.2.1/", secret="a")
    odd = {"port\u202e": "22\nAll is well:\thttps://192.0.2.2/", "n" * 200: "\x1b[2J"}

    answered(schedule, {host: [{"port": "22"}]})
    running.compare_ended()
    second = answered(schedule, {host: [{"port": "22", **odd}]})
    Campaign.objects.filter(pk=second.pk).update(name="a\nb")
    HookEvent.objects.all().delete()
    running.compare_ended()
    telling.spread()

    told = ScheduledRun.objects.get(campaign=second).changes
    assert "1 host newly gave port⟨U+202E⟩=22\\x0aAll is well:\\x09https://192.0.2.2/" in told
    assert f"1 host newly gave {'n' * 120}…=\\x1b[2J" in told
    delivery = Delivery.objects.get(hook=hook)
    sentence, link = delivery.text.split("\n")
    assert all(one.isprintable() for one in (sentence, link, json.loads(delivery.body)["data"]["sentence"]))


@pytest.mark.django_db(transaction=True)
def test_columns_that_differ_on_every_host_by_themselves_are_no_change_and_moved_pairs_are(operator: User) -> None:
    hosts = make_hosts(6)
    before, noisy, moved = (make_campaign(*hosts) for _ in range(3))
    for place, host in enumerate(hosts):
        answer(
            before, host, {"pid": str(100 + place), "name": "a", "port": "1"}, {"pid": "1", "name": "b", "port": "2"}
        )
        answer(noisy, host, {"pid": str(200 + place), "name": "a", "port": "1"}, {"pid": "1", "name": "b", "port": "2"})
        answer(moved, host, {"pid": str(100 + place), "name": "b", "port": "1"}, {"pid": "1", "name": "a", "port": "2"})

    assert changes.sentences(noisy, before, operator, sight.seen_by) == []
    told = changes.sentences(moved, before, operator, sight.seen_by)
    assert "6 hosts newly gave pid=1, name=a, port=2" in told


@pytest.mark.django_db(transaction=True)
def test_two_who_compare_at_once_compare_once_and_deleting_does_not_wait_for_them(
    make: Callable[..., Schedule], owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_host()
    schedule = make()
    answered(schedule, {host: ports(22)})
    running.compare_ended()
    answered(schedule, {host: ports(80)})
    compared: list[int] = []
    begun, deleted = threading.Event(), threading.Event()

    def slowly(now: Campaign, *_: Any) -> list[str]:
        compared.append(now.pk)
        begun.set()
        assert deleted.wait(30)
        return ["told"]

    def elsewhere() -> None:
        running.compare_ended()
        connection.close()

    monkeypatch.setattr(changes, "sentences", slowly)
    first = threading.Thread(target=elsewhere)
    first.start()
    assert begun.wait(30)
    running.compare_ended()
    keeping.drop(schedule, owner)
    deleted.set()
    first.join()

    assert len(compared) == 1
    assert ScheduledRun.objects.get(campaign=compared[0]).changes == ["told"]


def test_schedules_that_keep_their_runs_cost_nothing(make: Callable[..., Schedule]) -> None:
    make(), make()

    with CaptureQueriesContext(connection) as asked:
        running.let_go()

    assert len(asked) == 1


def test_runs_beyond_those_that_are_kept_go_when_they_get_no_late_answers_any_more(
    make: Callable[..., Schedule],
) -> None:
    make_host()
    schedule = make(runs_kept=1)
    campaigns = [end(run(schedule), ago=timedelta(days=number)) for number in (3, 2, 0)]
    Campaign.objects.filter(pk=campaigns[1].pk).update(pinned=True)

    running.let_go()

    assert list(Campaign.objects.order_by("pk").values_list("pk", flat=True)) == [campaigns[1].pk, campaigns[2].pk]


def test_runs_beyond_those_that_are_kept_stay_until_they_are_in_the_archive(
    make: Callable[..., Schedule], settings: Any, tmp_path: Path
) -> None:
    archive_in(tmp_path / "kept", settings)
    host = make_host()
    schedule = make(runs_kept=1)
    campaigns = []
    for days in (3, 2):
        campaign = run(schedule)
        answer(campaign, host, {"port": str(days)})
        campaigns.append(end(campaign, ago=timedelta(days=days)))
    old, last = (campaign.pk for campaign in campaigns)

    running.let_go()
    before = set(Campaign.objects.values_list("pk", flat=True))
    archive.archive()
    running.let_go()

    assert before == {old, last}
    assert set(Campaign.objects.values_list("pk", flat=True)) == {last}
    assert len(list(tmp_path.rglob(f"campaign-{old}-*.parquet"))) == 1
