"""Quotas: of a person, and of what one campaign keeps; nothing is cut silently."""

import json
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from agents.board import keyspace, redis_client
from campaigns.collecting.limits import Room
from campaigns.launching.launch import Order, launch
from campaigns.models import Campaign, Result, Target
from fleet.errors import FleetError
from tests.factories import end, make_campaign, make_host, make_hosts

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

    assert (refused.status_code, refused["Retry-After"]) == (429, "60")
    assert refused.json()["error"] == "launches of operator within a minute: 1, allowed are 1"
    assert page.status_code == 422
    assert "launches of operator within a minute: 1" in page.content.decode()
    assert Campaign.objects.count() == 1


def test_open_campaigns_are_limited_until_one_has_ended(api: Api, operator: User, settings: Any) -> None:
    settings.OPEN_CAMPAIGNS_PER_PERSON = 1
    host = make_host()
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
