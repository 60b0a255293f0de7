"""Recurring questions by the API and the pages."""

from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape

from agents.models import Label
from campaigns.models import Campaign, Query
from campaigns.people.roles import OPERATOR
from campaigns.people.scopes import Scope
from campaigns.recurring.models import Schedule, ScheduledRun
from fleet.audit.models import AuditEvent
from tests.factories import bearer, end, make_campaign, make_host, make_label, make_person, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]
RIGHTS = ("campaigns.add_campaign", "campaigns.view_campaign", "campaigns.view_query", "agents.view_host")
FORM = {"how": "every", "many": "2", "unit": "60", "zone": "UTC", "whom": "all", "timeout": "600", "runs_kept": "5"}


@pytest.fixture
def query(db: None) -> Query:
    return Query.objects.create(name="ports", sql="SELECT 1 AS port")


@pytest.fixture
def owner(db: None) -> User:
    return make_person(*RIGHTS)


def test_a_program_makes_changes_runs_and_deletes_a_schedule(owner: User, query: Query, client: Client) -> None:
    make_host()
    head, json = bearer(owner), "application/json"
    body = {"query": query.pk, "every": 90, "target": {"all": True}}

    made = client.post("/api/v1/schedules/", body, json, **head)
    address = f"/api/v1/schedules/{made.json()['id']}/"
    changed = client.patch(address, {"crontab": "0 8 * * *", "zone": "Europe/Berlin"}, json, **head).json()
    run, sent_again = (
        client.post(f"{address}run/", content_type=json, headers={"Idempotency-Key": "k"}, **head) for _ in range(2)
    )
    again = client.post(f"{address}run/", content_type=json, **head)
    off = client.post(f"{address}disable/", content_type=json, **head).json()
    on = client.post(f"{address}enable/", content_type=json, **head).json()
    runs = client.get(f"{address}runs/", **head).json()["results"]
    campaign = client.get(f"/api/v1/campaigns/{run.json()['campaign']}/", **head).json()
    mine = client.get(f"/api/v1/schedules/?query={query.pk}&enabled=true", **head).json()["count"]
    gone = client.delete(address, **head)

    assert (made.status_code, made.json()["when"]) == (201, "every 90 minutes")
    assert (changed["every"], changed["when"]) == (None, "At 08:00 every day, Europe/Berlin")
    assert (run.status_code, again.status_code) == (201, 409)
    assert (sent_again.status_code, sent_again.json()) == (200, run.json())
    assert (off["next_at"], off["enabled"], on["enabled"]) == (None, False, True)
    assert [(one["campaign"], one["changes"]) for one in runs] == [(campaign["id"], [])]
    assert campaign["schedule"] == made.json()["id"]
    assert (mine, gone.status_code) == (1, 204)
    subject = f"schedule {made.json()['id']}"
    actions = set(AuditEvent.objects.filter(subject=subject).values_list("action", flat=True))
    changes = {f"schedule.{what}" for what in ("made", "changed", "run", "disabled", "enabled", "deleted")}
    assert actions == {*changes, "results.read"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"every": 0}, "every 0"),
        ({"every": None}, "give either every"),
        ({"crontab": "x"}, "give either every"),
        ({"query": 10**9}, "query"),
        ({"target": {}}, "target"),
        ({"nonsense": 1}, "unknown member 'nonsense'"),
    ],
)
def test_what_is_wrong_is_named(
    owner: User, query: Query, client: Client, changes: dict[str, object], sentence: str
) -> None:
    body = {"query": query.pk, "every": 90, "target": {"all": True}, **changes}

    refused = client.post("/api/v1/schedules/", body, "application/json", **bearer(owner))

    assert refused.status_code == 400
    assert sentence in refused.json()["error"]


def test_a_token_for_less_than_its_owner_keeps_no_schedules(owner: User, query: Query, client: Client) -> None:
    owner.groups.add(Group.objects.get(name=OPERATOR))
    for wanted in ({"role": OPERATOR}, {"labels": [make_label("web")]}):
        refused = client.get("/api/v1/schedules/", **bearer(owner, **wanted))

        assert refused.status_code == 403
        assert "this token is for less" in refused.json()["error"]


def test_a_person_lets_a_query_run_by_a_form_in_plain_words(owner: User, query: Query, client: Client) -> None:
    make_label("web", make_host())
    client.force_login(owner)

    wrong = client.post(f"/queries/{query.pk}/schedules/new/", {**FORM, "zone": "Mars", "many": ""})
    made = client.post(f"/queries/{query.pk}/schedules/new/", FORM, follow=True).content.decode()
    schedule = Schedule.objects.get()
    changed = {**FORM, "how": "crontab", "crontab": "0 8 * * 1-5", "zone": "Europe/Berlin", "whom": "labels"}
    client.post(f"/schedules/{schedule.pk}/", {**changed, "labels": [str(Label.objects.get(name="web").pk)]})
    run = client.post(f"/schedules/{schedule.pk}/control/", {"to": "run"})

    assert wrong.status_code == 422
    assert "is no time zone" in wrong.content.decode()
    assert "Say how often" in wrong.content.decode()
    assert "every 2 hours" in made
    assert " UTC</time>" in made  # when it runs next, which the page writes by the clock that was chosen
    schedule.refresh_from_db()
    assert (schedule.every, schedule.crontab, schedule.target) == (None, "0 8 * * 1-5", {"labels": ["web"]})
    assert run["Location"] == f"/campaigns/{Campaign.objects.get().pk}/"
    assert "At 08:00 on Monday through Friday" in client.get(f"/queries/{query.pk}/").content.decode()
    client.post(f"/schedules/{schedule.pk}/control/", {"to": "delete"})
    assert not Schedule.objects.exists()


PLAIN = {"how": "weekly", "days": ["1", "3"], "weekly_at": "08:30", "daily_at": "09:00", "zone": "Europe/Berlin"}
CRON = {"how": "crontab", "zone": "UTC"}


@pytest.mark.parametrize(
    ("values", "kept", "said", "coming"),
    [
        ({"how": "every", "many": "15", "unit": "1"}, (15, ""), "every 15 minutes", "Sat 24 Oct 2026, 12:15 UTC"),
        ({"how": "every", "many": "2", "unit": "1440"}, (2880, ""), "every 2 days", "Mon 26 Oct 2026, 12:00 UTC"),
        ({**PLAIN, "how": "daily"}, (None, "0 9 * * *"), "at 09:00 every day in Europe/Berlin",
         "Sun 25 Oct 2026, 09:00 CET"),
        ({**PLAIN, "daily_at": "00:00", "how": "daily"}, (None, "0 0 * * *"), "at 00:00 every day in Europe/Berlin",
         "Sun 25 Oct 2026, 00:00 CEST"),
        (PLAIN, (None, "30 8 * * 1,3"), "at 08:30 on Monday and Wednesday in Europe/Berlin",
         "Mon 26 Oct 2026, 08:30 CET"),
        ({**PLAIN, "days": ["7"]}, (None, "30 8 * * 7"), "at 08:30 on Sunday in Europe/Berlin",
         "Sun 25 Oct 2026, 08:30 CET"),
        ({**CRON, "crontab": "0 8 1 * *"}, (None, "0 8 1 * *"), "on the first day of every month in UTC",
         "Sun 01 Nov 2026, 08:00 UTC"),
        ({**CRON, "crontab": "0 8 * * mon#1"}, (None, "0 8 * * mon#1"), "first Monday", "Mon 02 Nov 2026, 08:00 UTC"),
    ],
)  # fmt: skip
def test_what_is_chosen_in_words_is_said_back_kept_and_chosen_again(
    owner: User, query: Query, client: Client, values: dict[str, Any], kept: tuple[Any, str], said: str, coming: str
) -> None:
    form = {**FORM, **values}

    with time_machine.travel("2026-10-24T12:00:00Z", tick=False):
        client.force_login(owner)
        told = client.post("/schedules/times/", form).content.decode()
        client.post(f"/queries/{query.pk}/schedules/new/", form)
        schedule = Schedule.objects.get()
        page = client.get(f"/schedules/{schedule.pk}/").content.decode()

    assert said in told
    assert coming in told
    assert told.count("<li>") == 3
    assert (schedule.every, schedule.crontab) == kept
    assert f'value="{values["how"]}" checked' in page
    assert f'<option value="{form["zone"]}" selected>' in page


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"many": ""}, "Say how often."),
        ({"many": "0"}, "greater than or equal to 1"),
        ({"many": "500000", "unit": "1440"}, "is not a number of minutes from 1 to 527,040"),
        ({"how": "daily", "daily_at": ""}, "Say at what time."),
        ({"how": "daily", "daily_at": "25:00"}, "Give a time of day as 09:00."),
        ({"how": "weekly", "weekly_at": "09:00"}, "Choose one day or more."),
        ({"how": "weekly", "weekly_at": "09:00", "days": ["8"]}, "8 is not one of the available choices"),
        ({"how": "crontab", "crontab": ""}, "Say when."),
        ({"how": "crontab", "crontab": "0 8 31 2 *"}, "or never comes"),
        ({"how": "crontab", "crontab": "0 8 * *"}, "has 4 fields, expected are 5"),
        ({"zone": "Mars"}, "&#x27;Mars&#x27; is no time zone"),
        ({"how": "sometimes"}, "sometimes is not one of the available choices"),
    ],
)
def test_a_time_that_is_none_is_refused_where_it_is_said_and_when_it_is_kept(
    owner: User, query: Query, client: Client, values: dict[str, Any], sentence: str
) -> None:
    client.force_login(owner)

    told = client.post("/schedules/times/", {**FORM, **values})
    kept = client.post(f"/queries/{query.pk}/schedules/new/", {**FORM, **values})

    assert sentence in told.content.decode()
    assert "<li>" not in told.content.decode()
    assert (kept.status_code, Schedule.objects.count()) == (422, 0)
    assert kept.content.decode().count(sentence) == 1


def test_others_look_and_do_not_run_it(owner: User, query: Query, client: Client) -> None:
    schedule = Schedule.objects.create(query=query, owner=owner, every=60, target={"all": True}, sql=query.sql)
    colleague = make_person(*RIGHTS, "campaigns.view_schedule", "campaigns.change_campaign")
    client.force_login(colleague)

    page = client.get(f"/schedules/{schedule.pk}/").content.decode()
    client.post(f"/schedules/{schedule.pk}/control/", {"to": "run"})
    client.post(f"/schedules/{schedule.pk}/control/", {"to": "disable"})

    assert "Run now" not in page
    assert client.post(f"/schedules/{schedule.pk}/", FORM).status_code == 403
    assert not Campaign.objects.exists()
    schedule.refresh_from_db()
    assert not schedule.enabled


def test_an_owner_who_sees_less_by_now_is_told_no_values_of_hosts_beyond(
    owner: User, query: Query, client: Client
) -> None:
    inside, outside = make_host(), make_host()
    schedule = Schedule.objects.create(query=query, owner=owner, every=60, target={"all": True}, sql=query.sql)
    runs = [end(make_campaign(inside, outside, by=owner)) for _ in range(2)]
    small = end(make_campaign(inside, by=owner))
    ScheduledRun.objects.create(schedule=schedule, campaign=runs[0])
    for campaign, told in ((runs[1], "1 host newly gave port=4444"), (small, "1 host newly gave port=22")):
        ScheduledRun.objects.create(
            schedule=schedule, campaign=campaign, before=runs[0], compared_at=timezone.now(), changes=[told]
        )
    Campaign.objects.update(columns=["port"])
    address, page = f"/api/v1/schedules/{schedule.pk}/runs/", f"/schedules/{schedule.pk}/"

    client.force_login(owner)
    before = client.get(page).content.decode() + client.get(address, **bearer(owner)).content.decode()
    team = Group.objects.create(name="team")
    Scope.objects.create(group=team).labels.add(make_label("berlin", inside))
    owner.groups.add(team)
    shown = client.get(page).content.decode()
    with CaptureQueriesContext(connection) as asked:
        told = client.get(address, **bearer(owner)).json()["results"]

    assert before.count("port=4444") == 2
    assert "port=4444" not in shown
    assert "port=22" in shown
    assert "beyond your scope too" in shown
    assert [(one["changes"], one["partial"]) for one in told] == [
        (["1 host newly gave port=22"], False),
        ([], True),
        ([], True),
    ]
    assert not any("jsonb_array_elements" in one["sql"] for one in asked.captured_queries)


def test_a_query_that_runs_for_somebody_else_is_deleted_by_who_may_delete_its_schedules(
    owner: User, query: Query, client: Client
) -> None:
    make_host()
    head = bearer(owner)
    body = {"query": query.pk, "every": 90, "target": {"all": True}}
    number = client.post("/api/v1/schedules/", body, "application/json", **head).json()["id"]
    address, page = f"/api/v1/queries/{query.pk}/", f"/queries/{query.pk}/delete/"
    other = make_person("campaigns.view_query", "campaigns.delete_query")
    stopper = make_person("campaigns.view_query", "campaigns.delete_query", "campaigns.change_campaign")
    admin = make_user("chief", admin=True)

    refused = client.delete(address, **bearer(other))
    client.force_login(other)
    said = client.post(page, follow=True).content.decode()

    sentence = "query 'ports' is run by 1 schedule of others: who keeps it, or may stop campaigns of others, deletes it"
    assert (refused.status_code, refused.json()["error"]) == (409, f"{sentence} first")
    assert escape(f"Q{sentence[1:]} first.") in said
    assert Schedule.objects.filter(pk=number).exists()
    client.force_login(admin)
    asked = client.get(f"/admin/campaigns/query/{query.pk}/delete/").content.decode()
    assert "Are you sure" in asked
    assert client.delete(address, **bearer(stopper)).status_code == 204
    assert not Schedule.objects.exists()
    assert AuditEvent.objects.filter(action="schedule.deleted", subject=f"schedule {number}").exists()
