"""How campaigns go away, what holds them, and what stays of them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from agents.board import clock, keyspace, operator_verbs, redis_client
from agents.models import Host
from campaigns.answers import audit, retention
from campaigns.answers.models import AuditRecord
from campaigns.collecting.models import DeadLetter
from campaigns.launching import launch
from campaigns.models import Campaign, IdempotencyKey, Result, Target
from campaigns.states import State, Status
from tests.conftest import Agent
from tests.factories import answer, end, make_campaign, make_host, make_hosts, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Api = Callable[[User | None], APIClient]
LONG_AGO = timedelta(days=400)


def ended(*hosts: Host, ago: timedelta = LONG_AGO, **order: Any) -> Campaign:
    """Give a campaign that one host answered and the others missed."""
    campaign = make_campaign(*hosts, **order)
    answer(campaign, hosts[0], {"a": "1"})
    return end(campaign, ago)


def rows_left() -> tuple[int, int]:
    return Target.objects.count(), Result.objects.count()


# --- deleting --------------------------------------------------------------------------------------------------


def test_only_what_ended_long_enough_ago_can_be_deleted(api: Api) -> None:
    hosts = make_hosts(2)
    running, fresh, settled = make_campaign(*hosts), ended(*hosts, ago=timedelta(minutes=59)), ended(*hosts)
    admin = api(make_user(admin=True))

    answers = [admin.delete(f"/api/v1/campaigns/{campaign.pk}/") for campaign in (running, fresh, settled)]

    assert [answer.status_code for answer in answers] == [409, 409, 204]
    assert "is running: only what has ended can be deleted" in answers[0].json()["error"]
    assert "takes late answers until" in answers[1].json()["error"]
    assert admin.get(f"/api/v1/campaigns/{settled.pk}/").status_code == 404
    assert operator_verbs.known() == {running.pk, fresh.pk}
    assert rows_left() == (4, 1)


def test_who_lacks_the_permission_deletes_no_campaign(api: Api, operator: User, observer: User, stranger: User) -> None:
    campaign = ended(make_host())

    people = (operator, observer, stranger, None)
    told = [api(who).delete(f"/api/v1/campaigns/{campaign.pk}/").status_code for who in people]

    assert told == [403, 403, 403, 401]
    assert Campaign.objects.filter(pk=campaign.pk).exists()


def test_an_answer_that_comes_after_the_deletion_is_dropped(
    api: Api, agent: Callable[[Host], Agent], collect: Callable[[], int]
) -> None:
    host, other = make_hosts(2)
    campaign = make_campaign(host, other)
    agent(host).read()
    collect()
    campaign.refresh_from_db()
    end(campaign, LONG_AGO)

    retention.delete(campaign.pk, "somebody")

    assert agent(host).write(campaign.pk, [{"a": "1"}]) == {}
    assert collect() == 0
    assert not DeadLetter.objects.exists()


def test_nothing_is_deleted_while_answers_wait_to_be_stored(api: Api) -> None:
    campaign = ended(make_host())
    redis_client.client().xadd(keyspace.STREAM, {"k": "a", "c": campaign.pk, "h": 1})

    refused = api(make_user(admin=True)).delete(f"/api/v1/campaigns/{campaign.pk}/")

    assert refused.status_code == 409
    assert "until the answers that were sent are stored" in refused.json()["error"]
    assert operator_verbs.known() == {campaign.pk}, "its answers are still taken"


def test_without_the_board_nothing_is_deleted(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = ended(make_host())

    def away(_: int) -> None:
        raise ConnectionRefusedError("nobody listens")

    monkeypatch.setattr(operator_verbs, "forget", away)

    refused = api(make_user(admin=True)).delete(f"/api/v1/campaigns/{campaign.pk}/")

    assert refused.status_code == 503
    assert "the board does not answer" in refused.json()["error"]
    assert Campaign.objects.filter(pk=campaign.pk).exists()
    assert AuditRecord.objects.get().stage == AuditRecord.Stage.OPEN


# --- age -------------------------------------------------------------------------------------------------------


def test_old_campaigns_go_and_pinned_ones_stay(settings: Any) -> None:
    settings.CAMPAIGN_RETENTION_DAYS = 30
    hosts = make_hosts(2)
    old, young, pinned, running = (
        ended(*hosts),
        ended(*hosts, ago=timedelta(days=29)),
        ended(*hosts),
        make_campaign(*hosts),
    )
    Campaign.objects.filter(pk=pinned.pk).update(pinned=True)

    retention.purge()
    retention.purge()

    assert set(Campaign.objects.values_list("pk", flat=True)) == {young.pk, pinned.pk, running.pk}
    assert rows_left() == (6, 2)
    assert AuditRecord.objects.get(campaign_id=old.pk).deleted_by == "retention of 30 days"


def test_a_worker_whose_clock_jumped_deletes_nothing(settings: Any) -> None:
    settings.CAMPAIGN_RETENTION_DAYS = 30
    ended(make_host(), ago=timedelta(days=1))

    with time_machine.travel(timezone.now() + timedelta(days=400)):
        retention.purge()

    assert Campaign.objects.exists()


def test_without_a_retention_nothing_goes(settings: Any) -> None:
    settings.CAMPAIGN_RETENTION_DAYS = 0
    ended(make_host())

    retention.purge()

    assert Campaign.objects.exists()


def test_rows_go_in_slices_and_a_later_run_goes_on(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "FIRST_SLICE", 2)
    monkeypatch.setattr(retention, "MOST_SLICE", 2)
    monkeypatch.setattr(retention, "SECONDS", 0.0)
    campaign = ended(*make_hosts(5))

    retention.delete(campaign.pk, "somebody")
    left = [rows_left()]
    for _ in range(4):
        retention.purge()
        left.append(rows_left())

    assert left == [(5, 0), (3, 0), (1, 0), (0, 0), (0, 0)]
    assert AuditRecord.objects.get().stage == AuditRecord.Stage.DELETED


def test_what_goes_by_age_alone_goes_in_slices(settings: Any, monkeypatch: pytest.MonkeyPatch, operator: User) -> None:
    settings.CAMPAIGN_RETENTION_DAYS = 30
    monkeypatch.setattr(retention, "OLD_ROWS", 2)
    monkeypatch.setattr(retention, "SECONDS", 0.0)
    campaign = make_campaign(make_host())
    for number in range(4):
        IdempotencyKey.objects.create(user=operator, key=str(number), body_digest="d", campaign=campaign)
        DeadLetter.objects.create(stream="s", entry=f"1-{number}", reason="broken", fields=b"{}")
    IdempotencyKey.objects.exclude(key="3").update(created_at=timezone.now() - timedelta(hours=25))
    DeadLetter.objects.exclude(entry="1-3").update(created_at=timezone.now() - timedelta(days=31))

    left = []
    for _ in range(3):
        retention.purge()
        left.append((IdempotencyKey.objects.count(), DeadLetter.objects.count()))

    assert left == [(2, 2), (1, 1), (1, 1)]
    assert IdempotencyKey.objects.get().key == "3"
    assert DeadLetter.objects.get().entry == "1-3"


def test_dead_letters_of_a_campaign_go_with_its_rows() -> None:
    campaign = ended(make_host())
    for number, campaign_id in enumerate((campaign.pk, None)):
        letter = {"entry": f"1-{number}", "campaign_id": campaign_id}
        DeadLetter.objects.create(stream="s", reason="broken", fields=b"{}", **letter)

    retention.delete(campaign.pk, "somebody")

    assert DeadLetter.objects.get().campaign_id is None


def test_a_purge_waits_for_no_row_of_others(settings: Any) -> None:
    gone, other = ended(make_host()), make_campaign(make_host())
    elsewhere = connection.copy()
    try:
        elsewhere.set_autocommit(False)
        with elsewhere.cursor() as cursor:
            cursor.execute("UPDATE campaigns_target SET late = late WHERE campaign_id = %s", [other.pk])
        retention.delete(gone.pk, "somebody")
        assert rows_left() == (1, 0)
    finally:
        elsewhere.rollback()
        elsewhere.close()


# --- what stays ------------------------------------------------------------------------------------------------


def test_a_launch_is_on_record_before_anybody_is_asked(operator: User) -> None:
    host = make_host()
    target = {"hosts": [host.pk]}

    campaign = launch.launch(launch.Order("SELECT 1", target, reason="ticket 7"), operator)

    record = AuditRecord.objects.get()
    assert (record.campaign_id, record.launched_by, record.sql) == (campaign.pk, "operator", "SELECT 1")
    assert (record.target, record.reason, record.status) == (target, "ticket 7", Status.TARGETING)


def test_the_record_outlives_the_rows_and_the_person(operator: User) -> None:
    hosts = [make_host(pk=1000 + number) for number in (0, 1, 2, 5)]
    campaign = ended(*hosts, by=operator, reason="ticket 7")
    operator.delete()

    retention.delete(campaign.pk, "somebody")

    record = AuditRecord.objects.get()
    assert (record.launched_by, record.reason, record.deleted_by) == ("operator", "ticket 7", "somebody")
    assert record.hosts == {"answered": "1000", "missed": "1001-1002,1005"}
    assert record.counts["targeted"] == 4
    assert record.status == Status.EXPIRED


def test_late_answers_come_onto_the_record() -> None:
    host, silent = make_hosts(2)
    campaign = make_campaign(host, silent)
    audit.keep()
    assert AuditRecord.objects.get().stage == AuditRecord.Stage.OPEN

    end(campaign)
    audit.keep()
    assert AuditRecord.objects.get().stage == AuditRecord.Stage.ENDED
    assert set(AuditRecord.objects.get().hosts) == {State.MISSED}

    campaign.move(State.MISSED, State.ANSWERED)
    campaign.save_counts()
    Target.objects.filter(host=host).update(state=State.ANSWERED, late=True)
    Campaign.objects.update(ended_at=timezone.now() - timedelta(hours=2))
    audit.keep()
    audit.keep()

    record = AuditRecord.objects.get()
    assert record.stage == AuditRecord.Stage.FINAL
    assert record.hosts == {"answered": str(host.pk), "missed": str(silent.pk)}
    assert record.counts["answered"] == 1


def test_no_record_is_final_while_late_answers_wait_to_be_stored(
    agent: Callable[[Host], Agent], collect: Callable[[], int]
) -> None:
    host = make_host()
    campaign = make_campaign(host)
    agent(host).read()
    collect()
    campaign.refresh_from_db()
    end(campaign)
    audit.keep()
    agent(host).write(campaign.pk, [{"a": "1"}])
    Campaign.objects.update(ended_at=clock.now() - clock.late_time())

    audit.keep()
    waiting = AuditRecord.objects.get().stage
    collect()
    audit.keep()

    record = AuditRecord.objects.get()
    assert (waiting, record.stage) == (AuditRecord.Stage.ENDED, AuditRecord.Stage.FINAL)
    assert record.hosts == {"answered": str(host.pk)}


def test_the_admin_shows_records_and_changes_none(client: Client) -> None:
    campaign = ended(make_host(), sql="SELECT 'on record'")
    client.force_login(make_user(admin=True))
    record = AuditRecord.objects.get(campaign_id=campaign.pk)

    assert "on record" in client.get("/admin/campaigns/auditrecord/").content.decode()
    page = client.get(f"/admin/campaigns/auditrecord/{record.pk}/change/")
    assert page.status_code == 200
    assert b'name="_save"' not in page.content
    assert client.post(f"/admin/campaigns/auditrecord/{record.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.get("/admin/campaigns/auditrecord/add/").status_code == 403
