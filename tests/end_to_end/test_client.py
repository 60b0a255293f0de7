"""The client package and the verbs of `live` against a real server, with what proxies do in between."""

import asyncio
import csv
import io
import itertools
import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fleet_live_queries import (
    AsyncClient,
    BadInputError,
    Client,
    ConflictError,
    MissingLibraryError,
    NotFoundError,
    NotSignedInError,
    Row,
    verbs,
)
from fleet_live_queries.steps import Request, call

from tests.clients import page
from tests.end_to_end.conftest import TEST_ENVIRONMENT, Hosts, RunningFleet, wait_for
from tests.end_to_end.halfway import Halfway
from tests.servers import open_folder

pytestmark = [pytest.mark.lengthy, pytest.mark.processes]
SQL = "SELECT version FROM osquery_info"


class Crowd:
    """Hosts that answer, and two that hang at the first question: a campaign waits for them until a test ends it."""

    def __init__(self, fleet: RunningFleet) -> None:
        from agents.simulator.crowd import Shares

        self._all = [Hosts(fleet, 5, Shares(), 901), Hosts(fleet, 2, Shares(hanging=100), 902)]
        self.answering, self.silent = ([*hosts.target["hosts"]] for hosts in self._all)

    def stop(self) -> None:
        for hosts in self._all:
            hosts.stop()


@pytest.fixture(scope="module")
def crowd(running_fleet: RunningFleet) -> Iterator[Crowd]:
    made = Crowd(running_fleet)
    yield made
    made.stop()


@pytest.fixture
def halfway(running_fleet: RunningFleet) -> Iterator[Halfway]:
    made = Halfway(running_fleet.facts["console"], running_fleet.trust)
    yield made
    made.close()


@pytest.fixture
def client(running_fleet: RunningFleet, halfway: Halfway) -> Iterator[Client]:
    with Client(halfway.url, running_fleet.facts["token"]) as made:
        yield made


def test_rows_come_over_the_socket_and_nothing_is_lost_or_twice_when_it_is_cut(
    client: Client, halfway: Halfway, crowd: Crowd
) -> None:
    campaign = client.ask(SQL, hosts=[*crowd.answering, *crowd.silent], timeout=300)
    rows: list[Row] = []
    told: list[str] = []
    client._tell = told.append

    def stop_once_it_listens_again() -> None:
        """However many rows the first socket brought at once: the second one has to be asked for."""
        wait_for(lambda: sum("/ws/" in line for line in halfway.begun) >= 2, 90)
        campaign.stop()

    with ThreadPoolExecutor(1) as pool:
        for row in campaign.rows():
            rows.append(row)
            if len(rows) in (1, len(crowd.answering)):
                assert halfway.cut() >= 1
            if len(rows) == len(crowd.answering):
                stopped = pool.submit(stop_once_it_listens_again)
        stopped.result()

    assert len({row.host_id for row in rows}) == len(rows) == len(crowd.answering)
    assert [row.seq for row in rows] == sorted(row.seq for row in rows)
    sockets = [line for line in halfway.begun if "/ws/" in line]
    assert len(sockets) >= 2
    assert any(f"?after={row.seq} " in sockets[1] for row in rows)
    assert any("was cut" in sentence for sentence in told)
    assert campaign.facts["status"] == "stopped"
    silent = {target["host"]["id"] for target in campaign.silent()}
    assert len(silent) == len(crowd.silent)
    assert not silent & {row.host_id for row in rows}
    assert [*campaign.rows(after=rows[1].seq)] == rows[2:]


def test_pages_do_where_no_socket_is_let_through(client: Client, halfway: Halfway, crowd: Crowd) -> None:
    halfway.refuses_sockets = True
    campaign = client.ask(SQL, hosts=crowd.answering, timeout=300)

    rows = [*campaign.rows()]

    assert len({row.host_id for row in rows}) == len(rows) == len(crowd.answering)
    assert [campaign.facts["status"], campaign.wait()["status"]] == ["completed"] * 2
    assert sum("/ws/" in line for line in halfway.begun) == 1, "not asked for at every look"


def test_a_launch_whose_answer_is_lost_launches_once(client: Client, halfway: Halfway, crowd: Crowd) -> None:
    before = client.get("campaigns/")["count"]
    halfway.cut("")  # so that the next request is a new connection
    halfway.answers_to_swallow = 1
    client.ask(SQL, hosts=crowd.answering, timeout=300, name="once").wait()

    assert client.get("campaigns/")["count"] == before + 1
    assert halfway.answers_to_swallow == 0


def test_who_is_let_in_no_more_hears_it_from_the_api(client: Client, halfway: Halfway, crowd: Crowd) -> None:
    token = client.run(verbs.post("tokens/", {"name": "for a while"}))
    campaign = client.ask(SQL, hosts=[*crowd.answering, *crowd.silent], timeout=300)
    with Client(halfway.url, token["token"]) as other:
        coming = other.campaign(campaign.id).rows()
        rows = [*itertools.islice(coming, len(crowd.answering))]
        client.run(call(Request("DELETE", f"{verbs.API}/tokens/{token['id']}/")))
        with pytest.raises(NotSignedInError, match="Invalid token"):
            next(coming)

    campaign.stop()
    assert [campaign.wait()["status"], campaign.stop()["status"]] == ["stopped"] * 2
    assert [*campaign.rows()] == rows


def test_every_verb_does_what_it_says_and_refusals_are_the_apis_sentences(client: Client, crowd: Crowd) -> None:
    campaign = client.ask(SQL, hosts=[*crowd.answering, *crowd.silent], timeout=300)
    wait_for(lambda: campaign.refresh()["status"] == "running", 90)
    assert campaign.pause()["status"] == "paused"
    assert campaign.resume()["status"] != "paused"
    campaign.stop()
    campaign.wait()
    again = campaign.rerun()
    again.stop()
    exported = {form: b"".join(campaign.export(form)) for form in ("csv", "parquet")}
    rows = [*campaign.rows()]

    assert again.wait()["parent"] == campaign.id
    assert exported["parquet"].startswith(b"PAR1")
    assert exported["csv"].count(b"\n") == len(rows) + 1
    assert sum(group["hosts"] for group in campaign.groups(["version"])) == len(rows)
    assert campaign.sql("SELECT count(*) FROM answers")["rows"] == [[len(rows)]]
    with pytest.raises(BadInputError, match="unknown label: 'nowhere'"):
        client.ask(SQL, labels=["nowhere"])
    with pytest.raises(ConflictError, match="is stopped already"):
        campaign.pause()
    with pytest.raises(NotFoundError):
        client.campaign(10**9)
    for library in ("pandas", "polars"):
        with pytest.raises(MissingLibraryError, match=f"pip install {library}"):
            getattr(campaign, f"to_{library}")()


def test_the_async_client_does_the_same(running_fleet: RunningFleet, halfway: Halfway, crowd: Crowd) -> None:
    async def ask() -> tuple[list[Row], str]:
        async with AsyncClient(halfway.url, running_fleet.facts["token"]) as client:
            campaign = await client.ask(SQL, hosts=[*crowd.answering, *crowd.silent], timeout=300)
            rows: list[Row] = []
            async for row in campaign.rows():
                rows.append(row)
                if len(rows) == 1:
                    halfway.cut()
                if len(rows) == len(crowd.answering):
                    await campaign.stop()
            exported = b"".join([piece async for piece in campaign.export("csv")])
            assert exported.count(b"\n") == len(rows) + 1
            return rows, campaign.facts["status"]

    async def wrong() -> None:
        async with AsyncClient(halfway.url, "wrong") as client:
            await client.get("campaigns/")

    rows, status = asyncio.run(ask())

    assert (len({row.host_id for row in rows}), status) == (len(crowd.answering), "stopped")
    with pytest.raises(NotSignedInError, match="Invalid token"):
        asyncio.run(wrong())


# --- the command ---------------------------------------------------------------------------------------------------

Live = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def environment(running_fleet: RunningFleet) -> dict[str, str]:
    """Give the environment of somebody who has just logged in, and of nobody else."""
    folder = open_folder()
    bare = {name: value for name, value in os.environ.items() if name not in {*TEST_ENVIRONMENT, "COLUMNS", "LINES"}}
    bare |= {"XDG_CONFIG_HOME": str(folder), "PYTHONPATH": str(Path(__file__).parents[2] / "clients/python")}
    facts = running_fleet.facts
    asked = ["login", "--url", facts["console"], "--ca", facts["ca"], "--profile", "here"]
    first = subprocess.run([*COMMAND, "ls"], env=bare, capture_output=True, text=True)
    wrong = subprocess.run([*COMMAND, *asked], env=bare, capture_output=True, text=True, input="wrong\n")
    taken = subprocess.run([*COMMAND, *asked], env=bare, capture_output=True, text=True, input=f"{facts['token']}\n")

    assert (first.returncode, "live login --url" in first.stderr) == (2, True), first.stderr
    assert (wrong.returncode, "does not take this token: Invalid token" in wrong.stderr) == (2, True), wrong.stderr
    assert taken.returncode == 0, taken.stderr
    assert facts["token"] not in taken.stdout + taken.stderr
    assert (folder / "fleet-live-queries/profiles.json").stat().st_mode & 0o777 == 0o600
    return bare


COMMAND = [sys.executable, "-m", "fleet_live_queries"]


@pytest.fixture
def live(environment: dict[str, str]) -> Live:
    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*COMMAND, *words], env=environment, capture_output=True, text=True, timeout=180)

    return run


def all_of(live: Live, *commands: Sequence[str]) -> list["subprocess.CompletedProcess[str]"]:
    with ThreadPoolExecutor(4) as at_once:
        return [*at_once.map(lambda words: live(*words), commands)]


def test_verbs_read_what_there_is(live: Live, client: Client, crowd: Crowd, tmp_path: Path) -> None:
    campaign = client.ask(SQL, hosts=crowd.answering, timeout=300, name="\x1b[31mred")
    campaign.wait()
    other = client.ask(SQL, hosts=crowd.answering, timeout=300)
    other.wait()
    number, file = str(campaign.id), tmp_path / "rows.parquet"
    plain = (("ls",), ("show", number), ("labels",), ("schema",))
    objects = (("ls", "--limit", "1"), ("hosts", "--platform", "linux"), ("rows", number), ("show", number))
    found = all_of(
        live,
        *plain,
        *((*words, "--json") for words in objects),
        ("export", number, "--format", "parquet", "--output", str(file)),
        ("sql", number, "SELECT count(*) AS n FROM answers", "--json"),
        ("diff", number, str(other.id), "--format", "csv"),
        ("stop", number),
        ("lst",),
        ("schema", "nothing"),
    )
    told, listed = found[:4], [[json.loads(line) for line in each.stdout.splitlines()] for each in found[4:8]]
    exported, counted, compared, stopped, unknown, no_table = found[8:]

    assert [each.returncode for each in told] == [0] * 4
    assert r"\x1b[31mred" in told[0].stdout
    assert "\x1b" not in "".join(each.stdout + each.stderr for each in told)
    assert [each["id"] for each in listed[0]] == [other.id]
    assert {each["platform"] for each in listed[1]} == {"linux"}
    assert len(listed[2]) == 5
    assert listed[3][0]["counts"]["answered"] == 5
    assert (exported.returncode, file.read_bytes()[:4]) == (0, b"PAR1"), exported.stderr
    assert json.loads(counted.stdout) == {"n": 5}
    assert (compared.returncode, "0 changed" in compared.stderr) == (0, True), compared.stderr
    assert (stopped.returncode, "is completed already" in stopped.stderr) == (1, True)
    assert (unknown.returncode, "'lst' is unknown: neither SQL nor one of" in unknown.stderr) == (2, True)
    assert (no_table.returncode, "no host told of a table 'nothing'" in no_table.stderr) == (1, True)


def test_a_question_is_limited_counted_and_its_silent_hosts_asked_again(
    live: Live, client: Client, crowd: Crowd, tmp_path: Path
) -> None:
    named, silent = tmp_path / "hosts", tmp_path / "silent"
    named.write_text("\n".join(["# all of them", *crowd.answering, *crowd.silent, ""]))
    everybody = ("--hosts", f"@{named}", "--timeout", "300")
    client.run(verbs.post("queries/", {"name": "the versions", "sql": SQL}))
    ended = live("--query", "the versions", *everybody, "--until", "70%", "--silent", str(silent), "--json")
    number = str(client.get("campaigns/", limit=1)["results"][0]["id"])
    counting = "SELECT 'a' AS a, 1 AS n UNION ALL SELECT 'a', 2"
    commands = (
        (SQL, "--hosts", f"@{silent}", "--host", crowd.answering[0], "--until", "30%", "--timeout", "300"),
        ("--rerun", number, "--states", "answered,stopped", "--until", "50%"),
        (counting, "--host", crowd.answering[0], "--host", crowd.answering[1], "--group-by", "a", "--format", "csv"),
        (SQL, "--hosts", ",".join(crowd.answering), "--canary", "1", "--until", "online", "--json"),
    )
    again, rerun, counted, slowly = all_of(live, *commands)
    wrong = {words: live(SQL, *words) for words in (("--all", "--sample", "x"), ("--all", "--until", "5"))}

    assert (ended.returncode, len(ended.stdout.splitlines())) == (3, 5), ended.stderr
    assert "enough (70%): the campaign is stopped" in ended.stderr
    assert len(silent.read_text().splitlines()) == 2
    assert "3 hosts: " in again.stderr
    assert "7 hosts: " in rerun.stderr
    assert [again.returncode, rerun.returncode] == [3, 3]
    assert list(csv.reader(io.StringIO(counted.stdout))) == [["a", "hosts", "rows"], ["a", "2", "4"]], counted.stderr
    assert (slowly.returncode, len(slowly.stdout.splitlines())) == (0, 5), slowly.stderr
    assert [found.returncode for found in wrong.values()] == [2, 2]
    assert "--sample 'x' is neither" in wrong["--all", "--sample", "x"].stderr


def test_every_option_of_the_page_does_what_a_new_user_expects(
    live: Live, client: Client, crowd: Crowd, tmp_path: Path
) -> None:
    told = page.staged(client, crowd.answering, crowd.silent, tmp_path)
    commands = [[word.format(**told) for word in words] for words, _ in page.TRIED]
    ended = [live(*commands[0]), *all_of(live, *commands[1:])]

    for command, (_, status), found in zip(commands, page.TRIED, ended, strict=True):
        assert (command, found.returncode) == (command, status), found.stdout + found.stderr
        assert "Traceback" not in found.stderr


def test_every_line_of_the_page_may_be_typed_as_it_stands(
    environment: dict[str, str], running_fleet: RunningFleet, client: Client, crowd: Crowd, tmp_path: Path
) -> None:
    facts, program = running_fleet.facts, tmp_path / "live"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    bare = {**environment, "HOME": str(tmp_path), "PATH": f"{tmp_path}:{environment['PATH']}", "FLEET_CA": facts["ca"]}
    del bare["XDG_CONFIG_HOME"]

    def type_in(line: str) -> "subprocess.CompletedProcess[str]":
        shell = "zsh" if "zsh" in line and shutil.which("zsh") else "bash"
        before = "compdef() { :; }; " if "zsh" in line else ""
        line = before + line.replace("https://fleet.example", facts["console"])
        return subprocess.run(
            [shell, "-c", line], env=bare, capture_output=True, text=True, timeout=180, input=f"{facts['token']}\n"
        )

    with ThreadPoolExecutor(1) as one_after_the_other:
        asked = one_after_the_other.map(type_in, page.LINES)
        launched = wait_for(lambda: client.get("campaigns/", search="on_disk", limit=1)["results"], 90)[0]
        campaign = client.campaign(launched["id"])
        wait_for(lambda: campaign.refresh()["counts"]["answered"] >= 1, 90)
        campaign.stop()
        ended = [*asked]

    statuses = {line: found.returncode for line, found in zip(page.LINES, ended, strict=True)}
    assert {status for line, status in statuses.items() if "SELECT" not in line} == {0}, ended
    assert [status for line, status in statuses.items() if "SELECT" in line] in ([0], [3]), ended
    assert "Traceback" not in "".join(found.stderr for found in ended)
    assert (tmp_path / ".config/fish/completions/live.fish").stat().st_size > 1000


def test_a_terminal_gets_progress_in_one_place_and_asks_at_ctrl_c(environment: dict[str, str], crowd: Crowd) -> None:
    seen = {}
    for colours in ("", "1"):
        number, terminal = pty.fork()
        if number == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            names = ",".join([*crowd.answering, *crowd.silent])
            told = {**environment, "NO_COLOR": colours, "TERM": "xterm"}
            os.execve(  # noqa: S606 - no shell is wanted
                sys.executable, [*COMMAND, SQL, "--hosts", names, "--format", "csv", "--timeout", "300"], told
            )
        seen[colours] = _talk(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 3

    for said in seen.values():
        assert "\r\x1b[2K7 hosts:" in said
        assert "[s]top the campaign" in said
        assert said.count("srv-") + said.count("mac-") + said.count("win-") >= 5
    assert "\x1b[33mstopped: " in seen[""]
    assert "\x1b[33m" not in seen["1"]


def _talk(terminal: int) -> str:
    """Interrupt once every answer is there, then stop; give what was seen."""
    said, asked, answered, deadline = "", False, False, time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            said += os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # what Linux says when nobody has the other end open
            break
        if not asked and "5 answered" in said:
            asked = bool(os.write(terminal, b"\x03"))
        if not answered and "[s]top" in said:
            answered = bool(os.write(terminal, b"s\n"))
    os.close(terminal)
    return said
