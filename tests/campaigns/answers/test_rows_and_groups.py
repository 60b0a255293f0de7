"""What hosts answered, as pages of rows and of groups, computed in Postgres."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from campaigns.answers import groups, rows, sorting
from campaigns.models import Campaign
from campaigns.states import State
from tests.factories import answer, make_campaign, make_host, make_hosts

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Api = Callable[[User | None], APIClient]
Get = Callable[[str], Any]


@pytest.fixture
def campaign() -> Campaign:
    """Give a campaign with three answers of rows, one without rows, one error and one silent host."""
    hosts = make_hosts(6)
    campaign = make_campaign(*hosts)
    answer(campaign, hosts[0], {"name": "init", "mem": "9"}, {"name": "50%_x", "mem": "10"})
    answer(campaign, hosts[1], {"name": "init", "mem": "1e+02.0"}, {"name": "cat"})
    answer(campaign, hosts[2], {"name": "50%_x", "mem": "10"}, {"name": "init", "mem": "9"})
    answer(campaign, hosts[3])
    answer(campaign, hosts[4], state=State.FAILED, error="no such table")
    return campaign


@pytest.fixture
def get(api: Api, observer: User, campaign: Campaign) -> Get:
    """Give what an observer reads below the campaign's address."""

    def read(path: str) -> Any:
        return api(observer).get(f"/api/v1/campaigns/{campaign.pk}/{path}")

    return read


def cells(answer: Any, column: str) -> list[str | None]:
    return [item["row"].get(column) for item in answer.json()["results"]]


def test_rows_come_in_order_of_seq(get: Get, campaign: Campaign) -> None:
    items = get("rows/").json()["results"]

    assert [item["seq"] for item in items] == [1, 1, 2, 2, 3, 3]
    assert items[0] == {
        "seq": 1,
        "host": {"id": items[0]["host"]["id"], "hostname": campaign.targets.order_by("host_id")[0].hostname},
        "row": {"name": "init", "mem": "9"},
        "truncated": False,
    }


def test_pages_far_down_the_list_hold_the_same_rows(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = get("rows/").json()["results"]
    monkeypatch.setattr(rows, "FAR", 1)

    pages = [get(f"rows/?limit=2&offset={offset}&up_to=3").json()["results"] for offset in range(8)]

    assert pages == [whole[offset : offset + 2] for offset in range(8)]
    assert len(whole) == 6


def test_numbers_sort_as_numbers_then_text_and_what_is_missing_last(get: Get) -> None:
    assert cells(get("rows/?order=mem"), "mem") == ["9", "9", "10", "10", "1e+02.0", None]
    assert cells(get("rows/?order=-mem"), "mem") == ["1e+02.0", "10", "10", "9", "9", None]
    assert cells(get("rows/?order=-name"), "name")[:1] == ["init"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("where=name:init", 3),
        ("where=name:init&where=mem:9", 2),
        ("where=name:INIT", 0),
        ("search=INI", 3),
        ("search=%25", 2),
        ("search=_", 2),
        ("search=name", 0),
        ("search=host-", 6),
        ("where=mem:", 0),
    ],
)
def test_rows_are_found_by_value(get: Get, query: str, found: int) -> None:
    assert len(get(f"rows/?{query}").json()["results"]) == found


def test_hosts_are_found_and_sorted_by_name_beside_a_column_of_that_name(api: Api, observer: User) -> None:
    """As answers of logged_in_users and last have."""
    one, other = make_host(hostname="web-1"), make_host(hostname="db-1")
    asked = make_campaign(one, other)
    answer(asked, one, {"host": "a"})
    answer(asked, other, {"host": "b"})

    def found(query: str) -> list[str | None]:
        return cells(api(observer).get(f"/api/v1/campaigns/{asked.pk}/rows/?{query}"), "host")

    assert found("order=host.hostname") == ["b", "a"]
    assert found("order=-host.hostname") == found("order=host") == ["a", "b"]
    assert found("contains=host.hostname:web") == found("where=host.hostname:web-1") == found("where=host:a") == ["a"]
    assert found("where=host:web-1") == []


def test_pages_of_rows_follow_each_other(get: Get, api: Api, observer: User) -> None:
    first = get("rows/?order=-mem&limit=4").json()
    second = api(observer).get(first["next"]).json()

    assert first["previous"] is None
    assert [item["row"].get("mem") for item in second["results"]] == ["9", None]
    assert second["next"] is None
    assert "offset=0" in second["previous"]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("rows/?order=size", "order 'size' is unknown, allowed are host, name, mem"),
        ("rows/?where=size:3", "where 'size:3' is not COLUMN:VALUE with one of name, mem"),
        ("rows/?where=name", "where 'name' is not COLUMN:VALUE"),
        ("rows/?limit=1001", "limit '1001' is not a number from 1 to 1000"),
        ("rows/?offset=-1", "offset '-1' is not a number"),
        ("rows/?search=%00", "NUL"),
        ("rows/?where=name:%00", "NUL"),
        ("groups/?by=name,size", "by 'size' is no column, there are name, mem"),
        ("groups/?order=size", "order 'size' is unknown, allowed are hosts"),
        ("groups/nonsense/hosts/", "group 'nonsense' is not a key"),
        ("groups/e30.00000000000000000000000000000000/hosts/", "is not a key"),
    ],
)
def test_what_is_wrong_is_named(get: Get, path: str, sentence: str) -> None:
    refused = get(path)

    assert refused.status_code == 400
    assert sentence in refused.json()["error"]


def test_before_the_first_answer_there_is_nothing(api: Api, observer: User) -> None:
    path = f"/api/v1/campaigns/{make_campaign(*make_hosts(1)).pk}"

    for query in ("rows/?order=-mem&where=name:x", "groups/?by=name", "groups/"):
        assert api(observer).get(f"{path}/{query}").json()["results"] == []


def test_groups_of_values_are_counted_by_hosts(get: Get) -> None:
    found = get("groups/?by=name").json()["results"]

    assert [(group["values"], group["hosts"], group["rows"]) for group in found] == [
        ({"name": "init"}, 3, 3),
        ({"name": "50%_x"}, 2, 2),
        ({"name": "cat"}, 1, 1),
    ]
    rare = get("groups/?by=name,mem&order=hosts&limit=2").json()
    assert {"name": "cat", "mem": None} in [group["values"] for group in rare["results"]]
    assert rare["next"]


def test_a_value_that_a_host_has_twice_counts_one_host(api: Api, observer: User) -> None:
    host = make_hosts(1)[0]
    campaign = make_campaign(host)
    answer(campaign, host, {"a": "x"}, {"a": "x"})

    found = api(observer).get(f"/api/v1/campaigns/{campaign.pk}/groups/?by=a").json()["results"]

    assert [(group["hosts"], group["rows"]) for group in found] == [(1, 2)]


@pytest.mark.parametrize("column", ["a", 'it\'s "%s" %\\ a,b', "\N{SNOWMAN}\n"])
def test_answers_that_are_alike_are_counted_as_if_each_was_looked_at(
    observer: User, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    hosts = make_hosts(6)
    campaign = make_campaign(*hosts)
    for host, cell in zip(hosts, ["x", "x", "x", "50%", "50%", "X"], strict=True):
        answer(campaign, host, {column: cell}, {"b": cell}, {column: cell}, {column: ""})
    campaign.refresh_from_db()

    def counted(search: str) -> list[dict[str, Any]]:
        return groups.groups(campaign, [column], "-hosts", 10, 0, search)

    plain = [counted(search) for search in ("", "x", "%", "z")]
    monkeypatch.setattr(groups, "SAMPLED_ABOVE", 3)
    monkeypatch.setattr(groups, "SAMPLE", 6)

    assert groups._are_alike(campaign, [column])
    assert [counted(search) for search in ("", "x", "%", "z")] == plain
    assert sorted((next(iter(group["values"].values())) or "", group["rows"]) for group in plain[0]) == [
        ("", 6),
        ("", 6),
        ("50%", 4),
        ("X", 2),
        ("x", 6),
    ]


def test_whole_answers_are_alike_whatever_the_order_of_their_rows(get: Get) -> None:
    found = get("groups/").json()["results"]

    assert (found[0]["hosts"], found[0]["rows"], len(found[0]["answer"])) == (2, 4, 2)
    assert (1, 0, []) in [(group["hosts"], group["rows"], group["answer"]) for group in found]
    assert len(found) == 3


@pytest.mark.parametrize("by", ["", "by=name", "by=name,mem"])
def test_a_key_finds_its_hosts_again(get: Get, by: str) -> None:
    found = get(f"groups/?{by}").json()["results"]

    assert found
    for group in found:
        hosts = get(f"groups/{group['key']}/hosts/").json()["results"]

        assert len(hosts) == group["hosts"]
        assert hosts == sorted(hosts, key=lambda host: host["seq"])


def test_columns_whose_names_hold_commas_and_colons(api: Api, observer: User) -> None:
    host = make_hosts(1)[0]
    campaign = make_campaign(host)
    answer(campaign, host, {"max(a,b)": "1", "max(a": "2", "x:y": "z:z", "x": "y:z:z", "%s": "p"})
    path = f"/api/v1/campaigns/{campaign.pk}"

    found = api(observer).get(f"{path}/groups/?by=max(a,b),%25s").json()["results"]

    assert found[0]["values"] == {"max(a,b)": "1", "%s": "p"}
    assert len(api(observer).get(f"{path}/rows/?where=x:y:z:z&order=-%25s").json()["results"]) == 1
    assert len(api(observer).get(f"{path}/groups/{found[0]['key']}/hosts/").json()["results"]) == 1


def test_columns_are_meant_by_themselves_beside_one_that_joins_their_names(api: Api, observer: User) -> None:
    host = make_hosts(1)[0]
    campaign = make_campaign(host)
    answer(campaign, host, {"a": "1", "b": "2", "a,b": "3"})
    client, path = api(observer), f"/api/v1/campaigns/{campaign.pk}/groups/"
    ways = {"by=a,b": {"a,b": "3"}, "by=a&by=b": {"a": "1", "b": "2"}, "by=b,a,b": {"b": "2", "a,b": "3"}}

    for by, values in ways.items():
        assert client.get(f"{path}?{by}").json()["results"][0]["values"] == values, by
    refused = client.get(f"{path}?by=a,b&by=c")

    assert (refused.status_code, refused.json()["error"]) == (400, "by 'c' is no column, there are a, b, a,b")


def test_numbers_beyond_measure_sort_as_text(api: Api, observer: User) -> None:
    host = make_hosts(1)[0]
    campaign = make_campaign(host)
    values = ["1e999999999", "9" * 500, "-5", "x", "0x10", ""]
    answer(campaign, host, *({"a": value} for value in values))

    found = api(observer).get(f"/api/v1/campaigns/{campaign.pk}/rows/?order=a")

    assert found.status_code == 200
    assert cells(found, "a")[0] == "-5"


LIKE_NUMBERS = """
0 -0 00 7 007 -7 +7 1_000 0x1F 0b1 1. .5 -.5 - . / 1.0 1.50 -1.5 12.5.6 1,5 1e3 1E3 1e-3 1e+20.0 -1e+20.0 2e5.0 1e3.5 1e
1e1000 1e999 NaN Infinity -Infinity inf nan 9223372036854775807 9223372036854775808 123456789012345678901234567890 1e+
2026-01-01 10.0.0.1 1a a1 \N{ARABIC-INDIC DIGIT ONE}"""
LONG_NUMBERS = ["9" * 40, "9" * 41, f"0.{'1' * 40}", f"0.{'1' * 41}", f"{'8' * 40}.{'8' * 40}"]
LOOK_LIKE_NUMBERS = [*LIKE_NUMBERS.split(), "", " 1", "1 ", "1\n", *LONG_NUMBERS]


def as_sorted(cell: str) -> tuple[bool, Decimal, str]:
    found = re.fullmatch(r"(-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?)(\.0)?", cell)
    plain = found is not None and (not found[2] or "e" in cell.lower() or re.fullmatch("-?[0-9]{1,40}", found[1]))
    return not plain, Decimal(found[1]) if plain and found else Decimal(0), cell


@pytest.mark.parametrize("with_validity", [sorting.WITH_VALIDITY, 10**9])
def test_only_what_is_a_number_sorts_as_one(
    api: Api, observer: User, monkeypatch: pytest.MonkeyPatch, with_validity: int
) -> None:
    monkeypatch.setattr(sorting, "WITH_VALIDITY", with_validity)
    campaign = make_campaign(host := make_hosts(1)[0])
    answer(campaign, host, *({"a": value} for value in LOOK_LIKE_NUMBERS))

    path = f"/api/v1/campaigns/{campaign.pk}/rows/?limit=20&order=a"
    found = [cell for offset in (0, 20, 40) for cell in cells(api(observer).get(f"{path}&offset={offset}"), "a")]

    assert found == sorted(LOOK_LIKE_NUMBERS, key=as_sorted)


@pytest.mark.parametrize("column", ["a", 'say "%s" %', "\N{SNOWMAN}" * 30])
def test_pages_of_many_answers_are_those_of_the_whole_order(
    api: Api, observer: User, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    monkeypatch.setattr(rows, "SAMPLED_ABOVE", 3)
    monkeypatch.setattr(sorting, "SAMPLE", 4)
    hosts = make_hosts(6)
    campaign = make_campaign(*hosts)
    for host, values in zip(hosts, ["9 x", "10 y", "x", "2 z", "1 2 x", "11"], strict=True):
        answer(campaign, host, *({column: value} for value in values.split()), {"b": "no cell"})

    def pages(order: str, filters: str = "") -> list[str | None]:
        path = f"/api/v1/campaigns/{campaign.pk}/rows/?limit=1&order={quote(order)}{filters}"
        return [cells(api(observer).get(f"{path}&offset={place}"), column)[0] for place in range(12)]

    assert pages(column) == ["1", "2", "2", "9", "10", "11", "x", "x", "x", "y", "z", None]
    assert pages(f"-{column}") == ["11", "10", "9", "2", "2", "1", "z", "y", "x", "x", "x", None]
    assert pages(column, "&search=host-")[:7] == ["1", "2", "2", "9", "10", "11", "x"]


def test_strangers_see_nothing(api: Api, stranger: User, campaign: Campaign) -> None:
    for path in ("rows/", "groups/", f"groups/{'0' * 32}/hosts/"):
        assert api(stranger).get(f"/api/v1/campaigns/{campaign.pk}/{path}").status_code == 403


# --- as people see them ----------------------------------------------------------------------------------------


def test_rows_are_found_by_parts_of_columns_and_by_host(get: Get, campaign: Campaign) -> None:
    hostname = campaign.targets.order_by("host_id")[1].hostname

    assert cells(get("rows/?contains=name:%25_"), "name") == ["50%_x", "50%_x"]
    assert cells(get("rows/?contains=name:IN&contains=mem:02"), "mem") == ["1e+02.0"]
    assert len(cells(get(f"rows/?where=host:{hostname}"), "name")) == 2
    assert get("rows/?contains=nonsense:1").status_code == 400


def test_rows_of_one_host_are_found_by_its_number_and_not_those_of_its_namesake(get: Get, campaign: Campaign) -> None:
    one, other, third = campaign.targets.order_by("host_id")[:3]
    campaign.results.filter(host_id__in=(one.host_id, other.host_id)).update(hostname="twin")

    assert cells(get("rows/?where=host:twin"), "mem") == ["9", "10", "1e+02.0", None]
    assert cells(get(f"rows/?host={one.host_id}"), "mem") == ["9", "10"]
    assert cells(get(f"rows/?host={other.host_id}&order=-name"), "name") == ["init", "cat"]
    assert cells(get(f"rows/?host={one.host_id}&host={third.host_id}&where=name:init"), "mem") == ["9", "9"]
    assert cells(get("rows/?host=999999999999999999&cut=300"), "mem") == []
    exported = b"".join(get(f"export.csv?host={other.host_id}").streaming_content).decode()
    assert [line.split(",")[:3] for line in exported.splitlines()[1:]] == [
        ["twin", str(other.host_id), name] for name in ("init", "cat")
    ]


@pytest.mark.parametrize("wrong", ["twin", "-1", "", "1.0", "1" * 19, "\N{SUPERSCRIPT TWO}"])
def test_what_is_no_number_of_a_host_is_named(get: Get, wrong: str) -> None:
    for path in ("rows/", "export.csv"):
        refused = get(f"{path}?host={quote(wrong)}")

        assert refused.status_code == 400
        assert refused.json()["error"].startswith(f"host {wrong!r} is no number of a host")


def test_cells_are_cut_when_asked_and_a_row_is_given_whole(get: Get, campaign: Campaign) -> None:
    host = campaign.targets.order_by("host_id")[5]
    answer(campaign, host.host, {"name": "x" * 5_000, "mem": "1"})

    seen = get("rows/?cut=300&order=-name").json()["results"][0]

    assert (len(seen["row"]["name"]), seen["row"]["mem"], seen["cut"]) == (300, "1", ["name"])
    assert (seen["late"], seen["in_doubt"]) == (False, False)
    assert len(get(f"rows/{seen['seq']}/{seen['place']}/").json()["name"]) == 5_000
    assert get(f"rows/{seen['seq']}/99/").status_code == 404
    assert get("rows/?cut=0").status_code == 400


def test_the_table_is_exported_as_it_is_seen(get: Get) -> None:
    exported = get("export.csv?where=name:init&order=-mem&column=mem")
    lines = b"".join(exported.streaming_content).decode().splitlines()

    assert lines[0] == "host,host_id,mem,truncated,late"
    assert [line.split(",")[2] for line in lines[1:]] == ["1e+02.0", "9", "9"]
    assert get("export.csv?column=nonsense").status_code == 400
