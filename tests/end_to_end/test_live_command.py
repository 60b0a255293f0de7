"""`manage.py live` against a real server: rows on stdout, progress on stderr, and a status that says how it went."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import TEST_ENVIRONMENT, Hosts, RunningFleet

pytestmark = pytest.mark.processes
SQL = "SELECT version FROM osquery_info"
ROOT = Path(__file__).parents[2]


class Ended:
    """What a command wrote, and its status."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.out, self.err = process.communicate(timeout=90)
        self.status = process.returncode


@pytest.fixture
def live(running_fleet: RunningFleet) -> Callable[..., "subprocess.Popen[str]"]:
    """Start the command as a shell anywhere would: it knows an address and a token, no secret of the server."""
    facts = running_fleet.facts
    settings = {"DATABASE_URL": "postgres:///unused"}
    told = {"FLEET_URL": facts["console"], "FLEET_TOKEN": facts["token"], "FLEET_CA": facts["ca"]}
    bare = {name: value for name, value in os.environ.items() if name not in TEST_ENVIRONMENT}

    def start(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "manage.py", "live", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**bare, **settings, **told, **environment},
        )

    return start


@pytest.fixture
def crowds(running_fleet: RunningFleet, pretend: Callable[..., Hosts]) -> dict[str, str]:
    """Give hosts that answer, fail, and stay silent, as arguments of --hosts."""
    made = {
        "answering": pretend(4, seed=61),
        "failing": pretend(2, seed=62, failing=100),
        "silent": pretend(2, seed=63, silent=100),
    }
    return {name: ",".join(hosts.target["hosts"]) for name, hosts in made.items()}


Live = Callable[..., "subprocess.Popen[str]"]


def test_the_status_says_how_it_went(live: Live, crowds: dict[str, str]) -> None:
    answering, failing, silent = crowds["answering"], crowds["failing"], crowds["silent"]
    all_of_them = f"{answering},{failing},{silent}"
    commands = {
        0: live(SQL, "--hosts", answering, "--format", "ndjson"),
        3: live(SQL, "--hosts", f"{answering},{silent}", "--timeout", "10", "--format", "csv"),
        4: live(SQL, "--hosts", all_of_them, "--timeout", "10"),
        5: live(SQL, "--hosts", f"{failing},{silent}", "--timeout", "10"),
    }
    ended = {status: Ended(process) for status, process in commands.items()}

    assert {status: found.status for status, found in ended.items()} == {0: 0, 3: 3, 4: 4, 5: 5}, ended[0].err
    rows = [json.loads(line) for line in ended[0].out.splitlines()]
    assert len(rows) == 4
    assert all(row["host"] and row["version"] for row in rows)
    assert "4 hosts: 4 answered; 4 rows" in ended[0].err
    assert "completed: every host has a final state" in ended[0].err
    table = list(csv.DictReader(io.StringIO(ended[3].out)))
    assert [list(row) for row in table] == [["host", "version"]] * 4
    assert "2 no_answer" in ended[3].err
    assert ended[4].out.count("│") > 4
    assert "its 10 seconds were over" in ended[5].err


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "sentence"),
    [
        (["SELEC 1", "--all"], {}, 2, 'near "SELEC": syntax error'),
        ([SQL, "--labels", "nowhere"], {}, 2, "unknown label: 'nowhere'"),
        ([SQL, "--all", "--timeout", "1"], {}, 2, "timeout 1 is below the minimum of 10 seconds"),
        ([SQL], {}, 2, "say who is meant"),
        ([SQL, "--all"], {"FLEET_TOKEN": ""}, 2, "say where the server is and who asks"),
        ([SQL, "--all"], {"FLEET_TOKEN": "wrong"}, 1, "Invalid token"),
        ([SQL, "--all"], {"FLEET_URL": "https://127.0.0.1:1"}, 1, "no answer from https://127.0.0.1:1"),
    ],
)
def test_what_is_wrong_is_said(
    live: Live, arguments: list[str], environment: dict[str, str], status: int, sentence: str
) -> None:
    ended = Ended(live(*arguments, **environment))

    assert sentence in ended.err
    assert (ended.status, ended.out) == (status, "")


def test_a_reader_that_has_enough_is_no_trouble_of_the_server(
    live: Callable[..., "subprocess.Popen[str]"], pretend: Callable[..., Hosts]
) -> None:
    hosts = ",".join(pretend(3, seed=64).target["hosts"])

    for shape in ("table", "csv", "ndjson"):
        process = live(SQL, "--hosts", hosts, "--format", shape)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        process.stderr.close()

        assert process.wait(90) == 1, shape
        assert "Broken pipe" not in said
        assert "Exception ignored" not in said
