"""What others wrote is printed as text: never markup, never control."""

import ast
import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from django.conf import settings
from rich.console import Console

from campaigns.management.commands import collect, live, rebuild_board
from fleet import commands
from fleet.demo import show, supervisor
from fleet.text import LogLine, LogObject, shown, shown_lines

ROOT = Path(__file__).parents[2]
NASTY = "[kthreadd] [/x] 01:23:45:cd:89:ab \x1b[31m \x9b2J \u202eevil\u2066 a\rb\tc"
HARMLESS = r"[kthreadd] [/x] 01:23:45:cd:89:ab \x1b[31m \x9b2J ⟨U+202E⟩evil⟨U+2066⟩ a\x0db\x09c"


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        (NASTY, HARMLESS),
        ("a\nb", r"a\x0ab"),
        ("zero\u200bwidth \u2028 \ufeff \ud800", "zero⟨U+200B⟩width ⟨U+2028⟩ ⟨U+FEFF⟩ ⟨U+D800⟩"),
        (r"C:\x1b grüße 日本 👩‍💻 \u00a0", r"C:\x1b grüße 日本 👩‍💻 \u00a0"),
        ("", ""),
    ],
)
def test_a_text_is_exact_and_harmless(text: str, printed: str) -> None:
    assert shown(text) == printed
    assert shown_lines(f"{text}\nmore").endswith("\nmore")


def log_line(error: Exception | None = None) -> str:
    handler = logging.Handler()
    handler.setFormatter(cast(Any, _formatter()))
    trace = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("agents", logging.WARNING, __file__, 1, "host=%s", (f"{NASTY}\nforged",), trace)
    return handler.format(record)


def _formatter() -> LogLine:
    formats = settings.LOGGING["formatters"]["line"]
    assert formats["()"] == "fleet.text.LogLine"
    return LogLine(formats["format"], style="{")


def test_a_log_line_is_one_line_and_a_traceback_cannot_pass_for_one() -> None:
    first, *below = log_line(ValueError(f"{NASTY}\n2026-01-01 INFO forged")).split("\n")

    assert HARMLESS in first
    assert r"\x0aforged" in first
    assert any(HARMLESS in line for line in below)
    assert all(line.startswith("  ") for line in below)


def demo_printed() -> str:
    item = {"host": {"hostname": NASTY}, "rows": [{"name": NASTY, NASTY: "1"}]}
    demo = SimpleNamespace(get=lambda _: {"results": [item]})
    output = io.StringIO()
    show._rows(cast(Any, demo), Console(file=output, width=1000), 1)
    return output.getvalue()


def said() -> str:
    with redirect_stderr(io.StringIO()) as output:
        supervisor.say(NASTY)
    return output.getvalue()


def command_printed() -> str:
    output = io.StringIO()
    command = commands.Command(stdout=cast(Any, output), stderr=cast(Any, output), no_color=True)
    command.stdout.write(NASTY)
    command.stderr.write(NASTY)
    return output.getvalue()


def every_place() -> Iterator[tuple[str, str]]:
    yield "the demo's table", demo_printed()
    yield "the demo's sentences", said()
    yield "management commands", command_printed()
    yield "log lines", log_line()


def test_every_place_that_prints_shows_texts_as_they_are() -> None:
    for place, printed in every_place():
        assert HARMLESS in printed, place
        assert all(character.isprintable() or character == "\n" for character in printed), place


def test_every_command_of_ours_prints_by_the_rule() -> None:
    from agents.management.commands import osquery_flags, simulate

    for module in (osquery_flags, simulate, collect, live, rebuild_board):
        assert issubclass(module.Command, commands.Command), module.__name__


@pytest.mark.parametrize("arguments", [["--hosts", "1", "--nowhere\x1b[2J"], ["--hosts", "\x1b[2J"]])
def test_a_refused_command_line_is_quoted_as_text(arguments: list[str]) -> None:
    command = [sys.executable, "manage.py", "simulate", *arguments]
    environment = {"DATABASE_URL": "postgres:///unused", "PATH": ""}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert r"\x1b[2J" in ended.stderr
    assert "\x1b" not in ended.stderr


def test_what_nobody_caught_is_printed_as_text() -> None:
    code = "import sys; from fleet.text import show_uncaught; sys.excepthook = show_uncaught; raise OSError('\\x1b[2J')"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert r"OSError: \x1b[2J" in ended.stderr


def test_what_nobody_caught_in_any_thread_and_refused_settings_are_objects_where_logs_are() -> None:
    code = (
        "import threading; from fleet.text import show_all_uncaught, show_refusal; show_all_uncaught()\n"
        "show_refusal(ValueError('LOG_LEVEL is wrong'))\n"
        "thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()\n"
        "raise OSError('\\x1b[2J')"
    )
    environment = {"LOG_FORMAT": "json", "PATH": ""}
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)

    told = [json.loads(line) for line in ended.stderr.splitlines()]
    assert told[0]["event"] == "LOG_LEVEL is wrong"
    assert ["ZeroDivisionError" in told[1]["exception"], "OSError" in told[2]["exception"]] == [True, True]
    assert ended.returncode == 1


def log_object(pattern: str, *values: object, error: Exception | None = None) -> dict[str, Any]:
    trace = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("agents.gateway", logging.WARNING, __file__, 1, pattern, values, trace)
    line = LogObject().format(record)
    assert "\n" not in line
    told: dict[str, Any] = json.loads(line)
    return told


def test_values_without_a_name_stand_in_the_event_and_hide_no_other() -> None:
    told = log_object("campaign %s campaign=%s seconds=%.1f by=%r", "paused", 12, 1.25, "eve")

    assert told["event"] == "campaign paused"
    assert (told["campaign"], told["seconds"], told["by"]) == (12, 1.25, "eve")


def events() -> list[tuple[str, str]]:
    """Give the file and the pattern of every line that our own code logs."""
    calls = [
        (file.name, node.args[0].value)
        for room in ("agents", "campaigns", "fleet")
        for file in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and getattr(node.func.value, "id", "") == "logger"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ]
    assert len(calls) > 50
    return calls


def test_every_event_that_speaks_of_a_campaign_names_it_as_a_member() -> None:
    """So that one campaign is found by its id alone, in whatever process."""
    assert [each for each in events() if re.search(r"campaign[^=]*%", each[1]) and "campaign=%s" not in each[1]] == []


def test_no_part_of_a_member_is_left_in_the_event() -> None:
    """As the port was of `address=%s:%s`: the event was "figures are served:9100"."""
    assert [each for each in events() if re.search(r"=%[-\d.]*[a-z](?!:? |$)", each[1])] == []


def test_a_log_object_names_what_the_event_names() -> None:
    told = log_object("range armed campaign=%s range=%s hosts=%s", 12, 0, 300)

    assert told["event"] == "range armed"
    assert (told["campaign"], told["range"], told["hosts"]) == (12, 0, 300), "numbers stay numbers"
    assert (told["level"], told["logger"]) == ("warning", "agents.gateway")
    assert datetime.fromisoformat(told["at"]).tzinfo is not None


def test_a_value_of_a_log_object_cannot_pass_for_another_member() -> None:
    told = log_object("entry dropped reason=%s", 'gone campaign=99", "campaign": "99\n')

    assert told["reason"] == 'gone campaign=99", "campaign": "99\n'
    assert "campaign" not in told


@pytest.mark.parametrize(
    ("pattern", "values", "event"),
    [
        ("board rebuilt", (), "board rebuilt"),
        ("live queries switched %s by=%s", ("off", "admin"), "live queries switched off"),
        ("range not armed campaign=%s: the board is not whole", (7,), "range not armed: the board is not whole"),
        ("100%% of %s", ("all",), "100% of all"),
    ],
)
def test_every_log_line_is_an_event(pattern: str, values: tuple[object, ...], event: str) -> None:
    assert log_object(pattern, *values)["event"] == event


def test_an_exception_is_a_member_and_no_member_of_our_own_is_overwritten() -> None:
    told = log_object("failed level=%s at=%s", "high", "noon", error=ValueError("broken"))

    assert (told["level"], told["level_"], told["at_"]) == ("warning", "high", "noon")
    assert "ValueError: broken" in told["exception"]
