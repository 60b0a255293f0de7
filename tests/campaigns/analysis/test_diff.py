"""Two runs compared, on pages, as files and by groups."""

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import duckdb
import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from agents.models import Host
from campaigns.analysis import changes
from campaigns.answers import sight
from campaigns.models import Campaign, Result
from campaigns.states import State
from tests.factories import answer, make_campaign, make_hosts

pytestmark = pytest.mark.django_db(transaction=True)
Api = Callable[[User | None], APIClient]
SHEET, ROW = "xl/worksheets/sheet1.xml", ".//{http://schemas.openxmlformats.org/spreadsheetml/2006/main}row"


def package(name: str, version: str, pid: int) -> dict[str, str]:
    return {"name": name, "version": version, "pid": str(pid), "at": f"2026-01-31 08:{pid // 60:02}:{pid % 60:02}"}


@pytest.fixture
def runs(board: None, db: None) -> tuple[Campaign, Campaign, list[Host]]:
    """Give a run and a later one: hosts that changed, that stayed, that answered one of them, and one still asked."""
    hosts = make_hosts(6)
    before, after = make_campaign(*hosts), make_campaign(*hosts)
    ssl, bash = "openssl", "bash"
    for place, host in enumerate(hosts[:4]):
        answer(
            before,
            host,
            package(ssl, "3.0.18", place),
            package(bash, "5.2", 10 + place),
            package(bash, "5.2", 10 + place),
        )
    answer(before, hosts[5])
    answer(after, hosts[0], package(bash, "5.2", 50), package(bash, "5.2", 50), package(ssl, "3.0.19", 40))
    answer(after, hosts[1], package(ssl, "3.0.19", 41), package(ssl, "3.0.19", 42), package(bash, "5.2", 51))
    answer(after, hosts[2], package(bash, "5.2", 60), package(ssl, "3.0.18", 61), package(bash, "5.2", 60))
    answer(after, hosts[3], state=State.FAILED)  # no answer: it is only there
    answer(after, hosts[4], package(ssl, "3.0.19", 44))
    return before, after, hosts


def get(client: APIClient, path: str) -> Any:
    found = client.get(f"/api/v1/campaigns/{path}")
    assert found.status_code == 200, found.content
    return found


def text(answer: Any) -> str:
    return b"".join(answer.streaming_content).decode()


def test_each_host_whose_answer_differs_is_an_item_with_its_rows(
    api: Api, observer: User, runs: tuple[Campaign, Campaign, list[Host]]
) -> None:
    before, after, hosts = runs
    client = api(observer)
    address = f"{after.pk}/diff/?with={before.pk}&ignore=pid&ignore=at"

    body = get(client, address).json()
    first = get(client, f"{address}&limit=2").json()
    rest = client.get(first["next"]).json()

    items = {item["host"]["id"]: item for item in body["results"]}
    changes = {host: (item["change"], len(item["added"]), len(item["removed"])) for host, item in items.items()}
    assert changes == {
        hosts[0].pk: ("changed", 1, 1),
        hosts[1].pk: ("changed", 2, 2),
        hosts[3].pk: ("removed", 0, 3),
        hosts[4].pk: ("added", 1, 0),
    }
    assert items[hosts[0].pk]["added"] == [package("openssl", "3.0.19", 40)]
    assert items[hosts[0].pk]["removed"] == [package("openssl", "3.0.18", 0)]
    assert items[hosts[1].pk]["added"] == [package("openssl", "3.0.19", pid) for pid in (41, 42)]
    assert body["hosts"] == {"added": 1, "removed": 1, "changed": 2, "same": 1}  # the sixth is still asked
    assert body["suggested_ignore"] == ["pid", "at"]
    assert [*first["results"], *rest["results"]] == body["results"]
    assert (body["next"], rest["next"]) == (None, None)


def test_a_column_whose_values_stay_differs_not_where_rows_are_more(api: Api, observer: User, board: None) -> None:
    hosts = make_hosts(3)
    before, after = make_campaign(*hosts), make_campaign(*hosts)
    for number, host in enumerate(hosts):
        answer(before, host, {"pid": str(number), "uid": "0"})
        answer(after, host, {"pid": str(100 + number), "uid": "0"}, {"pid": str(200 + number), "uid": "0"})

    body = get(api(observer), f"{after.pk}/diff/?with={before.pk}").json()

    assert (body["hosts"]["changed"], body["suggested_ignore"]) == (3, ["pid"])


def test_what_may_be_cut_off_is_marked_and_is_no_change(
    api: Api, observer: User, operator: User, board: None, client: Client, tmp_path: Path
) -> None:
    cut, whole = make_hosts(2)
    before, after = make_campaign(cut, whole), make_campaign(cut, whole)
    for run in (before, after):
        for host in (cut, whole):
            answer(run, host, {"port": "22"}, *([{"port": "80"}] if run == after else []))
    Result.objects.filter(campaign=before, host=cut).update(truncated=True)

    def told() -> tuple[Any, list[str], str]:
        body = get(api(observer), f"{after.pk}/diff/?with={before.pk}").json()
        client.force_login(observer)
        page = client.get(f"/campaigns/{after.pk}/compare/?with={before.pk}").content.decode()
        return body, changes.sentences(after, before, operator, sight.seen_by), page

    body, sentences, page = told()

    marks = {item["host"]["id"]: item["truncated"] for item in body["results"]}
    assert (marks, body["truncated_hosts"]) == ({cut.pk: True, whole.pk: False}, 1)
    assert sentences == ["1 host newly gave port=80"]
    assert "1 host sent more rows than were kept in one of both" in page
    lines = text(get(api(observer), f"{after.pk}/diff.ndjson?with={before.pk}")).splitlines()
    assert sorted(json.loads(line)["truncated"] for line in lines) == [False, True]
    assert _marks_in_files(api(observer), f"{after.pk}/diff.%s?with={before.pk}", tmp_path) == {
        "csv": [("80", "false"), ("80", "true")],
        "parquet": [("80", False), ("80", True)],
        "xlsx": ["0", "1"],
        "groups": [{"change": "added", "hosts": "2", "port": "80", "truncated_hosts": "1"}],
    }


def _marks_in_files(client: APIClient, address: str, folder: Path) -> dict[str, Any]:
    """Give what each kind of file says in its last column, beside the port that came."""
    for kind in ("csv", "parquet", "xlsx"):
        (folder / kind).write_bytes(b"".join(get(client, address % kind).streaming_content))
    book = ElementTree.fromstring(zipfile.ZipFile(folder / "xlsx").read(SHEET))  # noqa: S314 - ours
    return {
        "csv": sorted(
            (row["port"], row["truncated"]) for row in csv.DictReader((folder / "csv").read_text().splitlines())
        ),
        "parquet": sorted((line[-2], line[-1]) for line in duckdb.read_parquet(str(folder / "parquet")).fetchall()),
        "xlsx": sorted("".join(line[-1].itertext()) for line in book.findall(ROW)[1:]),
        "groups": list(csv.DictReader(text(get(client, f"{address % 'csv'}&groups=true")).splitlines())),
    }


def test_groups_count_what_hosts_gained_and_lost(
    api: Api, observer: User, runs: tuple[Campaign, Campaign, list[Host]]
) -> None:
    before, after, _ = runs

    groups = get(api(observer), f"{after.pk}/diff/?with={before.pk}&ignore=pid&ignore=at&groups=true").json()["results"]

    assert groups[0] == {
        "row": {"name": "openssl", "version": "3.0.19"},
        "change": "added",
        "hosts": 3,
        "hosts_in_both": 2,
        "truncated_hosts": 0,
    }
    assert {(group["change"], group["row"]["version"], group["hosts"], group["hosts_in_both"]) for group in groups} == {
        *(("added", "3.0.19", 3, 2), ("removed", "3.0.18", 3, 2), ("removed", "5.2", 2, 1)),
    }


def test_files_hold_what_pages_show(
    api: Api, observer: User, runs: tuple[Campaign, Campaign, list[Host]], tmp_path: Path
) -> None:
    before, after, _ = runs
    client, query = api(observer), f"with={before.pk}&ignore=pid&ignore=at"

    items = get(client, f"{after.pk}/diff/?{query}").json()["results"]
    lines = [json.loads(line) for line in text(get(client, f"{after.pk}/diff.ndjson?{query}")).splitlines()]
    table = list(csv.DictReader(text(get(client, f"{after.pk}/diff.csv?{query}")).splitlines()))
    array = json.loads(text(get(client, f"{after.pk}/diff.json?{query}")))
    columnar, book = tmp_path / "diff.parquet", tmp_path / "diff.xlsx"
    for path in (columnar, book):
        path.write_bytes(b"".join(get(client, f"{after.pk}/{path.name}?{query}").streaming_content))
    grouped = list(csv.DictReader(text(get(client, f"{after.pk}/diff.csv?{query}&groups=true")).splitlines()))

    assert lines == array == items
    assert [{**row, "host_id": int(row["host_id"]), "truncated": row["truncated"] == "true"} for row in table] == [
        dict(zip(table[0], cells, strict=True)) for cells in duckdb.read_parquet(str(columnar)).fetchall()
    ]
    assert len(ElementTree.fromstring(zipfile.ZipFile(book).read(SHEET)).findall(ROW)) == 1 + len(table)  # noqa: S314 - ours
    assert [(row["host"], row["only"]) for row in table] == [
        (item["host"]["hostname"], only)
        for item in items
        for only, rows in (("there", item["removed"]), ("here", item["added"]))
        for _ in rows
    ]
    assert grouped[0] == {
        "change": "added",
        "hosts": "3",
        "name": "openssl",
        "version": "3.0.19",
        "truncated_hosts": "0",
    }


def test_what_cannot_be_compared_is_refused_in_words(
    api: Api, observer: User, stranger: User, runs: tuple[Campaign, Campaign, list[Host]]
) -> None:
    before, after, hosts = runs
    other = make_campaign(hosts[0], sql="SELECT 2")
    answer(other, hosts[0], {"uid": "1"})
    client = api(observer)
    refused = {
        f"{after.pk}/diff/": "with is missing",
        f"{after.pk}/diff/?with={after.pk}": "this campaign itself",
        f"{after.pk}/diff/?with={other.pk}": "asked different SQL and have different columns",
        f"{after.pk}/diff/?with={before.pk}&ignore=nope": "ignore 'nope' is no column, there are name, version, pid",
    }

    for path, words in refused.items():
        found = client.get(f"/api/v1/campaigns/{path}")
        assert (found.status_code, words in found.json()["error"]) == (400, True), found.json()
    assert client.get(f"/api/v1/campaigns/{after.pk}/diff/?with=999").status_code == 404
    assert api(stranger).get(f"/api/v1/campaigns/{after.pk}/diff/?with={before.pk}").status_code == 403
