"""Parquet, spreadsheets and the archive: read back by other programs, every row compared."""

import secrets
import zipfile
from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import duckdb
import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.test import APIClient

from agents.models import Host
from campaigns.answers import archive, columnar, retention
from campaigns.models import Campaign, Query, Result
from fleet.errors import NotFoundError
from tests.factories import answer, archive_in, end, make_campaign, make_hosts

pytestmark = pytest.mark.django_db(transaction=True)
Api = Callable[[User | None], APIClient]
ROWS = ({"n": "1", "text": "=cmd()"}, {"n": "007", "text": "ünï\n\"'"}, {"n": "-1.5", "host": "mine", "text": ""})


@pytest.fixture
def campaign(board: None, db: None) -> Campaign:
    """Give a campaign of two hosts whose rows hold what files trip over."""
    hosts = make_hosts(2)
    campaign = make_campaign(*hosts)
    for host in hosts:
        answer(campaign, host, *ROWS)
    return campaign


def content(client: APIClient, campaign: Campaign, kind: str) -> bytes:
    found: Any = client.get(f"/api/v1/campaigns/{campaign.pk}/export.{kind}")
    assert found.status_code == 200
    return b"".join(found.streaming_content)


def expected(campaign: Campaign) -> list[tuple[Any, ...]]:
    return [
        (result.hostname, result.host_id, row.get("n"), row.get("text"), row.get("host"), False, False)
        for result in campaign.results.order_by("seq")
        for row in result.rows
    ]


def test_a_parquet_file_holds_every_row(
    api: Api, observer: User, campaign: Campaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columnar, "ROWS_A_GROUP", 4)
    path = tmp_path / "rows.parquet"

    path.write_bytes(content(api(observer), campaign, "parquet"))
    found = duckdb.read_parquet(str(path))

    assert found.columns == ["host", "host_id", "n", "text", "row.host", "truncated", "late"]
    assert found.fetchall() == expected(campaign)


def test_a_spreadsheet_holds_every_row_and_runs_nothing(
    api: Api, observer: User, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columnar, "SHEET_ROWS", 4)

    book = zipfile.ZipFile(BytesIO(content(api(observer), campaign, "xlsx")))
    sheets = [ElementTree.fromstring(book.read(f"xl/worksheets/sheet{number}.xml")) for number in (1, 2)]  # noqa: S314 - ours

    space = {"s": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
    lines = [
        [(cell.get("t"), "".join(cell.itertext())) for cell in row.findall("s:c", space)]
        for sheet in sheets
        for row in sheet.findall("s:sheetData/s:row", space)[1:]
    ]
    assert len(lines) == 6
    assert [line[2] for line in lines[:3]] == [(None, "1"), ("inlineStr", "007"), (None, "-1.5")]
    assert lines[0][3] == ("inlineStr", "=cmd()")
    assert not [sheet for sheet in sheets if sheet.findall(".//s:f", space)]


def test_a_spreadsheet_takes_no_text_for_a_number_that_it_would_change() -> None:
    numbers = ("0", "-5", "1.5", "-0.25", "0.100000", "123456789012345", "1700000000.500000")
    texts = (
        "1.10",
        "1.50",
        "007",
        "-0",
        "+1",
        "1e5",
        " 1",
        "0x1F",
        "1.",
        ".5",
        "1234567890123456",
        "12345678901.12345",
    )

    assert [text for text in (*numbers, *texts) if columnar.is_number(text)] == list(numbers)


def test_a_spreadsheet_says_what_it_cannot_hold(
    api: Api, observer: User, board: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_hosts(1)[0]
    campaign = make_campaign(host)
    wide = {f"c{number:05}": "x" for number in range(columnar.SHEET_COLUMNS)}
    answer(campaign, host, {**wide, "c00000": "é" * 32_767, "c00001": "é" * 32_768, "c00002": "\U0001f600" * 20_000})

    book = zipfile.ZipFile(BytesIO(content(api(observer), campaign, "xlsx")))
    told = [text for text in ElementTree.fromstring(book.read("xl/worksheets/sheet2.xml")).itertext() if text.strip()]  # noqa: S314 - ours
    monkeypatch.setattr(columnar.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**19))
    refused = api(observer).get(f"/api/v1/campaigns/{campaign.pk}/export.xlsx")

    beyond = 2 * 4  # names and cells of four columns: ours are counted too
    assert told[0] == f"{2 + beyond} cells are cut here: a spreadsheet takes 32,767 characters of each."
    assert told[1] == "4 columns are missing: it takes 16,384."
    assert refused.status_code == 400
    assert "needs 1 MiB of room while it is written, 0 MiB are there (TMPDIR of" in refused.json()["error"]


def test_the_archive_has_every_answer_once_late_ones_too(campaign: Campaign, settings: Any, tmp_path: Path) -> None:
    archive_in(tmp_path / "archive", settings)
    Campaign.objects.filter(pk=campaign.pk).update(query=Query.objects.create(name="kept", sql="SELECT 1"))
    late = make_hosts(1)[0]

    archive.archive()  # it runs still
    early = list(tmp_path.rglob("*.parquet"))
    campaign = end(Campaign.objects.get(pk=campaign.pk))
    for _ in range(2):
        archive.archive()
    answer_late(campaign, late)
    for _ in range(2):
        archive.archive()

    files = sorted(path.name for path in tmp_path.rglob("*.parquet"))
    dataset = duckdb.read_parquet(f"{tmp_path}/archive/*/*/*.parquet", hive_partitioning=True, union_by_name=True)
    found = dataset.select('host, host_id, n, text, "row.host", late, truncated').fetchall()
    assert early == []
    assert files == [f"campaign-{campaign.pk}-1.parquet", f"campaign-{campaign.pk}-3.parquet"]
    assert sorted(map(str, found)) == sorted(map(str, expected(campaign)))


def answer_late(campaign: Campaign, host: Host) -> None:
    campaign.last_seq += 1
    campaign.save(update_fields=["last_seq"])
    content = {"hostname": host.hostname, "seq": 3, "state": "answered", "rows": [{"n": "9"}], "row_count": 1}
    Result.objects.create(campaign=campaign, host=host, received_at=timezone.now(), **content)


def test_columns_of_the_archive_keep_apart_from_those_of_its_folders(
    board: None, settings: Any, tmp_path: Path
) -> None:
    archive_in(tmp_path, settings)
    (host,) = make_hosts(1)
    row = {
        "Query": "SELECT 1",
        "day": "31",
        "DAY": "32",
        "Host": "h",
        "seq": "5",
        "": "no name",
        "name": "x",
        "Name": "y",
    }
    campaign = make_campaign(host)
    answer(campaign, host, row)
    end(campaign)

    archive.archive()

    dataset = duckdb.read_parquet(f"{tmp_path}/*/*/*.parquet", hive_partitioning=True, union_by_name=True)
    found = dict(zip(dataset.columns, dataset.fetchall()[0], strict=True))
    assert (found["query"], str(found["day"]), found["host"]) == (
        "none",
        f"{campaign.ended_at:%Y-%m-%d}",
        host.hostname,
    )
    columns = ["row.Query", "row.day", "row.DAY_2", "row.Host", "row.seq", "column6", "name", "Name_2"]
    assert sorted(found[name] for name in columns) == sorted(row.values())


def test_an_archive_that_fails_is_said_in_the_campaign_and_tried_again(
    campaign: Campaign, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "archive"
    place.write_text("a file where the folder should be")
    archive_in(place, settings)
    monkeypatch.setattr(archive, "AGAIN", archive.timedelta(0))
    end(campaign)

    archive.archive()
    told = Campaign.objects.get(pk=campaign.pk).warnings
    place.unlink()
    archive.archive()

    assert len(told) == 1
    assert told[0].startswith("its answers could not be archived: ")
    assert Campaign.objects.get(pk=campaign.pk).warnings == []
    assert len(list(place.rglob("*.parquet"))) == 1


def test_retention_waits_for_the_archive_and_the_archive_takes_nothing_of_what_is_deleted(
    campaign: Campaign, settings: Any, tmp_path: Path
) -> None:
    archive_in(tmp_path, settings)
    settings.CAMPAIGN_RETENTION_DAYS, ago = 1, timedelta(days=400)
    kept, gone = end(campaign, ago), end(make_campaign(*make_hosts(1)), ago)

    retention.purge()
    waiting = set(Campaign.objects.all())
    archive.archive()
    retention.delete(gone.pk, "tester")
    with pytest.raises(NotFoundError, match="was deleted meanwhile"):
        archive._write(gone, 0)
    retention.purge()

    assert waiting == {kept, gone}
    assert not Campaign.objects.exists()
    assert len(list(tmp_path.rglob("*.parquet"))) == 1


def test_a_storage_that_hangs_keeps_a_few_runs_and_no_more(campaign: Campaign, settings: Any, tmp_path: Path) -> None:
    archive_in(tmp_path, settings)
    others = [end(make_campaign(*make_hosts(1))) for _ in range(archive.RUNS_AT_ONCE)]
    end(campaign)

    for other in others:
        assert archive._taken(other)
    archive.archive()
    while_hung = list(tmp_path.rglob("*.parquet"))
    archive.Archive.objects.filter(campaign=others[0]).update(due_at=timezone.now())
    archive.archive()

    assert while_hung == []
    assert len(list(tmp_path.rglob("*.parquet"))) == 1


def test_a_large_campaign_is_archived_in_files_of_a_bounded_size_each_answer_once(
    board: None, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "AGAIN", archive.timedelta(0))
    monkeypatch.setattr(columnar, "CHARACTERS_A_GROUP", 50_000)
    settings.ARCHIVE_FILE_BYTES = 96_000
    archive_in(tmp_path, settings)
    hosts = make_hosts(9)
    campaign = make_campaign(*hosts)
    for host in hosts:
        answer(campaign, host, *({"n": str(n), "text": secrets.token_hex(500)} for n in range(60)))
    campaign = end(Campaign.objects.get(pk=campaign.pk))
    folder = tmp_path / archive.name_of(campaign, 0).rpartition("/")[0]
    in_the_way = folder / f"campaign-{campaign.pk}-5.parquet" / "of somebody else"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.touch()
    (folder / f"campaign-{campaign.pk}-1.parquet").write_text("of a try that died")

    archive.archive()
    told, then = Campaign.objects.get(pk=campaign.pk).warnings, sorted(path.name for path in folder.iterdir())
    in_the_way.unlink()
    archive.archive()

    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    found = duckdb.read_parquet(f"{folder}/*.parquet").select("host, host_id, n, text, NULL, truncated, late")
    assert "campaign-" in told[0]
    assert then == [f"campaign-{campaign.pk}-{first}.parquet" for first in (1, 5)]
    assert sorted(sizes) == [f"campaign-{campaign.pk}-{first}.parquet" for first in (1, 5, 9)]
    assert max(sizes.values()) < settings.ARCHIVE_FILE_BYTES + 100_000
    assert sorted(map(str, found.fetchall())) == sorted(map(str, expected(campaign)))
    assert Campaign.objects.get(pk=campaign.pk).warnings == []
