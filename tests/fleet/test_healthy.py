"""What container engines ask: `python -m fleet.healthy`, and the file that processes touch."""

import os
import time
from pathlib import Path

import pytest

from fleet import alive, healthy


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(alive, "_touched", float("-inf"))
    return tmp_path / "alive"


def test_a_file_that_is_touched_is_well_and_one_that_never_was_is_not(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = healthy.main([str(file)])
    alive.note(str(file))

    assert (before, healthy.main([str(file)])) == (1, 0)
    assert capsys.readouterr().err == f"{file} was never touched: No such file or directory\n"


def test_a_process_that_stands_still_is_not_well(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alive.note(str(file))
    long_ago = time.time() - healthy.TOUCHED_WITHIN - 30
    os.utime(file, (long_ago, long_ago))

    assert healthy.main([str(file)]) == 1
    assert "was touched 90 seconds ago, the last time" in capsys.readouterr().err


def test_the_file_is_touched_once_a_second_at_most(file: Path) -> None:
    alive.note(str(file))
    file.unlink()

    alive.note(str(file))

    assert not file.exists()


def test_an_address_where_nobody_listens_is_not_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert healthy.main(["http://127.0.0.1:9/livez"]) == 1
    assert "does not answer as it should" in capsys.readouterr().err


def test_nothing_to_look_at_is_a_mistake_of_the_command() -> None:
    assert healthy.main([]) == 2
