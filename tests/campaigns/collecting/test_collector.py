"""The collector: in order, exactly once, and one bad entry costs no other."""

import json
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection, transaction

from agents.board import clock, keyspace, redis_client
from agents.models import Host
from campaigns.collecting import cursor
from campaigns.collecting.collector import Collector
from campaigns.collecting.models import DeadLetter, StreamCursor
from campaigns.collecting.tally import COLUMNS_LEFT_OUT
from campaigns.models import Campaign, Result, Target
from campaigns.states import State, Status
from tests.conftest import Agent
from tests.factories import make_campaign, make_host, make_hosts

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Collect = Callable[[], int]
MakeAgent = Callable[[Host], Agent]


def answer(campaign: Campaign, host: Host, **changes: bytes) -> str:
    """Put an answer into the stream as accept does."""
    fields = {"k": "a", "c": campaign.pk, "h": host.pk, "s": "0", "m": "", "t": "{}", "r": '[{"a":"1"}]', "x": ""}
    return redis_client.client().xadd(keyspace.STREAM, {**fields, **changes}).decode()


def state(campaign: Campaign, host: Host) -> str:
    return Target.objects.get(campaign=campaign, host=host).state


@pytest.mark.parametrize(
    "poison",
    [
        {"r": b"nonsense"},
        {"s": b"not a number"},
        {"t": b'{"memory": 1}', "r": b'[{"a": '},
        {"k": b"z"},
        {"k": b"d"},
        {"k": b"g", "n": b"-1", "p": b"9" * 20},
    ],
)
def test_one_poisonous_entry_of_500_becomes_a_dead_letter(collect: Collect, poison: dict[str, bytes]) -> None:
    hosts = make_hosts(500)
    campaign = make_campaign(*hosts)
    for place, host in enumerate(hosts):
        answer(campaign, host, **(poison if place == 250 else {}))

    collect()

    campaign.refresh_from_db()
    assert Result.objects.filter(campaign=campaign).count() == campaign.counts["answered"] == 499
    letter = DeadLetter.objects.get()
    assert letter.host_id == hosts[250].pk
    target = Target.objects.get(campaign=campaign, host=hosts[250])
    assert target.state == State.FAILED
    assert letter.reason in target.error
    assert campaign.status == Status.COMPLETED
    assert [result.seq for result in Result.objects.filter(campaign=campaign)] == list(range(1, 500))


def test_an_entry_that_names_nobody_is_kept_and_the_stream_goes_on(collect: Collect) -> None:
    host = make_host()
    campaign = make_campaign(host)
    redis_client.client().xadd(keyspace.STREAM, {"k": "a", "c": "x"})
    redis_client.client().xadd(keyspace.STREAM, {"strange": b"\xff\x00"})
    answer(campaign, host)

    collect()

    assert DeadLetter.objects.count() == 2
    assert state(campaign, host) == State.ANSWERED


def test_odd_housekeeping_is_kept_and_the_stream_goes_on(collect: Collect) -> None:
    host = make_host()
    campaign = make_campaign(host)
    redis_client.client().xadd(keyspace.STREAM, {"k": "a", "c": -1, "h": host.pk})
    answer(campaign, host)

    collect()

    assert state(campaign, host) == State.ANSWERED
    assert DeadLetter.objects.get().reason == "the entry cannot be read: KeyError(b's')"


def test_an_answer_without_a_target_is_kept_as_a_dead_letter(collect: Collect) -> None:
    campaign = make_campaign(make_host())
    stranger = make_host()
    answer(campaign, stranger)

    collect()

    assert "no target" in DeadLetter.objects.get().reason


def test_an_answer_of_a_campaign_that_is_gone_is_dropped(collect: Collect) -> None:
    host = make_host()
    campaign = make_campaign(host)
    answer(campaign, host)
    campaign.delete()

    assert collect() == 1
    assert not DeadLetter.objects.exists()


def test_a_repeat_that_slipped_into_the_stream_is_stored_once(collect: Collect) -> None:
    host = make_host()
    campaign = make_campaign(host)
    answer(campaign, host)
    answer(campaign, host, r=b'[{"a":"2"}]')

    collect()

    assert Result.objects.get().rows == [{"a": "1"}]
    campaign.refresh_from_db()
    assert campaign.counts["answered"] == campaign.count_rows == 1


def test_a_batch_that_failed_half_way_is_stored_again_and_once(
    collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_host()
    campaign = make_campaign(host)
    answer(campaign, host)
    with monkeypatch.context() as broken:
        broken.setattr(StreamCursor, "save", _crash)
        with pytest.raises(RuntimeError):
            Collector().collect()
    assert not Result.objects.exists(), "the batch and the cursor are one transaction"

    collect()

    assert Result.objects.count() == 1


def _crash(*_: object, **__: object) -> None:
    raise RuntimeError("the process died here")


def test_a_second_collector_stands_by(collect: Collect) -> None:
    host = make_host()
    campaign = make_campaign(host)
    answer(campaign, host)
    other = connection.copy()
    try:
        with transaction.atomic():
            collect_row = StreamCursor.objects.get_or_create(stream=keyspace.STREAM)[0]
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT FROM campaigns_streamcursor WHERE stream = %s FOR UPDATE", [collect_row.stream])
            assert Collector().collect() is None
        other.rollback()
    finally:
        other.close()

    assert collect() == 1


def test_a_cursor_that_is_missing_is_begun_anew(collect: Collect) -> None:
    host = make_host()
    answer(make_campaign(host), host)
    StreamCursor.objects.all().delete()

    assert collect() == 1


def test_what_is_stored_is_trimmed_from_the_stream(collect: Collect) -> None:
    host = make_host()
    entry = answer(make_campaign(host), host)

    collect()

    assert redis_client.client().xlen(keyspace.STREAM) == 0
    assert cursor.stored_entry() == entry


def test_a_delivery_that_comes_after_the_answer_only_fills_in_its_times(collect: Collect) -> None:
    host = make_host()
    campaign = make_campaign(host)
    answer(campaign, host)
    redis_client.client().xadd(keyspace.STREAM, {"k": "d", "c": campaign.pk, "h": host.pk, "n": 1})

    collect()

    target = Target.objects.get(campaign=campaign)
    assert (target.state, target.deliveries) == (State.ANSWERED, 1)
    assert target.delivered_at is not None


def test_a_delivery_given_back_leads_back_to_waiting(collect: Collect) -> None:
    host = make_host()
    campaign = make_campaign(host)
    deliver(campaign, host, "d", n=1)
    collect()
    assert state(campaign, host) == State.DELIVERED
    deliver(campaign, host, "g", n=0, p="")

    collect()

    target = Target.objects.get(campaign=campaign)
    assert (target.state, target.deliveries, target.delivered_at) == (State.WAITING, 0, None)
    campaign.refresh_from_db()
    assert (campaign.counts["waiting"], campaign.counts["delivered"]) == (1, 0)


def test_a_second_delivery_given_back_leaves_the_first(collect: Collect) -> None:
    host = make_host()
    campaign = make_campaign(host)
    for number in (1, 2):
        deliver(campaign, host, "d", n=number)
    deliver(campaign, host, "g", n=1, p=clock.in_ms(campaign.started_at))

    collect()

    target = Target.objects.get(campaign=campaign)
    assert (target.state, target.deliveries, target.delivered_at) == (State.DELIVERED, 1, campaign.started_at)


def test_a_delivery_given_back_that_was_answered_all_the_same_stays_answered(collect: Collect) -> None:
    host = make_host()
    campaign = make_campaign(host)
    deliver(campaign, host, "d", n=1)
    answer(campaign, host)
    deliver(campaign, host, "g", n=0, p="")
    deliver(campaign, host, "g", n=0, p="")

    collect()

    target = Target.objects.get(campaign=campaign)
    assert (target.state, target.deliveries) == (State.ANSWERED, 0)
    campaign.refresh_from_db()
    assert campaign.counts["answered"] == 1


def deliver(campaign: Campaign, host: Host, kind: str, **fields: object) -> None:
    """Put a delivery, or one given back, into the stream as the scripts do."""
    redis_client.client().xadd(keyspace.STREAM, {"k": kind, "c": campaign.pk, "h": host.pk, **fields})


def test_nul_bytes_and_columns_in_order_of_first_appearance(collect: Collect) -> None:
    hosts = make_hosts(2)
    campaign = make_campaign(*hosts)
    answer(campaign, hosts[0], r=b'[{"z":"a\\u0000b","a":"1"}]')
    answer(campaign, hosts[1], r=b'[{"b":"2","z":"3"}]')

    collect()

    campaign.refresh_from_db()
    assert campaign.columns == ["z", "a", "b"]
    assert Result.objects.get(host=hosts[0]).rows == [{"z": "ab", "a": "1"}]


@pytest.mark.parametrize("left_out", [["x" * 257], [f"column {number}" for number in range(2_000, 2_002)]])
def test_columns_that_a_campaign_does_not_list_are_kept_and_it_says_so_once(
    collect: Collect, left_out: list[str]
) -> None:
    first, second = make_hosts(2)
    campaign = make_campaign(first, second)
    listed = [f"column {number}" for number in range(2_000 if len(left_out) == 2 else 1)]
    row = dict.fromkeys([*listed, *left_out], "1")
    for host in (first, second):
        answer(campaign, host, r=json.dumps([row]).encode())
        collect()

    campaign.refresh_from_db()
    assert campaign.columns == listed
    assert campaign.warnings == [COLUMNS_LEFT_OUT]
    assert Result.objects.get(host=first).rows == [row]


@pytest.mark.parametrize("over", ["campaign", "target"])
def test_an_answer_is_late_after_the_campaigns_end_and_after_its_targets(collect: Collect, over: str) -> None:
    host, other = make_hosts(2)
    campaign = make_campaign(host, other)
    ended = campaign.started_at - timedelta(seconds=1)
    if over == "campaign":
        Campaign.objects.filter(pk=campaign.pk).update(ends_at=ended)
    else:
        given_up = {"k": "n", "c": campaign.pk, "h": host.pk}
        redis_client.client().xadd(keyspace.STREAM, given_up, id=f"{clock.in_ms(ended)}-0")
    answer(campaign, host)

    collect()

    assert Target.objects.get(campaign=campaign, host=host).late
    assert Result.objects.get().late
    assert state(campaign, other) == State.WAITING


def test_a_late_answer_in_the_batch_of_the_last_one_in_time_changes_no_status(collect: Collect) -> None:
    given_up, last = make_hosts(2)
    campaign = make_campaign(given_up, last)
    redis_client.client().xadd(keyspace.STREAM, {"k": "n", "c": campaign.pk, "h": given_up.pk})
    collect()
    answer(campaign, last)
    ended = clock.now()
    Campaign.objects.filter(pk=campaign.pk).update(ends_at=ended)
    seconds, number = clock.in_ms(ended) + 5_000, 0
    fields = {"k": "a", "c": campaign.pk, "h": given_up.pk, "s": "0", "m": "", "t": "{}", "r": "[]", "x": ""}
    redis_client.client().xadd(keyspace.STREAM, fields, id=f"{seconds}-{number}")

    collect()

    campaign.refresh_from_db()
    assert (campaign.status, campaign.counts["answered"]) == (Status.COMPLETED, 2)
    assert Target.objects.get(campaign=campaign, host=given_up).late


@pytest.mark.parametrize("touched_first", [0, 1])
def test_a_campaign_ends_with_its_last_answer_whichever_host_the_batch_touched_first(
    collect: Collect, touched_first: int
) -> None:
    hosts = make_hosts(2)
    campaign = make_campaign(*hosts)
    deliver(campaign, hosts[touched_first], "d", n=1)
    at = clock.in_ms(clock.now()) + 1_000
    for place, host in enumerate(hosts):
        fields = {"k": "a", "c": campaign.pk, "h": host.pk, "s": "0", "m": "", "t": "{}", "r": "[]", "x": ""}
        redis_client.client().xadd(keyspace.STREAM, fields, id=f"{at + place}-0")

    collect()

    campaign.refresh_from_db()
    assert (campaign.status, campaign.ended_at) == (Status.COMPLETED, clock.moment(at + 1))


def test_an_answer_after_the_end_is_kept_marked_and_counted(collect: Collect) -> None:
    host = make_host()
    campaign = make_campaign(host)
    Campaign.objects.filter(pk=campaign.pk).update(
        status=Status.EXPIRED,
        ended_at=campaign.started_at,
        closed_at=campaign.started_at,
        count_waiting=0,
        count_missed=1,
    )
    Target.objects.filter(campaign=campaign).update(state=State.MISSED, ended_at=campaign.started_at)
    answer(campaign, host)

    collect()

    target = Target.objects.get(campaign=campaign)
    assert (target.state, target.late) == (State.ANSWERED, True)
    assert Result.objects.get().late
    ended = campaign.started_at
    campaign.refresh_from_db()
    assert (campaign.status, campaign.ended_at) == (Status.EXPIRED, ended)
    assert (campaign.count_answered, campaign.count_missed) == (1, 0)


def test_results_are_stored_though_nobody_watches_and_the_doorbell_is_broken(
    collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_host()
    campaign = make_campaign(host)
    answer(campaign, host)
    nobody = keyspace.connect("redis://127.0.0.1:1/0")
    monkeypatch.setattr("campaigns.doorbell.redis_client", SimpleNamespace(client=lambda: nobody))

    collect()

    assert Result.objects.count() == 1
