"""What the command line says of itself, and prints by the server's own rules."""

import argparse
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import fleet_live_queries.command.spreadsheets
import fleet_live_queries.command.text
import pytest
from fleet_live_queries.command import profiles, verbs
from fleet_live_queries.command.arguments import parser_of
from fleet_live_queries.command.main import main

import fleet.spreadsheets
import fleet.text

PAGE = (Path(__file__).parents[2] / "docs/command-line.md").read_text()
WORDS = ("", *verbs.found())


def section(word: str) -> str:
    """Give the part of the page about a word, and what is said for all of them."""
    start = PAGE.index(f"### `live {word}" if word else '## `live "SELECT')
    end = re.compile(r"^##", re.MULTILINE).search(PAGE, start + 3)
    common = PAGE[PAGE.index("## Where the server is") : PAGE.index('## `live "SELECT')]
    return PAGE[start : end.start() if end else None] + common


@pytest.mark.parametrize("word", WORDS)
def test_the_page_has_every_option_of_every_word_and_no_other(word: str) -> None:
    parser = parser_of(word, "live")
    options = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}

    documented = set(re.findall(r"^\| `(--[a-z-]+)", section(word), re.MULTILINE))
    assert documented | {"--help"} == options
    texts = [action.help for action in parser._actions]
    assert all(texts), "each option says what it does"
    assert argparse.SUPPRESS not in texts or word == ""


def test_texts_and_cells_are_printed_by_the_servers_rules() -> None:
    texts = [chr(number) for number in (*range(0x3000), *range(0xD7F0, 0x10000), *range(0xE0000, 0xE0100))]

    ours, theirs = fleet.text, fleet_live_queries.command.text
    assert [theirs.shown(text) for text in texts] == [ours.shown(text) for text in texts]
    assert theirs.shown_lines("a\n\x1bb") == ours.shown_lines("a\n\x1bb")
    for name in ("harmless", "_without_lead", "beside", "in_order"):
        ours_of, theirs_of = (getattr(module, name) for module in (fleet.spreadsheets, _cells))
        assert inspect.getsource(ours_of) == inspect.getsource(theirs_of)


_cells = fleet_live_queries.command.spreadsheets


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_its_shell_and_knows_every_word(shell: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fleet_live_queries", "completion", shell]
    python_path = {"PYTHONPATH": str(Path(__file__).parents[2] / "clients/python")}
    script = subprocess.run(command, capture_output=True, text=True, check=True, env=python_path).stdout

    assert all(re.search(rf"\b{word}\b", script) for word in WORDS if word)
    file = tmp_path / "script"
    file.write_text(script)
    if shutil.which(shell):
        subprocess.run([shell, "-n", str(file)], check=True)
    if shell == "bash":
        asked = f"source {file}; COMP_WORDS=(live ex); COMP_CWORD=1; _live; echo ${{COMPREPLY[*]}}; "
        asked += "COMP_WORDS=(live export 1 --f); COMP_CWORD=3; _live; echo ${COMPREPLY[*]}"
        found = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
        assert found.stdout.split("\n")[:2] == ["export", "--format"]


def test_profiles_are_for_one_person_and_say_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    place = profiles.keep("one", profiles.Profile("https://one", "secret-one", ""))
    profiles.keep("two", profiles.Profile("https://two", "secret-two", ""))

    assert profiles.names() == ["one", "two"]
    assert place.stat().st_mode & 0o777 == 0o600
    assert profiles.profile("two").token == "secret-two"
    assert "secret" not in repr(profiles.profile("two"))
    assert [each.name for each in place.parent.iterdir()] == ["profiles.json"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--json", "ls"], "ls goes first: live ls …"),
        (["lst"], "'lst' is unknown: neither SQL nor one of completion, diff"),
        (["\x1b[2J"], r"'\x1b[2J' is unknown"),
        (["SELECT", "1"], "'SELECT' is unknown"),
        (["SELECT 1", "FROM x"], "put the SQL in quotes"),
        ([], "give one question"),
        (["SELECT 1", "--rerun", "1"], "give one question"),
        (["SELECT 1", "--all", "--until", "soon"], "--until 'soon' is neither"),
        (["SELECT 1", "--hosts", "@/nowhere"], "--hosts @/nowhere: the file cannot be read"),
        (["show", "x"], "'x' is not the number of a campaign"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_asked(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_URL", "https://127.0.0.1:1")
    monkeypatch.setenv("FLEET_TOKEN", "x")
    try:
        status = main(words)
    except SystemExit as left:
        status = left.code

    assert sentence in capsys.readouterr().err
    assert status == 2
