"""A long stream: batches read ahead, entries that share one with poison, and text that COPY would take for its own."""

from collections.abc import Callable

import msgspec
import pytest

from agents.board import keyspace, redis_client
from campaigns.collecting import collector, reading
from campaigns.collecting.collector import Collector
from campaigns.collecting.models import DeadLetter, StreamCursor
from campaigns.models import Result, Target
from campaigns.states import State
from tests.campaigns.collecting.test_collector import answer
from tests.factories import make_campaign, make_host, make_hosts

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Collect = Callable[[], int]


@pytest.fixture(autouse=True)
def short_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take four entries for a long stream."""
    monkeypatch.setattr(reading, "BATCH_ENTRIES", 4)
    monkeypatch.setattr(reading, "STEP_ENTRIES", 2)


def test_what_is_read_ahead_is_stored_once_and_in_order() -> None:
    hosts = make_hosts(11)
    campaign = make_campaign(*hosts)
    entries = [answer(campaign, host) for host in hosts]
    one = Collector()

    collected = [one.collect() for _ in range(4)]

    assert collected == [4, 4, 3, 0]
    assert list(Result.objects.order_by("seq").values_list("seq", "host_id")) == [
        (place, host.pk) for place, host in enumerate(hosts, 1)
    ]
    assert StreamCursor.objects.get().entry == entries[-1]
    assert redis_client.client().xlen(keyspace.STREAM) == 0


def test_a_batch_of_large_answers_has_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BATCH_BYTES", 1_000)
    hosts = make_hosts(4)
    campaign = make_campaign(*hosts)
    for host in hosts:
        answer(campaign, host, r=msgspec.json.encode([{"a": "x" * 500}]))
    one = Collector()

    assert [one.collect() for _ in range(3)] == [2, 2, 0]


def test_what_another_copy_stored_meanwhile_is_not_stored_again(collect: Collect) -> None:
    hosts = make_hosts(12)
    campaign = make_campaign(*hosts)
    for host in hosts:
        answer(campaign, host)
    one = Collector()
    one.collect()
    collect()
    late = make_host()
    second = make_campaign(late)
    answer(second, late)

    assert one.collect() == 1

    assert Result.objects.filter(campaign=campaign).count() == 12
    assert not DeadLetter.objects.exists()


def test_what_was_read_ahead_of_a_redis_that_was_emptied_is_read_anew() -> None:
    hosts = make_hosts(8)
    campaign = make_campaign(*hosts)
    for host in hosts:
        answer(campaign, host)
    one = Collector()
    one.collect()
    redis_client.client().delete(keyspace.STREAM)
    answer(campaign, hosts[7])

    assert one.collect() == 1

    assert list(Target.objects.filter(campaign=campaign, state=State.WAITING).values_list("host_id", flat=True)) == [
        host.pk for host in hosts[4:7]
    ]


def test_few_share_a_transaction_with_one_that_cannot_be_stored(
    collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "MOST_HALVED", 2)
    hosts = make_hosts(9)
    campaign = make_campaign(*hosts)
    for place, host in enumerate(hosts):
        answer(campaign, host, **({"r": b"nonsense"} if place in (0, 1, 6) else {}))

    assert Collector().collect() == 2
    collect()

    campaign.refresh_from_db()
    assert (campaign.count_answered, campaign.count_failed) == (6, 3)
    assert sorted(DeadLetter.objects.values_list("host_id", flat=True)) == [hosts[place].pk for place in (0, 1, 6)]
    assert [result.seq for result in Result.objects.order_by("seq")] == list(range(1, 7))


ODD = "back\\slash \\N \\. tab\t line\n return\r quote\" ' comma, émoji 🦉 \u2028"


def test_texts_come_out_as_they_went_in(collect: Collect) -> None:
    host, broken = make_host(hostname=ODD), make_host(hostname="\\N")
    campaign = make_campaign(host, broken)
    answer(campaign, host, r=msgspec.json.encode([{ODD: ODD, "\\.": "\\N"}]))
    answer(campaign, broken, s=b"1", m=ODD.encode(), r=b"[]")

    collect()

    good, bad = Result.objects.order_by("seq")
    assert (good.hostname, good.rows, good.error) == (ODD, [{ODD: ODD, "\\.": "\\N"}], "")
    assert (bad.hostname, bad.rows, bad.error) == ("\\N", [], ODD.strip())
    assert Target.objects.get(host=broken).error == ODD.strip()
    assert not DeadLetter.objects.exists()


def test_a_result_that_lies_there_though_its_target_is_open_is_heard_of(collect: Collect) -> None:
    host, other = make_hosts(2)
    campaign = make_campaign(host, other)
    for each in (host, other):
        answer(campaign, each)
    Result.objects.create(
        campaign=campaign, host=host, hostname="", seq=9, state=State.ANSWERED, received_at=campaign.started_at
    )

    collect()

    assert "a_host_answers_once" in DeadLetter.objects.get().reason
    assert Target.objects.get(campaign=campaign, host=other).state == State.ANSWERED
    assert Result.objects.filter(campaign=campaign).count() == 2
