"""Who is meant: samples, hosts of earlier campaigns, filters, and one query whatever the combination."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.models import Host, Presence
from campaigns.answers.groups import groups
from campaigns.people.scopes import UNLIMITED
from campaigns.selecting.selection import Selection
from campaigns.states import State
from fleet.errors import BadInputError
from tests.factories import answer, make_campaign, make_host, make_hosts, make_label

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]


def meant(**target: Any) -> set[int]:
    """Give the ids of the hosts that are meant."""
    selection = Selection.read(target, UNLIMITED)
    selection.check_names()
    return set(selection.hosts(timezone.now()).values_list("pk", flat=True))


def test_a_sample_is_the_same_each_time_and_the_smaller_one_is_in_the_larger() -> None:
    make_hosts(200)

    tenth, fifth = (meant(all=True, sample={"percent": percent}) for percent in (10, 20))
    few, more = (meant(all=True, sample={"count": count}) for count in (7, 30))

    assert tenth == meant(all=True, sample={"percent": 10})
    assert tenth < fifth
    assert 15 <= len(tenth) <= 25
    assert (len(few), len(more)) == (7, 30)
    assert few < more
    assert few <= tenth


def test_a_host_stays_in_a_sample_when_others_come() -> None:
    make_hosts(100)
    before = meant(all=True, sample={"percent": 10})

    make_hosts(100)

    assert before <= meant(all=True, sample={"percent": 10})


def test_a_sample_larger_than_what_is_meant_is_all_of_it() -> None:
    hosts = make_hosts(3)

    assert meant(all=True, sample={"count": 10}) == meant(all=True, sample={"percent": 100}) == {h.pk for h in hosts}


def test_a_sample_is_taken_of_what_the_other_filters_leave() -> None:
    hosts = make_hosts(20)
    make_label("fragile", *hosts[:15])

    assert meant(all=True, exclude_labels=["fragile"], sample={"count": 5}) == {host.pk for host in hosts[15:]}


def test_a_sample_of_several_ranges_counts_once() -> None:
    near, far = make_hosts(10), [make_host(pk=100_000 + number) for number in range(10)]

    campaign = make_campaign(target={"hosts": [host.pk for host in near + far], "sample": {"count": 6}})

    assert campaign.count_targeted == campaign.expected == 6


def test_filters_hold_for_named_hosts_and_hosts_of_a_campaign() -> None:
    online, offline = make_hosts(2)
    Presence.objects.create(host=online, last_seen=timezone.now())
    earlier = make_campaign(online, offline)

    assert meant(hosts=[online.pk, offline.hostname], online=True) == {online.pk}
    assert meant(campaign={"id": earlier.pk, "states": ["waiting"]}, online=True) == {online.pk}


def test_hosts_of_an_earlier_campaign_by_state_and_by_group() -> None:
    one, two, other, silent = make_hosts(4)
    earlier = make_campaign(one, two, other, silent)
    for host, version in ((one, "5"), (two, "5"), (other, "6")):
        answer(earlier, host, {"version": version}, {"version": "all"})
    fives = next(group for group in groups(earlier, ["version"], "hosts", 9, 0) if group["values"] == {"version": "5"})
    whole = groups(earlier, [], "-hosts", 9, 0)[0]

    assert meant(campaign={"id": earlier.pk, "states": ["waiting"]}) == {silent.pk}
    assert meant(campaign={"id": earlier.pk, "states": ["waiting", "answered"]}) == {h.pk for h in Host.objects.all()}
    assert meant(campaign={"id": earlier.pk, "group": fives["key"]}) == {one.pk, two.pk}
    assert meant(campaign={"id": earlier.pk, "group": whole["key"]}) == {one.pk, two.pk}
    assert meant(campaign={"id": earlier.pk, "states": ["failed"], "group": whole["key"]}) == set()
    assert meant(campaign={"id": earlier.pk, "states": []}, hosts=[other.pk]) == {other.pk}


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ({"sample": {"percent": 5}}, "give at least one of all, labels, platforms, hosts, campaign"),
        ({"all": True, "sample": {"percent": 0}}, "sample.percent 0 is not"),
        ({"all": True, "sample": {"percent": 101}}, "sample.percent 101 is not"),
        ({"all": True, "sample": {"percent": "5"}}, "sample.percent '5' is not"),
        ({"all": True, "sample": {"count": 0}}, "sample.count 0 is not"),
        ({"all": True, "sample": {"count": True}}, "sample.count True is not"),
        ({"all": True, "sample": {"count": 1.5}}, "sample.count 1.5 is not"),
        ({"all": True, "sample": {"count": 1, "percent": 1}}, "is neither"),
        ({"all": True, "sample": 5}, "target.sample 5 is neither"),
        ({"campaign": 5}, "target.campaign 5 is not an object"),
        ({"campaign": {"id": 424242, "states": ["missed"]}}, "unknown campaign: 424242"),
        ({"campaign": {"id": 1}}, "give states or group"),
        ({"campaign": {"id": "x", "states": []}}, "'x' is not the id of a campaign"),
        ({"campaign": {"states": []}}, "None is not the id of a campaign"),
        ({"campaign": {"id": 1, "states": ["lost"]}}, "has 'lost', allowed are waiting"),
        ({"campaign": {"id": 1, "states": [["missed"]]}}, "has ['missed'], allowed are"),
        ({"campaign": {"id": 1, "states": "missed"}}, "target.campaign.states 'missed' is not a list"),
        ({"campaign": {"id": 1, "group": "x"}}, "group 'x' is not a key"),
        ({"campaign": {"id": 1, "group": 7}}, "group 7 is not a key"),
        ({"campaign": {"id": 1, "rows": 7}}, "unknown member 'rows'"),
        ({"all": True, "exclude_labels": ["lost"]}, "unknown label: 'lost'"),
    ],
)
def test_what_is_wrong_is_named(target: dict[str, Any], sentence: str) -> None:
    make_host()

    with pytest.raises(BadInputError) as refused:
        meant(**target)

    assert sentence in refused.value.sentence
    assert refused.value.field == "target"


def test_an_unusual_number_of_percents_is_refused() -> None:
    with pytest.raises(BadInputError):
        Selection.read({"all": True, "sample": {"percent": float("nan")}}, UNLIMITED)


@pytest.mark.parametrize("more", [{}, {"sample": {"count": 2}}, {"sample": {"percent": 50}, "online": True}])
def test_whoever_is_meant_is_found_by_one_query(more: dict[str, Any]) -> None:
    hosts = make_hosts(3)
    make_label("ours", *hosts)
    earlier = make_campaign(*hosts)
    answer(earlier, hosts[0], {"a": "1"})
    key = groups(earlier, (), "-hosts", 1, 0)[0]["key"]
    selection = Selection.read(
        {
            "labels": ["ours"],
            "platforms": ["linux"],
            "hosts": [hosts[0].pk, hosts[1].hostname],
            "campaign": {"id": earlier.pk, "states": [State.WAITING.value], "group": key},
            "exclude_labels": ["ours"],
            **more,
        },
        UNLIMITED,
    )

    selection.check_names()  # it looks labels up

    with CaptureQueriesContext(connection) as queries:
        list(selection.hosts(timezone.now()))

    assert len(queries) == 1


def test_hostnames_are_compared_without_case_and_identifiers_exactly() -> None:
    one = make_host(hostname="WEB-01", uuid="AbC", hardware_serial="SeR", host_identifier="IdEn")
    two = make_host(hostname="web-01")

    for name in ("web-01", "WEB-01", "Web-01"):
        assert meant(hosts=[name]) == {one.pk, two.pk}
        assert Selection.read({"hosts": [name]}, UNLIMITED).check_names() == [
            f"2 hosts are called {name!r}: all of them are meant"
        ]
    for name in ("AbC", "SeR", "IdEn"):
        assert meant(hosts=[name]) == {one.pk}
        with pytest.raises(BadInputError, match=f"unknown host: '{name.lower()}'"):
            meant(hosts=[name.lower()])


def test_a_revoked_host_is_unknown_by_every_name() -> None:
    make_host(hostname="gone", uuid="u-gone", revoked_at=timezone.now())

    for name in ("gone", "GONE", "u-gone"):
        with pytest.raises(BadInputError, match="unknown host"):
            meant(hosts=[name])


def test_any_number_of_names_is_one_question(django_assert_num_queries: Any) -> None:
    hosts = make_hosts(50)
    selection = Selection.read(
        {"hosts": [host.hostname.upper() for host in hosts] + [host.pk for host in hosts]}, UNLIMITED
    )

    with django_assert_num_queries(2):  # one for the ids, one for the names
        assert selection.check_names() == []
    with django_assert_num_queries(1):
        assert len(selection.hosts(timezone.now())) == 50


def test_more_hosts_than_one_target_may_name_are_refused() -> None:
    named = [f"nobody-{number}" for number in range(50_001)]

    with pytest.raises(BadInputError, match="names 50001 hosts, allowed are 50000"):
        meant(hosts=named)
    with pytest.raises(BadInputError, match=r"unknown host: 'nobody-0', .* and 49990 more"):
        meant(hosts=named[:50_000])
