"""Who counts as online: who asked lately, and who cannot ask because osqueryd runs one thing at a time."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from agents.board import clock, keyspace, rebuilding, redis_client
from agents.inventory import presence
from agents.models import Host, Presence
from campaigns.launching.control import stop
from campaigns.launching.estimates import estimate
from campaigns.models import Campaign
from tests.conftest import Agent
from tests.factories import make_campaign, make_host, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]


@pytest.fixture
def host() -> Host:
    """Give a host that the presence table knows since it enrolled."""
    made = make_host()
    Presence.objects.create(host=made, last_seen=timezone.now() - timedelta(days=1))
    return made


def hand_out(campaign: Campaign, host: Host, ago: timedelta, further: bool = False) -> None:
    """Leave the board as a read that began so long ago, and was handed the SQL, leaves it."""
    at = clock.in_ms(clock.now() - ago)
    rebuilding.restore_reads([(host.pk, clock.moment(at - 5))])
    record = f"1 {at} 7 {at + 1 if further else 0}"
    redis_client.client().hset(keyspace.flight_key(campaign.pk), str(host.pk), record)


def is_online(host: Host) -> bool:
    """Ask everywhere, and let all say the same."""
    presence.carry()
    now = timezone.now()
    found = Host.objects.select_related("presence").get(pk=host.pk).is_online(now)
    assert Host.objects.online(now).exists() == found
    assert Presence.objects.online(now).exists() == found
    assert estimate({"all": True}, make_user(admin=True))["online"] == int(found)
    assert estimate({"all": True, "online": True}, make_user(admin=True))["targeted"] == int(found)
    return found


def test_a_host_that_runs_a_query_for_minutes_is_online(host: Host) -> None:
    hand_out(make_campaign(host), host, timedelta(minutes=9))

    assert is_online(host)
    assert presence.carry() == 0


def test_a_host_that_was_handed_a_query_ten_minutes_ago_is_taken_for_gone(host: Host) -> None:
    hand_out(make_campaign(host), host, timedelta(minutes=10, seconds=1))

    assert not is_online(host)


def test_a_host_that_asked_again_and_went_is_offline(host: Host) -> None:
    hand_out(make_campaign(host), host, timedelta(minutes=5), further=True)

    assert not is_online(host)


def test_a_host_that_asked_again_while_the_campaign_is_paused_is_offline_when_it_goes(host: Host) -> None:
    campaign = make_campaign(host)
    hand_out(campaign, host, timedelta(minutes=5))
    presence.carry()

    redis_client.client().delete(keyspace.READS)
    rebuilding.restore_reads([(host.pk, timezone.now() - timedelta(minutes=2))])

    assert not is_online(host)


def tell(asks: Agent) -> None:
    """Let the gateway tell the board who used it, as it does every second."""
    asks._loop.run_until_complete(asks.gateway._follower._tell_reads())


def test_a_host_is_busy_from_the_read_that_got_the_query(
    host: Host, agent: Callable[[Host], Agent], settings: Any
) -> None:
    settings.ONLINE_SECONDS = 0  # whoever is online is so because it is busy
    make_campaign(host)
    asks = agent(host)

    asks.read()
    tell(asks)

    assert is_online(host)


def test_a_host_that_answers_after_minutes_is_online_until_it_asks_again(
    host: Host, agent: Callable[[Host], Agent]
) -> None:
    campaign, asks = make_campaign(host), agent(host)
    hand_out(campaign, host, timedelta(minutes=5))
    busy = is_online(host)

    asks.write(campaign.pk, [])
    untold = is_online(host)
    tell(asks)

    assert busy
    assert untold, "between the answer and the moment when the gateway tells of it"
    assert is_online(host)
    assert Presence.objects.get(host=host).busy_since is None


@pytest.mark.parametrize("carried", [True, False], ids=["known as busy before", "stopped before anybody looked"])
def test_a_host_stays_busy_with_a_campaign_that_was_stopped(
    host: Host, agent: Callable[[Host], Agent], carried: bool
) -> None:
    campaign, asks = make_campaign(host), agent(host)
    hand_out(campaign, host, timedelta(minutes=5))
    if carried:
        presence.carry()

    stop(campaign.pk, "ann", "")
    busy = is_online(host)
    redis_client.client().hset(keyspace.WRITES, str(host.pk), clock.in_ms(clock.now() - timedelta(minutes=2)))

    assert busy
    assert not is_online(host), "it answered two minutes ago and was not seen since"
    assert asks.write(campaign.pk, []) == {}
    tell(asks)
    assert is_online(host)


def test_a_host_that_is_busy_with_a_stopped_campaign_for_ten_minutes_is_taken_for_gone(host: Host) -> None:
    campaign = make_campaign(host)
    hand_out(campaign, host, timedelta(minutes=9, seconds=59))
    presence.carry()
    stop(campaign.pk, "ann", "")

    Presence.objects.filter(host=host).update(busy_since=clock.now() - timedelta(minutes=10, seconds=1))
    redis_client.client().delete(keyspace.unanswered_key(campaign.pk))

    assert not is_online(host)


def test_what_a_closed_campaign_leaves_on_the_board_goes_away(host: Host) -> None:
    campaign = make_campaign(host)
    hand_out(campaign, host, timedelta(minutes=1))

    stop(campaign.pk, "ann", "")

    assert 0 < redis_client.client().ttl(keyspace.unanswered_key(campaign.pk)) <= 600
    assert not redis_client.client().exists(keyspace.flight_key(campaign.pk))
