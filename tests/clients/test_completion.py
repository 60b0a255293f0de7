"""What the shells complete, each asked by its own means; zsh and fish where they are installed."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fleet_live_queries.command import verbs

KNOWN = {*verbs.found()}
EXPORTS = {"csv", "ndjson", "json", "parquet", "xlsx"}
LINES: list[tuple[list[str], set[str], set[str]]] = [  # words, what is among the offers, what is not
    (["live", ""], {*KNOWN}, set()),
    (["live", "--format", ""], {"table", "csv", "ndjson"}, {"parquet", "ls"}),
    (["live", "SELECT", ""], {"--until", "--silent", "--group-by"}, {*KNOWN}),
    (["live", "SELECT", "--then", ""], {"auto", "ask"}, {"--all"}),
    (["live", "export", "1", ""], {"--format", "--output"}, {"--follow", "--until", "ls"}),
    (["live", "export", "1", "--format", ""], EXPORTS, {"table", "--output"}),
    (["live", "export", "1", "--format=", ""], EXPORTS, {"table", "--output"}),
    (["live", "completion", ""], {"bash", "zsh", "fish"}, {"ls"}),
    (["live", "queries", ""], {"pull", "push", "diff", "import"}, {"ls"}),
    (["live", "ls", "--profile", ""], {"one", "two"}, {"--json"}),
]
PYTHON_PATH = Path(__file__).parents[2] / "clients/python"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Give a folder with the scripts of all shells, and the environment of who has `live` and two profiles."""
    folder = tmp_path_factory.mktemp("desk")
    live, kept = folder / "live", folder / "fleet-live-queries/profiles.json"
    live.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m fleet_live_queries "$@"\n')
    live.chmod(0o755)
    kept.parent.mkdir()
    kept.write_text('{"one": {"url": "https://one"}, "two": {"url": "https://two"}}')
    told = {"PYTHONPATH": str(PYTHON_PATH), "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}
    environment = {**os.environ, **told, "PATH": f"{folder}:{os.environ['PATH']}"}
    for shell in ASKING:
        script = subprocess.run([live, "completion", shell], capture_output=True, check=True, env=environment).stdout
        (folder / f"live.{shell}").write_bytes(script)
    return folder, environment


def bash(words: list[str]) -> str:
    """Ask the function as readline does: `=` is a word of its own there."""
    split = [part for word in words for part in (word.partition("=")[:2] if "=" in word else (word,))]
    named = " ".join(f"'{word}'" for word in split)
    return f'COMP_WORDS=({named}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _live; echo "${{COMPREPLY[*]}}"'


def zsh(words: list[str]) -> str:
    """Ask the function with its builtins replaced, which work in the line editor alone."""
    joined = [*words[:-2], words[-2] + words[-1]] if words[-2].endswith("=") else words
    named = " ".join(f"'{word}'" for word in joined)
    return f"""compadd() {{ shift; print -- $*; }}; compset() {{ :; }}; _files() {{ :; }}
        words=({named}); CURRENT=$#words; _live; echo"""


def fish(words: list[str]) -> str:
    return f"complete -C '{' '.join(words).replace('= ', '=')}'"


ASKING = {"bash": bash, "zsh": zsh, "fish": fish}


@pytest.mark.parametrize(
    "shell",
    [pytest.param(name, marks=pytest.mark.skipif(not shutil.which(name), reason="no such shell")) for name in ASKING],
)
def test_each_shell_completes_words_options_and_their_values(shell: str, desk: tuple[Path, dict[str, str]]) -> None:
    folder, environment = desk
    script = folder / f"live.{shell}"
    first = "compdef() { :; }; " if shell == "zsh" else ""
    asked = "\n".join(f"{ASKING[shell](words)}\necho '-----'" for words, _, _ in LINES)
    command = [shell, "-c", f"{first}source {script}\n{asked}"]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)

    offers = [answer.replace("--format=", "") for answer in run.stdout.split("-----\n")]
    assert (run.returncode, run.stderr) == (0, "")
    assert len(offers) == len(LINES) + 1
    for (words, wanted, unwanted), answer in zip(LINES, offers, strict=False):
        lines = [line.partition("\t")[0] for line in answer.splitlines()]
        found = {*lines} if shell == "fish" else {*answer.split()}
        if shell == "fish":  # offers options only where one was begun
            wanted = {word for word in wanted if not word.startswith("--")}
        assert (words, wanted - found, unwanted & found) == (words, set(), set())
