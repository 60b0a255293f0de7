"""The program `live` against a real server: rows on stdout, progress on stderr, and a status that says how it went."""

import csv
import io
import itertools
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from tests.end_to_end.conftest import TEST_ENVIRONMENT, Hosts, RunningFleet

pytestmark = [pytest.mark.lengthy, pytest.mark.processes]
SQL = "SELECT version FROM osquery_info"
ROOT = Path(__file__).parents[2]
SEEDS = itertools.count(61)  # hosts of one seed are the same hosts


class Ended:
    """What a command wrote, and its status."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.out, self.err = process.communicate(timeout=180)
        self.out, self.err = self.out or "", self.err or ""
        self.status = process.returncode


@pytest.fixture
def live(running_fleet: RunningFleet) -> Callable[..., "subprocess.Popen[str]"]:
    """Start the command as a shell anywhere would: it knows an address and a token, no secret of the server."""
    facts = running_fleet.facts
    settings = {"DATABASE_URL": "postgres:///unused", "PYTHONPATH": str(ROOT / "clients" / "python")}
    told = {"FLEET_URL": facts["console"], "FLEET_TOKEN": facts["token"], "FLEET_CA": facts["ca"]}
    of_tests = {*TEST_ENVIRONMENT, "COLUMNS", "LINES"}
    bare = {name: value for name, value in os.environ.items() if name not in of_tests}

    def start(
        *arguments: str, stdin: int | None = subprocess.DEVNULL, stdout: int = subprocess.PIPE, **environment: str
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "fleet_live_queries", *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**bare, **settings, **told, **environment},
            preexec_fn=_hear_ctrl_c,
        )

    return start


def _hear_ctrl_c() -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # a suite in a shell's background ignores it, and so would its children


@pytest.fixture
def crowds(running_fleet: RunningFleet, pretend: Callable[..., Hosts]) -> dict[str, str]:
    """Give hosts that answer, fail, stay silent, and have gone, as arguments of --hosts."""
    made = {
        "answering": pretend(4, seed=next(SEEDS)),
        "failing": pretend(2, seed=next(SEEDS), failing=100),
        "silent": pretend(2, seed=next(SEEDS), silent=100),
        "gone": pretend(2, seed=next(SEEDS)),
    }
    made["gone"].stop()  # a campaign waits for them until its time is over; for silent ones some 20 seconds
    return {name: ",".join(hosts.target["hosts"]) for name, hosts in made.items()}


Live = Callable[..., "subprocess.Popen[str]"]


def test_the_status_says_how_it_went(live: Live, crowds: dict[str, str]) -> None:
    answering, failing, silent = crowds["answering"], crowds["failing"], crowds["silent"]
    all_of_them = f"{answering},{failing},{silent}"
    commands = {
        0: live(SQL, "--hosts", answering, "--format", "ndjson"),
        3: live(SQL, "--hosts", f"{answering},{silent}", "--timeout", "300", "--format", "csv"),
        4: live(SQL, "--hosts", all_of_them, "--timeout", "300"),
        5: live(SQL, "--hosts", f"{failing},{silent}", "--timeout", "10"),
    }
    ended = {status: Ended(process) for status, process in commands.items()}

    assert {status: found.status for status, found in ended.items()} == {0: 0, 3: 3, 4: 4, 5: 5}, ended[0].err
    rows = [json.loads(line) for line in ended[0].out.splitlines()]
    assert len(rows) == 4
    assert all(row["host"]["hostname"] and row["row"]["version"] for row in rows)
    assert {*rows[0]} == {"host", "row", "truncated", "late"}
    assert ended[0].err.startswith("campaign ")
    assert "4 hosts: 4 answered; 4 rows" in ended[0].err
    assert "completed: every host has a final state" in ended[0].err
    table = list(csv.DictReader(io.StringIO(ended[3].out)))
    assert [list(row) for row in table] == [["host", "host_id", "version"]] * 4
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
        ([SQL, "--label", "a,b", "--label", "\x1b[2J"], {}, 2, r"unknown label: 'a,b'"),
        (
            [SQL, "--all"],
            {"FLEET_CA": "/nowhere/ca.pem"},
            2,
            "CA file '/nowhere/ca.pem' (--ca, FLEET_CA) cannot be used",
        ),
        ([SQL, "--all"], {"FLEET_CA": __file__}, 2, f"CA file {__file__!r} (--ca, FLEET_CA) cannot be used"),
        ([SQL, "--all"], {"FLEET_URL": "ftp://x"}, 2, "--url 'ftp://x' is no address"),
        ([SQL, "--all"], {"FLEET_TOKEN": "é"}, 2, "the token holds characters"),
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
    hosts = ",".join(pretend(3, seed=next(SEEDS)).target["hosts"])

    for shape in ("table", "csv", "ndjson"):
        process = live(SQL, "--hosts", hosts, "--format", shape)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        process.stderr.close()

        assert process.wait(180) == 1, shape
        assert "Broken pipe" not in said
        assert "Exception ignored" not in said


NASTY = (
    "SELECT '[kthreadd] [/x] 01:23:45:cd:89:ab ' || char(27, 91) || '31m' || char(8238) AS host, '=1+1' AS a, '-5' AS b"
)
EXACT = "[kthreadd] [/x] 01:23:45:cd:89:ab \x1b[31m\u202e"
AS_SHOWN = r"[kthreadd] [/x] 01:23:45:cd:89:ab \x1b[31m⟨U+202E⟩"


def test_what_hosts_sent_is_exact_for_programs_and_harmless_for_people(live: Live, crowds: dict[str, str]) -> None:
    shapes = ("table", "csv", "ndjson")
    processes = [live(NASTY, "--hosts", crowds["answering"], "--format", shape) for shape in shapes]
    table, text, lines = (Ended(process) for process in processes)

    assert (table.status, text.status, lines.status) == (0, 0, 0), table.err
    assert table.out.count(AS_SHOWN) == 4
    assert "\x1b" not in table.out + table.err
    header, *rows = text.out.splitlines()
    assert header == "host,host_id,row.host,a,b"
    assert all(row.endswith(f",{EXACT},'=1+1,-5") for row in rows)
    assert "\r" not in text.out
    for line in map(json.loads, lines.out.splitlines()):
        assert list(line["row"].items()) == [("host", EXACT), ("a", "=1+1"), ("b", "-5")]
        assert line["host"]["id"] > 0


def test_a_pipe_cuts_nothing_and_an_ascii_one_takes_everything(live: Live, crowds: dict[str, str]) -> None:
    sql = f"SELECT '{'wide ' * 60}' || char(233) AS a, '{'x' * 200}' AS b"
    arguments = (sql, "--hosts", crowds["answering"], "--format")
    processes = [live(*arguments, shape, PYTHONIOENCODING="ascii") for shape in ("table", "csv")]
    for ended in map(Ended, processes):
        assert ended.status == 0, ended.err
        assert ended.out.count("wide " * 60 + "\\xe9") == 4
        assert ended.out.count("x" * 200) == 4


def test_a_narrow_terminal_gets_records(live: Live, crowds: dict[str, str]) -> None:
    mine, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 40))
    process = live(NASTY, "--hosts", crowds["answering"], stdout=theirs)
    os.close(theirs)
    seen = read_all(mine)
    Ended(process)

    assert seen.count(f"| {AS_SHOWN}\r\n") == 4
    assert "-[ 4 ]-" in seen
    assert "…" not in seen


def read_all(terminal: int) -> str:
    found = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # what Linux says when nobody has the other end open
            break
        if not piece:
            break
        found += piece
    os.close(terminal)
    return found.decode()


def next_line(stream: "IO[str]") -> str:
    """Read a line and nothing that follows: what a stream has read ahead, who waits for the end would never see."""
    told = bytearray()
    while not told.endswith(b"\n") and (byte := os.read(stream.fileno(), 1)):
        told += byte
    return told.decode()


def until_told(process: "subprocess.Popen[str]", sentence: str) -> str:
    """Give what the command says up to this sentence."""
    assert process.stderr is not None
    said = ""
    while line := next_line(process.stderr):
        said += line
        if sentence in line:
            return said
    raise AssertionError(f"{sentence!r} was never said: {said}")


@pytest.mark.parametrize(
    ("answer", "status", "last"),
    [
        ("stop\n", 3, "stopped: "),
        ("leave\n", 1, "the campaign goes on: https://"),
        ("", 1, "the campaign goes on: https://"),
    ],
)
def test_an_interrupted_command_asks_and_keeps_its_rows(
    live: Live, crowds: dict[str, str], pretend: Callable[..., Hosts], answer: str, status: int, last: str
) -> None:
    hosts = pretend(4, seed=next(SEEDS), hanging=100)
    names = ",".join([*hosts.target["hosts"], crowds["gone"]])
    process = live(SQL, "--hosts", names, "--timeout", "300", "--format", "csv", stdin=subprocess.PIPE)
    said = until_told(process, "4 delivered")
    hosts.let_go()
    until_told(process, "4 answered")  # who follows already gets the rows before their count
    assert process.stdin is not None
    process.stdin.write(answer)
    process.stdin.flush()  # before it asks: it waits ten seconds for who is no terminal
    process.send_signal(signal.SIGINT)
    until_told(process, "[s]top")
    if not answer:
        process.send_signal(signal.SIGINT)
    ended = Ended(process)

    assert said.startswith("campaign ")
    assert ended.status == status, ended.err
    assert last in ended.err
    assert "Traceback" not in ended.err
    assert len(list(csv.DictReader(io.StringIO(ended.out)))) == 4


def test_who_stops_following_rows_gets_those_that_came(
    live: Live, crowds: dict[str, str], running_fleet: RunningFleet
) -> None:
    hosts = f"{crowds['answering']},{crowds['gone']}".split(",")
    order = {"sql": SQL, "target": {"hosts": hosts}, "timeout": 300}
    campaign = running_fleet.http.post("/api/v1/campaigns/", json=order).raise_for_status().json()
    followers = [live("rows", str(campaign["id"]), "--follow", "--json") for _ in range(2)]
    for process, number in zip(followers, (signal.SIGINT, signal.SIGTERM), strict=True):
        assert process.stdout is not None
        rows = [json.loads(next_line(process.stdout)) for _ in range(4)]
        process.send_signal(number)
        ended = Ended(process)

        assert len({row["host"]["id"] for row in rows}) == 4
        assert (ended.status, ended.out) == (1, ""), ended.err
        assert ended.err == f"the campaign goes on: {campaign['url']} (there it can be stopped)\n"


def test_it_outlives_a_restart_of_the_server(live: Live, crowds: dict[str, str], running_fleet: RunningFleet) -> None:
    hosts = f"{crowds['answering']},{crowds['gone']}"
    process = live(SQL, "--hosts", hosts, "--timeout", "300", "--format", "ndjson")
    number = until_told(process, "4 answered").split()[1].strip(":")
    os.kill(running_fleet.facts["pids"]["web"], signal.SIGKILL)
    until_told(process, "asking again")
    until_told(process, "the server answers again")
    Ended(live("stop", number))
    ended = Ended(process)

    assert ended.status == 3, ended.err
    assert "stopped: " in ended.err
    assert len(ended.out.splitlines()) == 4


def test_queries_are_files_of_a_repository(live: Live, running_fleet: RunningFleet, tmp_path: Path) -> None:
    running_fleet.http.post("/api/v1/queries/", json={"name": "as code", "sql": "SELECT 1"}).raise_for_status()
    folder, file = str(tmp_path), tmp_path / "queries" / "as-code.yml"

    pulled = Ended(live("queries", "pull", folder))
    file.write_text(file.read_text().replace("SELECT 1", "SELECT 2"))
    differs, pushed, same = (Ended(live("queries", verb, folder)) for verb in ("diff", "push", "diff"))

    assert [ended.status for ended in (pulled, differs, pushed, same)] == [0, 3, 0, 0], pushed.err
    assert "+sql: SELECT 2" in differs.out
    assert running_fleet.http.get("/api/v1/queries/?search=as code").json()["results"][0]["sql"] == "SELECT 2"


def test_the_management_command_is_the_same_program(running_fleet: RunningFleet) -> None:
    facts = running_fleet.facts
    told = {"FLEET_URL": facts["console"], "FLEET_TOKEN": facts["token"], "FLEET_CA": facts["ca"]}
    arguments = [sys.executable, "manage.py", "live", "labels", "--json"]  # there are always some

    ended = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **told}, timeout=180)

    assert ended.returncode == 0, ended.stderr
    assert all(json.loads(line)["id"] > 0 for line in ended.stdout.splitlines() or [""])


def test_a_ctrl_c_while_launching_is_no_traceback(live: Live) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = live(SQL, "--all", FLEET_URL=f"https://127.0.0.1:{silent.getsockname()[1]}")
        connection, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        ended = Ended(process)
        connection.close()

    assert (ended.status, ended.out) == (1, "")
    assert "interrupted before it was known whether a campaign was launched" in ended.err
    assert "Traceback" not in ended.err
