"""Copies of a campaign that runs: what came since is added, and they say what a whole copy says."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from agents.models import Host
from campaigns.analysis import copies
from campaigns.analysis.asking import ask
from campaigns.analysis.copies import Source
from campaigns.analysis.sight import sight_of
from campaigns.models import Campaign, Result
from fleet.errors import BadInputError, UnavailableError
from tests.factories import answer, make_campaign, make_hosts

pytestmark = pytest.mark.django_db(transaction=True)
EVERYTHING = "SELECT * EXCLUDE (labels) FROM answers ORDER BY ALL"
# A type is lost, a column comes, a moment has an offset, an empty column is filled, a host has no rows, a text stands
# among numbers.
COMING = (
    ({"n": "1", "at": "2026-01-31 08:00:00", "empty": "", "version": "1", "when": "2026-01-31 08:00:00"},),
    ({"n": "2", "at": "2026-01-31 09:00:00", "empty": "", "when": "2026-01-31 08:00:00-05"}, {"n": "3"}),
    ({"n": "4.5", "empty": "7", "late": "yes"},),
    (),
    ({"n": "5", "at": "tomorrow", "Late": "1", "version": "2"}, {"n": "", "empty": "x"}),
    ({"n": "007", "empty": "word"},),
)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Give what was written of answers: True = an earlier copy with what came since."""
    found: list[bool] = []
    write = copies._write

    def noted(path: Path, *args: Any, extends: bool = False) -> None:
        if ".answers." in path.name:
            found.append(extends)
        write(path, *args, extends=extends)

    monkeypatch.setattr(copies, "_write", noted)
    return found


def asked(campaign: Campaign, by: User) -> tuple[Any, Any]:
    found = ask(Campaign.objects.get(pk=campaign.pk), EVERYTHING, by)
    return found.columns, found.rows


def from_nothing(campaign: Campaign, by: User, settings: Any, tmp_path: Path) -> tuple[Any, Any]:
    kept, settings.ANALYSIS_DIR = settings.ANALYSIS_DIR, str(tmp_path / f"whole-{Result.objects.count()}")
    found = asked(campaign, by)
    settings.ANALYSIS_DIR = kept
    return found


def test_what_came_since_is_added_and_says_what_a_whole_copy_says(
    board: None, observer: User, written: list[bool], settings: Any, tmp_path: Path
) -> None:
    hosts = make_hosts(len(COMING))
    campaign = make_campaign(*hosts)

    for host, rows in zip(hosts, COMING, strict=True):
        answer(campaign, host, *rows)
        followed = asked(campaign, observer)

        assert followed == from_nothing(campaign, observer, settings, tmp_path), rows
    assert written[::2] == [False] + [True] * (len(COMING) - 1)
    assert not any(written[1::2])


def test_a_copy_from_before_the_database_was_restored_is_neither_used_nor_added_to(
    board: None, observer: User, written: list[bool]
) -> None:
    hosts = make_hosts(4)
    campaign = make_campaign(*hosts)
    for host in hosts[:2]:
        answer(campaign, host, {"n": "before"})
    asked(campaign, observer)

    Result.objects.filter(campaign=campaign, seq=2).delete()
    Campaign.objects.filter(pk=campaign.pk).update(last_seq=1)
    restored = Campaign.objects.get(pk=campaign.pk)
    Result.objects.create(
        campaign=restored, host=hosts[2], hostname="x", seq=2, state="answered", rows=[{"n": "after"}], row_count=1,
        received_at=Result.objects.get(campaign=campaign).received_at,
    )  # fmt: skip
    Campaign.objects.filter(pk=campaign.pk).update(last_seq=2)
    again = asked(campaign, observer)

    assert [row[-1] for row in again[1]] == ["before", "after"]
    assert written == [False, False]


def answered(host: Host) -> Campaign:
    campaign = make_campaign(host)
    answer(campaign, host, {"n": "1"})
    return campaign


def joined(*campaigns: Campaign) -> str:
    return "SELECT " + ", ".join(f"(SELECT count(*) FROM campaign_{campaign.pk})" for campaign in campaigns)  # noqa: S608 - their numbers


def test_room_is_never_made_of_copies_that_are_being_read(
    board: None, observer: User, copies_folder: Path, settings: Any
) -> None:
    runs = [answered(host) for host in make_hosts(3)]
    ask(runs[0], "FROM answers", observer)
    one = sum(path.stat().st_size for path in copies_folder.iterdir())

    settings.ANALYSIS_CACHE_BYTES = 2 * one
    both = ask(runs[0], joined(*runs[:2]), observer).rows
    with pytest.raises(BadInputError, match=r"are the most \(ANALYSIS_CACHE_BYTES\)"):
        ask(runs[0], joined(*runs), observer)
    left = sum(path.stat().st_size for path in copies_folder.iterdir())
    third = Source(runs[2], "answers", sight_of(observer), "all").held()
    again = ask(runs[0], joined(*runs[:2]), observer).rows
    names = {path.name.split(".")[0] for path in copies_folder.iterdir()}

    assert both == again == [[1, 1]]
    assert left <= settings.ANALYSIS_CACHE_BYTES
    assert str(runs[2].pk) in names
    third.close()
    settings.ANALYSIS_CACHE_BYTES = 2**17
    with pytest.raises(BadInputError, match=r"more than 131072 bytes, which is the limit \(ANALYSIS_CACHE_BYTES\)"):
        ask(answered(*make_hosts(1)), "FROM answers", observer)
    assert not list(copies_folder.glob("*.part*"))


def test_a_copy_that_goes_between_two_looks_is_written_again(
    board: None, observer: User, copies_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = answered(*make_hosts(1))
    source = Source(campaign, "answers", sight_of(observer), "all")
    source.held().close()
    exists = Path.exists

    def once(path: Path) -> bool:
        there = exists(path)
        monkeypatch.setattr(Path, "exists", exists)
        path.unlink()  # as another process does that makes room
        return there

    monkeypatch.setattr(Path, "exists", once)
    with source.held() as file:
        assert Path(file.name).exists()


def test_a_full_disk_is_said_without_its_places() -> None:
    told = copies.refusal('_duckdb.IOException: IO Error: Could not write file "/x/8.part": No space left on device')

    assert (told.status, str(told)) == (503, "the answers could not be copied: the disk of ANALYSIS_DIR is full")


def test_a_copy_that_cannot_be_read_is_said_and_written_anew(board: None, observer: User, copies_folder: Path) -> None:
    campaign = answered(*make_hosts(1))
    ask(campaign, "FROM answers", observer)
    for path in copies_folder.iterdir():
        os.truncate(path, path.stat().st_size // 2)

    with pytest.raises(UnavailableError, match="written anew: try again"):
        ask(campaign, "FROM answers", observer)

    assert len(ask(campaign, "FROM answers", observer).rows) == 1


def test_facts_of_hosts_and_states_go_when_nobody_reads_them_any_more(
    board: None, observer: User, copies_folder: Path
) -> None:
    campaign = answered(*make_hosts(1))
    ask(campaign, "FROM answers, hosts, targets", observer)
    there = {path.name.split(".")[1] for path in copies_folder.iterdir()}
    long_ago = time.time() - 200
    for path in copies_folder.iterdir():
        os.utime(path, (long_ago, long_ago))

    copies.forget_gone()

    assert there == {"answers", "hosts", "targets"}
    assert {path.name.split(".")[1] for path in copies_folder.iterdir()} == {"answers"}
