"""Quotas: of a person, and of what one campaign keeps; nothing is cut silently."""

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from threading import Thread
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from agents.board import keyspace, redis_client
from campaigns.collecting.limits import Room
from campaigns.launching.launch import Order, launch, start
from campaigns.launching.models import Quota
from campaigns.launching.quotas import limits_of
from campaigns.models import Campaign, Result, Target
from fleet.errors import FleetError
from tests.factories import answer, end, make_campaign, make_host, make_hosts, make_label, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Api = Callable[[User | None], APIClient]
ORDER = {"sql": "SELECT 1", "target": {"all": True}}


def post(client: APIClient) -> Any:
    return client.post("/api/v1/campaigns/", ORDER, format="json")


def free(user: User) -> User:
    """Let a person launch beyond the quotas."""
    user.user_permissions.add(Permission.objects.get(codename="launch_unlimited"))
    return User.objects.get(pk=user.pk)


def test_launches_within_a_minute_are_limited_whichever_way_they_come(
    api: Api, operator: User, client: Client, settings: Any
) -> None:
    make_host()
    settings.LAUNCHES_PER_MINUTE = 1
    client.force_login(operator)
    assert post(api(operator)).status_code == 201

    refused = post(api(operator))
    page = client.post("/ask/", {"sql": "SELECT 1", "kind": "all", "timeout": "600", "page": "p"})

    wait = int(refused["Retry-After"])
    told = f"launches of operator within a minute: 1, allowed are 1: the next goes in {wait} second"
    assert (refused.status_code, 0 < wait <= 60) == (429, True)
    assert refused.json()["error"].startswith(told)
    assert page.status_code == 422
    assert "launches of operator within a minute: 1" in page.content.decode()
    assert Campaign.objects.count() == 1


def test_open_campaigns_are_limited_until_one_has_ended(api: Api, operator: User, settings: Any) -> None:
    settings.OPEN_CAMPAIGNS_PER_PERSON = 1
    host = make_host()
    make_campaign(host)  # of somebody else
    first = make_campaign(host, by=operator)

    refused = post(api(operator))
    assert refused.status_code == 429
    assert "open campaigns of operator: 1, allowed are 1" in refused.json()["error"]

    end(first)
    assert post(api(operator)).status_code == 201
    assert post(api(free(operator))).status_code == 201


def test_two_launches_at_once_cannot_both_be_the_last(operator: User, settings: Any) -> None:
    settings.OPEN_CAMPAIGNS_PER_PERSON = 1
    make_host()

    def one() -> None:
        try:
            launch(Order("SELECT 1", {"all": True}), operator)
        except FleetError:
            pass
        finally:
            connection.close()

    threads = [Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Campaign.objects.count() == 1


def test_targets_are_limited_for_those_without_the_permission(api: Api, operator: User, settings: Any) -> None:
    settings.TARGETS_PER_CAMPAIGN = 2
    make_hosts(3)

    refused = post(api(operator))

    assert refused.status_code == 403
    assert refused.json()["fields"]["target"] == [
        "target selects 3 hosts, allowed are 2: more need the permission campaigns.launch_unlimited"
    ]
    assert not Campaign.objects.exists()
    assert post(api(free(operator))).status_code == 201


@pytest.mark.parametrize(
    ("groups", "status"), [([], 403), (["few"], 403), (["few", "many"], 201), (["all"], 201), (["other"], 403)]
)
def test_targets_are_limited_by_the_highest_of_one_s_groups(
    api: Api, operator: User, settings: Any, groups: list[str], status: int
) -> None:
    settings.TARGETS_PER_CAMPAIGN = 1
    settings.TARGETS_PER_CAMPAIGN_BY_GROUP = {"few": 2, "many": 3, "all": 0}
    operator.groups.set(Group.objects.create(name=name) for name in groups)
    make_hosts(3)

    assert post(api(operator)).status_code == status


def quota_of(group: str = "", person: User | None = None, **limits: int) -> Quota:
    made = Group.objects.create(name=group) if group else None
    return Quota.objects.create(group=made, person=person, **limits)


def test_rows_override_the_settings_the_person_s_own_before_the_highest_of_the_groups(
    operator: User, settings: Any
) -> None:
    settings.OPEN_CAMPAIGNS_PER_PERSON, settings.HOSTS_PER_HOUR_PER_PERSON = 5, 6
    assert limits_of(operator) == {"open_campaigns": 5, "hosts_per_hour": 6, "rows_kept": 0}

    for quota in (quota_of("few", open_campaigns=1, rows_kept=10), quota_of("many", open_campaigns=3, rows_kept=0)):
        operator.groups.add(quota.group)
    quota_of("not mine", open_campaigns=99)
    assert limits_of(operator) == {"open_campaigns": 3, "hosts_per_hour": 6, "rows_kept": 0}

    quota_of(person=operator, open_campaigns=2, rows_kept=7)
    assert limits_of(operator) == {"open_campaigns": 2, "hosts_per_hour": 6, "rows_kept": 7}


def test_hosts_within_any_hour_are_limited_and_it_is_said_when_there_is_room(api: Api, operator: User) -> None:
    quota_of(person=operator, hosts_per_hour=4)
    hosts = make_hosts(5)
    make_campaign(*hosts)  # of somebody else
    three = {"sql": "SELECT 1", "target": {"hosts": [host.pk for host in hosts[:3]]}}
    two = {"sql": "SELECT 1", "target": {"hosts": [host.pk for host in hosts[:2]]}}
    client = api(operator)
    first = client.post("/api/v1/campaigns/", three, format="json")
    Campaign.objects.update(created_at=timezone.now() - timedelta(minutes=50))

    said = client.post("/api/v1/campaigns/estimate/", two, format="json").json()
    refused = client.post("/api/v1/campaigns/", two, format="json")
    later = client.post("/api/v1/campaigns/", {**two, "start_at": in_minutes(5)}, format="json")
    after = client.post("/api/v1/campaigns/", {**two, "start_at": in_minutes(11)}, format="json")
    never = client.post("/api/v1/campaigns/", ORDER, format="json")
    free_ = api(free(operator)).post("/api/v1/campaigns/", ORDER, format="json")

    assert [one.status_code for one in (first, refused, later, after, never, free_)] == [201, 429, 429, 201, 403, 201]
    assert 590 <= int(refused["Retry-After"]) <= 600
    sentence = refused.json()["error"]
    assert sentence.startswith("hosts asked within an hour of operator: 3, allowed are 4")
    assert "there is room again by " in sentence
    assert sentence in said["warnings"]
    assert [(one["name"], one["limit"], one["used"]) for one in said["quotas"]] == [
        ("open_campaigns", 50, 1),
        ("hosts_per_hour", 4, 3),
    ]
    assert "allowed are 4 within an hour" in never.json()["error"]


def in_minutes(minutes: int) -> str:
    return (timezone.now() + timedelta(minutes=minutes)).isoformat()


def test_rows_that_are_kept_are_limited_until_campaigns_are_deleted(
    api: Api, operator: User, settings: Any, client: Client
) -> None:
    settings.CAMPAIGN_RETENTION_DAYS = 10
    quota_of(person=operator, rows_kept=3)
    host = make_host()
    client.force_login(operator)
    answer(make_campaign(host), host, {"a": "of somebody else"})
    kept = make_campaign(host, by=operator)
    answer(kept, host, *({"a": str(number)} for number in range(3)))
    end(kept)

    refused = post(api(operator))
    mine = api(operator).get("/api/v1/quotas/mine/").json()
    page = client.post("/ask/estimate/", {"sql": "SELECT 1", "kind": "all"}).content.decode()
    account = client.get("/account/").content.decode()

    assert refused.status_code == 429
    assert refused.json()["error"].startswith("rows kept in the campaigns of operator: 3, allowed are 3")
    assert 9 * 86_400 < int(refused["Retry-After"]) <= 10 * 86_400
    assert ("rows_kept", 3, 3, True) in [(one["name"], one["limit"], one["used"], one["is_full"]) for one in mine]
    for shown in (page, account):
        assert "Rows kept in your campaigns: 3 of 3, used up" in " ".join(shown.split())
    Campaign.objects.filter(pk=kept.pk).update(pinned=True)
    assert "Retry-After" not in post(api(operator))
    Campaign.objects.filter(pk=kept.pk).update(count_rows=2)
    assert post(api(operator)).status_code == 201


def test_two_launches_at_once_cannot_both_take_the_last_hosts_of_an_hour(operator: User) -> None:
    quota_of(person=operator, hosts_per_hour=3)
    make_hosts(2)

    heard = at_once([partial(launch, Order("SELECT 1", {"all": True}), operator)] * 4)

    assert sorted(heard) == [201, 429, 429, 429]
    assert Campaign.objects.count() == 1


def at_once(verbs: list[Callable[[], Any]]) -> list[int]:
    """Do all at once; give the status that each came to."""
    heard: list[int] = []

    def one(verb: Callable[[], Any]) -> None:
        try:
            verb()
            heard.append(201)
        except FleetError as error:
            heard.append(error.status)
        finally:
            connection.close()

    threads = [Thread(target=one, args=[verb]) for verb in verbs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return heard


def test_two_starts_at_once_cannot_both_take_the_last_hosts_of_an_hour(operator: User) -> None:
    quota_of(person=operator, hosts_per_hour=5)
    label = make_label("web", make_host())
    soon = timezone.now() + timedelta(minutes=5)
    waiting = [launch(Order("SELECT 1", {"labels": ["web"]}, start_at=soon), operator).pk for _ in range(3)]
    label.hosts.add(make_host())  # two are meant by now: three times two are more than five

    Campaign.objects.filter(pk__in=waiting).update(start_at=timezone.now())
    at_once([partial(start, pk) for pk in waiting])

    begun = Campaign.objects.exclude(started_at=None, status="stopped").values_list("expected", flat=True)
    assert sum(begun) <= 5
    assert list(begun) == [2, 2]


def test_what_is_scheduled_is_stopped_when_more_hosts_are_meant_than_its_hour_has(operator: User) -> None:
    quota_of(person=operator, hosts_per_hour=3)
    label = make_label("web", *make_hosts(2))
    soon = timezone.now() + timedelta(minutes=5)
    campaign = launch(Order("SELECT 1", {"labels": ["web"]}, start_at=soon), operator)
    label.hosts.add(*make_hosts(2))

    Campaign.objects.filter(pk=campaign.pk).update(start_at=timezone.now())
    start(campaign.pk)

    campaign.refresh_from_db()
    assert campaign.status == "stopped"
    assert "4 hosts, allowed are 3 within an hour" in campaign.ended_reason


def test_quotas_are_kept_by_who_may_and_refused_with_a_sentence(api: Api, operator: User) -> None:
    boss, path = api(make_user("boss", admin=True)), "/api/v1/quotas/"
    Group.objects.create(name="helpdesk")

    made = boss.post(path, {"group": "helpdesk", "hosts_per_hour": 500}, format="json")
    own = boss.post(path, {"person": "operator", "open_campaigns": 2}, format="json")

    assert (made.status_code, own.status_code, made.json()["changed_by"]) == (201, 201, "boss")
    assert api(operator).get(path).status_code == 403
    assert api(operator).post(path, {"person": "operator"}, format="json").status_code == 403
    for body, words in [
        ({"group": "helpdesk"}, "there are quotas of this group already"),
        ({"person": "operator"}, "there are quotas of this person already"),
        ({"rows_kept": 5}, "give either a group or a person"),
        ({"group": "helpdesk", "person": "boss"}, "give either a group or a person"),
        ({"person": "boss", "rows_kept": -1}, "rows_kept"),
        ({"person": "boss", "rows": 1}, "unknown member 'rows'"),
    ]:
        refused = boss.post(path, body, format="json")
        assert (refused.status_code, words in str(refused.json())) == (400, True), refused.json()
    changed = boss.patch(f"{path}{made.json()['id']}/", {"hosts_per_hour": None}, format="json")
    assert (changed.status_code, changed.json()["hosts_per_hour"]) == (200, None)
    assert boss.delete(f"{path}{made.json()['id']}/").status_code == 204


def send(campaign: Campaign, host_id: int, *rows: dict[str, str]) -> None:
    """Put an answer into the stream as accept does."""
    fields = {"k": "a", "c": campaign.pk, "h": host_id, "s": "0", "m": "", "t": "{}", "r": json.dumps(rows), "x": ""}
    redis_client.client().xadd(keyspace.STREAM, fields)


def test_rows_beyond_the_quota_are_cut_and_it_is_said(settings: Any, collect: Callable[[], int]) -> None:
    settings.CAMPAIGN_MAX_ROWS = 3
    hosts = make_hosts(4)
    campaign = make_campaign(*hosts)
    send(campaign, hosts[0].pk, {"a": "1"}, {"a": "2"})
    send(campaign, hosts[1].pk, {"a": "3"}, {"a": "4"})
    collect()
    send(campaign, hosts[2].pk, {"b": "5"})
    send(campaign, hosts[3].pk)
    collect()

    campaign.refresh_from_db()
    results = Result.objects.order_by("seq").values_list("row_count", "truncated", "rows")
    assert list(results) == [
        (2, False, [{"a": "1"}, {"a": "2"}]),
        (1, True, [{"a": "3"}]),
        (0, True, []),
        (0, False, []),
    ]
    assert campaign.count_rows == sum(Target.objects.values_list("row_count", flat=True)) == 3
    assert campaign.count_answered == 4
    assert len(campaign.warnings) == 1
    assert "a campaign keeps 3 rows" in campaign.warnings[0]


def test_bytes_beyond_the_quota_are_cut_as_whole_rows(settings: Any, collect: Callable[[], int]) -> None:
    settings.CAMPAIGN_MAX_BYTES = 50
    hosts = make_hosts(2)
    campaign = make_campaign(*hosts)
    for host in hosts:
        send(campaign, host.pk, {"a": "x" * 10}, {"a": "y" * 10})

    collect()

    campaign.refresh_from_db()
    assert list(Result.objects.order_by("seq").values_list("row_count", "truncated")) == [(2, False), (0, True)]
    assert campaign.stored_bytes <= 50
    assert "50 bytes" in campaign.warnings[0]


def test_without_quotas_there_is_room_for_everything(settings: Any) -> None:
    settings.CAMPAIGN_MAX_ROWS = settings.CAMPAIGN_MAX_BYTES = 0

    kept = Room(Campaign(count_rows=10**12, stored_bytes=10**15)).fit([{"a": "1"}])

    assert not kept.cut
