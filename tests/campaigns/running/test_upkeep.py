"""What may wait while there is much of it: it is bounded, fair, and keeps nobody else waiting."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.models import Presence
from campaigns.models import Campaign
from campaigns.running import upkeep
from tests.conftest import Agent
from tests.factories import make_campaign, make_hosts

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]


def test_hosts_that_asked_lately_are_counted_as_online() -> None:
    hosts = make_hosts(4)
    campaign = make_campaign(*hosts)
    now = timezone.now()
    Presence.objects.create(host=hosts[0], last_seen=now)
    Presence.objects.create(host=hosts[1], last_seen=now - timedelta(hours=1))
    Presence.objects.create(host=hosts[2], last_seen=now - timedelta(minutes=5), busy_since=now - timedelta(minutes=5))

    upkeep.refresh_online()

    campaign.refresh_from_db()
    assert campaign.counts["online"] == 2


def test_counting_who_is_online_takes_no_campaigns_lock() -> None:
    make_campaign(*make_hosts(1))

    with CaptureQueriesContext(connection) as asked:
        upkeep.refresh_online()

    assert not [query for query in asked if "FOR NO KEY UPDATE" in query["sql"]]


def test_a_board_that_lacks_nothing_is_not_looked_at_host_by_host(
    agent: Callable[..., Agent], collect: Callable[[], int]
) -> None:
    hosts = make_hosts(3)
    campaign = make_campaign(*hosts)
    agent(hosts[0]).read()
    agent(hosts[0]).write(campaign.pk, [])
    collect()

    with CaptureQueriesContext(connection) as asked:
        upkeep.repair_board()

    assert not [query for query in asked if 'campaigns_target"' in query["sql"]]


def test_who_is_online_is_known_of_a_campaign_that_ends_at_once() -> None:
    hosts = make_hosts(2)
    Presence.objects.create(host=hosts[0], last_seen=timezone.now())

    assert make_campaign(*hosts).count_online == 1


def test_what_there_was_no_time_for_has_its_turn_later(monkeypatch: Any) -> None:
    hosts = make_hosts(1)
    campaigns = [make_campaign(*hosts) for _ in range(3)]
    Presence.objects.create(host=hosts[0], last_seen=timezone.now())
    monkeypatch.setattr(upkeep, "RUN_SECONDS", 0.0)

    upkeep.refresh_online()
    assert Campaign.objects.filter(count_online=1).count() == 1
    runs = 1
    while Campaign.objects.filter(count_online=1).count() < len(campaigns):
        upkeep.refresh_online()
        runs += 1

    assert runs >= 3
