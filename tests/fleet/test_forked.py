"""Processes of the demo, forked off one that loaded all: each is as one that Python started for itself."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# What it does as a child, by what it is told; its parent is a process of its own, since a test's has threads.
CHILD = """
import json, os, signal, sys, threading, time, atexit
what = sys.argv[1]
if what == "facts":
    opened = [int(name) for name in os.listdir("/proc/self/fd")]
    print(json.dumps({"argv": sys.argv, "session": os.getsid(0) == os.getpid(), "fds": sorted(opened)[:-1],
        "name": __name__, "input": sys.stdin.read(), "term": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL}))
elif what == "threads":
    atexit.register(print, "at exit")
    threading.Thread(target=lambda: (time.sleep(0.05), print("thread done"))).start()
elif what == "wait":
    signal.pause()
elif what == "fail":
    raise ValueError("so it failed")
else:
    sys.exit(int(what) if what.isdigit() else what)
"""
PARENT = """
import json, os, signal, sys
from subprocess import TimeoutExpired
from fleet.demo.forked import Forked
signal.signal(signal.SIGTERM, signal.SIG_IGN)
kept = open(os.devnull)  # no child shall have it
child, log = sys.argv[1:3]
found = []
for told in sys.argv[3:]:
    with open(log, "wb") as output:
        forked = Forked([*json.loads(child), told], output)
    if told == "wait":
        try:
            forked.wait(0)
        except TimeoutExpired:
            os.killpg(forked.pid, signal.SIGTERM)
    found.append((forked.wait(), forked.poll(), open(log).read()))
print(json.dumps(found))
"""


def run(child: list[str], folder: Path, *told: str) -> list[list[Any]]:
    """Give exit status, the same once more, and output of a child for each thing it is told."""
    command = [sys.executable, "-c", PARENT, json.dumps(child), str(folder / "log"), *told]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # type: ignore[no-any-return]


@pytest.fixture
def child(tmp_path: Path) -> str:
    """Give the file of it."""
    file = tmp_path / "child.py"
    file.write_text(CHILD)
    return str(file)


def test_a_child_ends_as_its_command_does(child: str, tmp_path: Path) -> None:
    told = run([child], tmp_path, "0", "3", "a sentence", "fail", "wait", "threads")

    assert [status for status, _, _ in told] == [0, 3, 1, 1, -15, 0]
    assert [again for _, again, _ in told] == [status for status, _, _ in told]
    assert told[2][2] == "a sentence\n"
    assert told[3][2].startswith("Traceback")
    assert told[3][2].endswith("ValueError: so it failed\n")
    assert told[5][2] == "thread done\nat exit\n"


def test_a_child_has_nothing_of_its_parent_but_what_that_loaded(child: str, tmp_path: Path) -> None:
    [[_, _, said]] = run([child], tmp_path, "facts")

    expected = {"argv": [child, "facts"], "session": True, "fds": [0, 1, 2], "name": "__main__", "input": ""}
    assert json.loads(said) == {**expected, "term": True}


def test_a_module_runs_as_with_m(tmp_path: Path) -> None:
    [[status, _, said]] = run(["-m", "json.tool"], tmp_path, "--help")

    assert (status, said.partition(" ")[0]) == (0, "usage:")
