"""What is printed of a campaign, however that ends, and how counts are drawn on a terminal while they change."""

import os
import pty
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fleet_live_queries import Client
from fleet_live_queries.command import program, silent_file
from fleet_live_queries.command.counting import GroupWriter
from fleet_live_queries.command.printing import Printer
from fleet_live_queries.command.statuses import LeftError
from fleet_live_queries.command.terminal import Terminal
from fleet_live_queries.command.verbs import ask
from fleet_live_queries.errors import ForbiddenError, NotFoundError, UnreachableError

URL = "https://fleet.example/campaigns/7/"
LONG = "x" * 300  # a column that the server does not list


class Campaign:
    def __init__(self, ended_at: str | None = None) -> None:
        self.facts: dict[str, Any] = {"columns": [], "url": URL, "ended_at": ended_at}
        self.looks = 0

    def refresh(self) -> None:
        self.looks += 1
        self.facts["columns"] = ["a"]


class Written:
    """Keeps rows; does something in the middle of its end."""

    def __init__(self, in_the_end: Callable[[], object] = int) -> None:
        self.rows: list[dict[str, str]] = []
        self.is_whole, self._in_the_end = False, in_the_end

    def row(self, item: Any, row: dict[str, str], columns: list[str]) -> None:
        self.rows.append(row)

    def end(self, columns: list[str]) -> None:
        self._in_the_end()
        self.is_whole = True


def item(seq: int, **row: str) -> dict[str, Any]:
    return {"seq": seq, "rows": [row]}


def test_a_column_that_no_campaign_lists_is_asked_for_once() -> None:
    campaign, writer = Campaign(), Written()
    printer = Printer(campaign, Terminal(), writer)  # type: ignore[arg-type]

    with printer.ended():
        for seq in range(1, 6):
            printer.take(item(seq, a="1", **{LONG: "2"}))
        printer.take(item(6, b="1"))

    assert campaign.looks == 2
    assert (len(writer.rows), printer.seq, writer.is_whole) == (6, 6, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("ended_at", "said"), [(None, f"the campaign goes on: {URL}"), ("now", f"the campaign has ended: {URL}")]
)
def test_a_signal_while_the_end_is_written_tears_nothing_and_says_where_the_campaign_is(
    number: signal.Signals, ended_at: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = Written(lambda: os.kill(os.getpid(), number))
    printer = Printer(Campaign(ended_at), Terminal(), writer)  # type: ignore[arg-type]

    with pytest.raises(LeftError), printer.ended():
        printer.take(item(1, a="1"))

    assert writer.is_whole
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_wait_for_who_reads_no_more(number: signal.Signals) -> None:
    def twice() -> None:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)

    writer = Written(twice)
    printer = Printer(Campaign(), Terminal(), writer)  # type: ignore[arg-type]

    with pytest.raises(LeftError), printer.ended():
        printer.take(item(1, a="1"))

    assert not writer.is_whole


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_has_left_already_waits_no_more_at_the_next_signal(number: signal.Signals) -> None:
    writer = Written(lambda: os.kill(os.getpid(), number))
    printer = Printer(Campaign(), Terminal(), writer)  # type: ignore[arg-type]

    with pytest.raises(LeftError), printer.ended():
        os.kill(os.getpid(), number)

    assert not writer.is_whole


@pytest.mark.parametrize("error", [UnreachableError("no answer"), ForbiddenError("not any more")])
def test_who_cannot_go_on_gets_the_rows_and_where_the_campaign_is(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = Written()
    printer = Printer(Campaign(), Terminal(), writer)  # type: ignore[arg-type]

    with pytest.raises(type(error)), printer.ended():
        raise error

    assert writer.is_whole
    assert f"the campaign goes on: {URL}" in capsys.readouterr().err


def test_nothing_is_said_of_a_campaign_that_is_not_there_any_more(capsys: pytest.CaptureFixture[str]) -> None:
    writer = Written()

    with pytest.raises(NotFoundError), Printer(Campaign(), Terminal(), writer).ended():  # type: ignore[arg-type]
        raise NotFoundError("there is no campaign 7")

    assert writer.is_whole
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "launched", "error", "said"),
    [
        (["SELECT 1"], "", KeyboardInterrupt, "interrupted before it was known whether a campaign was launched"),
        (["SELECT 1"], URL, KeyboardInterrupt, f"interrupted: the campaign is at {URL}\n"),
        (["SELECT 1"], URL, LeftError, ""),
        (["ls"], "", KeyboardInterrupt, "interrupted\n"),
    ],
)
def test_an_interruption_says_what_is_known(
    words: list[str],
    launched: str,
    error: type[BaseException],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(context: Any) -> int:
        context.launched = launched
        raise error

    for module in (ask, program.found()["ls"]):
        monkeypatch.setattr(module, "run", run)

    assert program.run(words, "live") == 1
    found = capsys.readouterr().err
    assert found.startswith(said)
    assert found.count("\n") == bool(said)


def test_a_word_that_is_told_to_end_says_so_and_leaves_nothing_half_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLEET_URL", "https://127.0.0.1:1")
    monkeypatch.setenv("FLEET_TOKEN", "x")

    def pieces(*_: object) -> Iterator[bytes]:
        yield b"a"
        assert [*tmp_path.iterdir()] != []
        os.kill(os.getpid(), signal.SIGTERM)
        yield b"b"

    monkeypatch.setattr(Client, "campaign", lambda *_: SimpleNamespace(export=pieces))

    assert program.run(["export", "1", "--output", str(tmp_path / "rows.csv")], "live") == 1
    assert capsys.readouterr().err == "interrupted\n"
    assert [*tmp_path.iterdir()] == []


SILENT = [{"host": {"id": 7, "hostname": "sv-é\n"}, "state": "missed"}]


def test_the_file_of_silent_hosts_is_open_before_the_launch_and_keeps_what_it_held(tmp_path: Path) -> None:
    new, old, pipe = tmp_path / "new", tmp_path / "old", tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    old.write_text("id:1\n")
    for file in (new, old):
        with suppress(ForbiddenError), silent_file.opened(str(file)):
            assert file.exists()
            raise ForbiddenError("no launch")
    after_refusals = (new.exists(), old.read_text())
    for file in (new, old, pipe):
        with silent_file.opened(str(file)) as silent:
            assert silent is not None
            assert silent.write(SILENT) == 1

    assert after_refusals == (False, "id:1\n")
    line = r"id:7  # 'sv-\xe9\n' missed"
    assert [new.read_text(), old.read_text(), os.read(reader, 100).decode()] == [f"{line}\n"] * 3
    os.close(reader)


# --- on a terminal -------------------------------------------------------------------------------------------------


@contextmanager
def one_screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Let stdout and stderr be one terminal; give what reads all that was written there."""
    mine, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("LINES", raising=False)
    opened = [os.fdopen(os.dup(theirs), "w") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", opened[0])
    monkeypatch.setattr(sys, "stderr", opened[1])

    def read() -> str:
        for stream in opened:
            stream.close()
        os.close(theirs)
        found = b""
        with suppress(OSError):  # what Linux says when nobody has the other end open
            while piece := os.read(mine, 65536):
                found += piece
        return found.decode()

    try:
        yield read
    finally:
        os.close(mine)


def test_counts_are_drawn_below_what_is_said_and_leave_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    with one_screen(monkeypatch) as screen:
        terminal = Terminal()
        writer = GroupWriter("a", "table", terminal)
        terminal.say("campaign 7")
        terminal.progress("none yet")
        for seq in range(1, 4):
            writer.row({"seq": seq}, {"a": "[red]"}, [])
            terminal.progress(f"{seq} answered")
            terminal.say(f"warning {seq}", "yellow")
        terminal.settle()
        terminal.say("[s]top?")
        terminal.progress("going on")
        writer.row({"seq": 4}, {"a": "[red]"}, [])
        terminal.settle()
        writer.end([])
        seen = screen()

    drawn_first, question, rest = seen.partition("[s]top?\r\n")
    assert drawn_first.startswith("campaign 7\r\n\r\x1b[2Knone yet\r\x1b[2K")
    assert [drawn_first.count(f"warning {seq}\x1b[0m") for seq in range(1, 4)] == [1, 1, 1]
    assert drawn_first.endswith("\r\x1b[2K3 answered\r\n")
    assert question
    assert rest.startswith("\r\x1b[2K\x1b[?25lgoing on"), "the table is there again with the progress"
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h") == 2, "the cursor comes back"
    last = rest.rpartition("\x1b[2K")[2].splitlines()
    assert [line.split("│")[1:4] for line in last if "[red]" in line] == [[" [red] ", " 4     ", " 4    "]]
