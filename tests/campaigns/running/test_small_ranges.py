"""Many launched at once over few hosts each: they share their transactions, and none stands in another's way."""

from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
from django.db import connection, transaction

from agents.board import rebuilding, redis_client
from agents.models import Host
from campaigns.launching import control, freezing
from campaigns.launching.launch import Order, launch
from campaigns.models import Campaign, Target, TargetRange
from campaigns.running import targeting
from campaigns.running.rebuild import mend_board
from campaigns.states import Status
from tests.campaigns.running.test_overlaps import wait_for_blocked_session
from tests.conftest import Agent
from tests.factories import learn, make_host, make_hosts, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
MakeAgent = Callable[[Host], Agent]
Sent = list[tuple[Any, ...]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """Give what is sent to workers by launches."""
    calls: Sent = []
    monkeypatch.setattr(freezing, "enqueue", lambda *call: calls.append(call))
    return calls


def order(*hosts: Host, sql: str = "SELECT 1") -> Campaign:
    return launch(Order(sql=sql, target={"hosts": [host.pk for host in hosts]}), make_user(admin=True))


def status(campaign: Campaign) -> str:
    campaign.refresh_from_db()
    return campaign.status


def test_all_that_wait_are_armed_each_over_its_own_hosts(agent: MakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targeting, "TOGETHER", 2)
    learn("linux", "users")
    learn("windows", "services")
    near, far = make_hosts(2, osquery_version="5.23.0"), make_host(id=90_000_000, osquery_version="5.23.0")
    other = make_host(platform="windows", osquery_version="5.23.0")
    revoked = make_host()
    first, both, mixed = order(*near), order(near[1], far, revoked), order(near[0], other, sql="SELECT name FROM users")
    stopped, paused, last = order(*near), order(*near), order(far)
    Host.objects.filter(pk=revoked.pk).update(revoked_at=revoked.enrolled_at)
    control.stop(stopped.pk, "somebody", "enough")
    Campaign.objects.filter(pk=paused.pk).update(status=Status.PAUSED)

    targeting.write_small_ranges()

    assert [status(each) for each in (first, both, mixed, last)] == [Status.RUNNING] * 4
    assert [each.counts["targeted"] for each in (first, both, mixed, last)] == [2, 2, 2, 1]
    assert (mixed.counts["waiting"], mixed.counts["unsupported"]) == (1, 1)
    assert mixed.targets.get(host=other).ended_at == mixed.created_at
    assert all(each.started_at and each.ends_at for each in (first, both, mixed, last))
    for each, hosts in ((first, near), (both, [near[1], far]), (mixed, [near[0], other]), (last, [far])):
        assert set(each.targets.values_list("host_id", flat=True)) == {host.pk for host in hosts}
    assert set(agent(near[0]).read()["queries"]) == {f"c{first.pk}", f"c{mixed.pk}"}
    assert set(agent(far).read()["queries"]) == {f"c{both.pk}", f"c{last.pk}"}
    assert agent(other).read() == {}
    left = TargetRange.objects.filter(done_at=None)
    assert set(left.values_list("campaign_id", flat=True)) == {stopped.pk, paused.pk}
    assert not Target.objects.filter(campaign__in=[stopped.pk, paused.pk]).exists()


def test_a_campaign_that_is_locked_keeps_no_other_waiting_and_is_armed_after() -> None:
    locked, free = order(make_host()), order(make_host())
    writing = Thread(target=write_elsewhere)
    with transaction.atomic():
        Campaign.objects.locked([locked.pk])
        writing.start()
        wait_for_blocked_session()
        assert status(free) == Status.RUNNING
        assert status(locked) == Status.TARGETING
    writing.join()
    assert status(locked) == Status.RUNNING


def write_elsewhere() -> None:
    targeting.write_small_ranges()
    connection.close()


def test_a_campaign_whose_rows_are_refused_keeps_no_other_waiting(caplog: pytest.LogCaptureFixture) -> None:
    most = 2**31 - 1  # an integer holds no more, so that one host more is refused
    refused, free = order(make_host()), order(make_host())
    Campaign.objects.filter(pk=refused.pk).update(count_targeted=most, count_waiting=most)

    targeting.write_small_ranges()

    assert (status(refused), status(free)) == (Status.TARGETING, Status.RUNNING)
    assert f"range not written campaign={refused.pk}" in caplog.text


def test_without_a_board_they_wait_and_are_armed_when_it_is_whole() -> None:
    campaigns = [order(make_host()), order(make_host())]
    rebuilding.begin()
    for _ in range(2):  # targets are written the first time, and found there the second
        targeting.write_small_ranges()
        assert [status(each) for each in campaigns] == [Status.TARGETING] * 2
        assert TargetRange.objects.filter(done_at=None).count() == 2
    mend_board()
    targeting.write_small_ranges()
    assert [status(each) for each in campaigns] == [Status.RUNNING] * 2
    assert [each.counts["targeted"] for each in campaigns] == [each.targets.count() for each in campaigns] == [1, 1]


def test_one_hint_is_enough_until_it_is_taken(sent: Sent) -> None:
    order(make_host())
    order(make_host())
    assert sent == [(freezing.SMALL_RANGES,)]
    targeting.write_small_ranges()
    order(make_host())
    assert sent == [(freezing.SMALL_RANGES,)] * 2


def test_what_is_launched_while_the_others_are_looked_up_is_hinted_at(
    sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    order(make_host())
    look = targeting._small_ranges

    def look_and_launch(after: int) -> list[TargetRange]:
        found = look(after)
        if not after:
            order(make_host())
        return found

    monkeypatch.setattr(targeting, "_small_ranges", look_and_launch)
    targeting.write_small_ranges()
    assert sent == [(freezing.SMALL_RANGES,)] * 2


def test_a_hint_that_is_lost_keeps_others_from_being_sent_for_a_second_only(sent: Sent) -> None:
    order(make_host())
    (hint,) = redis_client.client().keys("hint:*")
    assert 0 < redis_client.client().pttl(hint) <= 1000
    redis_client.client().delete(hint)  # as when the second is over
    order(make_host())
    assert len(sent) == 2


def test_a_range_of_many_hosts_is_a_piece_of_work_by_itself(sent: Sent) -> None:
    many = make_hosts(101)
    far = make_host(id=90_000_000)
    campaign = order(*many, far)
    assert sent == [("campaigns.write_range", campaign.pk, many[0].pk >> 16), (freezing.SMALL_RANGES,)]

    targeting.write_small_ranges()
    assert status(campaign) == Status.TARGETING
    assert list(campaign.targets.values_list("host_id", flat=True)) == [far.pk]
    targeting.write_range(campaign.pk, many[0].pk >> 16)
    assert (status(campaign), campaign.counts["targeted"]) == (Status.RUNNING, 102)
