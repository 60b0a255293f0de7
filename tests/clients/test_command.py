"""What the command line says of itself, and prints by the server's own rules."""

import argparse
import inspect
import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, ClassVar

import fleet_live_queries.command.text
import fleet_live_queries.spreadsheets
import pytest
from fleet_live_queries.command import profiles, targets, verbs
from fleet_live_queries.command.arguments import parser_of
from fleet_live_queries.command.counting import GroupWriter
from fleet_live_queries.command.follower import Follower
from fleet_live_queries.command.main import main
from fleet_live_queries.command.terminal import Terminal, write
from fleet_live_queries.command.verbs import diff
from fleet_live_queries.command.writers import TableWriter

import fleet.spreadsheets
import fleet.text
from tests.clients import page
from tests.clients.test_steps import answer, carry_out

WORDS = ("", *verbs.found())


@pytest.mark.parametrize("word", WORDS)
def test_the_page_has_every_option_of_every_word_and_no_other(word: str) -> None:
    parser = parser_of(word, "live")
    known = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}

    assert page.options(word) | page.common_options() | {"--help"} == known
    texts = [action.help for action in parser._actions]
    assert all(texts), "each option says what it does"
    assert argparse.SUPPRESS not in texts or word == ""


@pytest.mark.parametrize("word", WORDS)
def test_every_option_of_the_page_is_tried_by_a_real_server(word: str) -> None:
    tried = [words for words, _ in page.TRIED if (words[0] if words[0] in WORDS else "") == word]

    assert tried
    assert page.options(word) == {option for words in tried for option in words if option.startswith("--")}


def test_texts_and_cells_are_printed_by_the_servers_rules() -> None:
    texts = [chr(number) for number in (*range(0x3000), *range(0xD7F0, 0x10000), *range(0xE0000, 0xE0100))]

    ours, theirs = fleet.text, fleet_live_queries.command.text
    assert [theirs.shown(text) for text in texts] == [ours.shown(text) for text in texts]
    assert theirs.shown_lines("a\n\x1bb") == ours.shown_lines("a\n\x1bb")
    for name in ("harmless", "_without_lead", "beside", "in_order"):
        ours_of, theirs_of = (getattr(module, name) for module in (fleet.spreadsheets, _cells))
        assert inspect.getsource(ours_of) == inspect.getsource(theirs_of)
    for name in ("STARTS_A_FORMULA", "NUMBER", "UNSEEN", "HOST_COLUMNS", "MARKS"):
        assert getattr(fleet.spreadsheets, name) == getattr(_cells, name), name


_cells = fleet_live_queries.spreadsheets


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
        (["--profile", "lab", "--url=https://x", "show", "x"], "'x' is not the number of a campaign"),
        (["--token", "ls", "export", "1", "--output", "/"], "--output '/' is not the name of a file"),
        (["lst"], "'lst' is unknown: neither SQL nor one of completion, diff"),
        (["\x1b[2J"], r"'\x1b[2J' is unknown"),
        (["SELECT", "1"], "'SELECT' is unknown"),
        (["SELECT 1", "FROM x"], "put the SQL in quotes"),
        ([], "give one question"),
        (["SELECT 1", "--rerun", "1"], "give one question"),
        *(
            (["SELECT 1", "--all", f"--until={until}"], f"--until {until!r} is none of all, online, or a part as 90%")
            for until in ("soon", "50", "0%", "101%", "-5%", "nan%", "ALL", "")
        ),
        (["SELECT 1", "--all", "--sample=0"], "--sample '0' is neither a number of hosts, as 25, nor a part"),
        (["SELECT 1", "--all", "--canary=101%"], "--canary '101%' is neither a number of hosts, as 25, nor a part"),
        (["SELECT 1", "--hosts", "@/nowhere"], "--hosts @/nowhere: the file cannot be read"),
        (["show", "x"], "'x' is not the number of a campaign"),
        *(
            ([word, "--limit", many], f"{many!r} is not a number from 1 on")
            for word in ("ls", "hosts")
            for many in "0x"
        ),
        (["hosts", "--limit=-1"], "'-1' is not a number from 1 on"),
        (["--rerun", "1", "--hosts", "a"], "--hosts: not with --rerun"),
        (["--rerun", "1", "--all", "--exclude", "a"], "--all, --exclude: not with --rerun"),
        (["--rerun", "1", "--canary", "5", "--then", "ask"], "--canary, --then: not with --rerun"),
        (["--rerun", "1", "--timeout", "60"], "--timeout: not with --rerun"),
        (["--rerun", "1", "--name", "", "--reason", "x", "--force"], "--name, --reason, --force: not with --rerun"),
        (["SELECT 1", "--all", "--states", "missed"], "--states is of --rerun ID"),
        (["SELECT 1", "--all", "--then", "ask"], "--then is of --canary"),
        *(
            (["SELECT 1", "--platforms", "linux", f"--{option}", " , "], f"--{option} ' , ' names nothing: names with")
            for option in ("labels", "hosts", "exclude", "group-by")
        ),
        *(
            (["SELECT 1", "--platforms", "linux", f"--{option}", " "], f"--{option} ' ' names nothing: one name is")
            for option in ("label", "host", "platform")
        ),
        (["--rerun", "1", "--states", ""], "--states '' names nothing"),
        (["SELECT 1", "--all", "--silent", "/nowhere/x"], "--silent '/nowhere/x' cannot be written: No such file"),
        (["SELECT 1", "--all", "--silent", ""], "--silent '' cannot be written"),
        (["SELECT 1", "--all", "--silent", "/"], "--silent '/' cannot be written"),
        (["SELECT 1", "--all", "--silent", "-"], "--silent '-' is not the name of a file: stdout is for rows"),
        (["export", "1", "--output", ""], "--output '' is not the name of a file"),
        (["export", "1", "--output", "/"], "--output '/' is not the name of a file"),
        (["queries", "diff", ".", "--dry-run"], "--dry-run is for pull, push and import"),
        (["queries", "import", ".", "--prune"], "--prune is for pull and push"),
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


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- 2>&-"])
def test_a_stream_that_is_closed_is_no_failure_and_nothing_is_asked_that_could_be_written_nowhere(closed: str) -> None:
    program = f"{shlex.quote(sys.executable)} -m fleet_live_queries schema"
    place = Path(fleet_live_queries.spreadsheets.__file__).parents[1]
    environment = {**os.environ, "FLEET_URL": "https://127.0.0.1:1", "FLEET_TOKEN": "x", "PYTHONPATH": str(place)}

    left = subprocess.run(["sh", "-c", f"{program} {closed}"], env=environment, capture_output=True, text=True)

    said = {
        "<&-": "no answer from https://127.0.0.1:1: [Errno 111] Connection refused\n",
        ">&-": "stdout is closed: what is asked for could be written nowhere\n",
    }
    assert (left.returncode, left.stdout, left.stderr) == (1, "", said.get(closed, ""))


EMPTY = b'{"count": 0, "next": null, "results": []}'


class Asked(HTTPServer):
    tokens: ClassVar[list[str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    answers: ClassVar[dict[str, tuple[int, bytes]]] = {}  # by how the path ends; any other is answered an empty list


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        Asked.tokens.append(self.headers["Authorization"])
        ends = (told for end, told in Asked.answers.items() if self.path.endswith(end))
        status, body = next(ends, (200, EMPTY))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Asked]:
    """Serve an empty list of campaigns to whoever asks; the environment is that of somebody with another server."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("FLEET_TOKEN", "of-another-server")
    monkeypatch.setenv("FLEET_CA", "/nowhere/ca.pem")
    with Asked(("127.0.0.1", 0), _Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("words", "environment", "name", "last"),
    [
        (["--profile", "other"], {}, "other", ""),
        (["--profile", "default"], {}, "default", "is asked from now on"),
        (["--profile", "other"], {"FLEET_PROFILE": "other"}, "other", "is asked from now on"),
        (["--token", "mine", "--ca", ""], {"FLEET_PROFILE": "mine"}, "mine", "is asked from now on"),
        (["--token", "mine", "--ca", ""], {"FLEET_URL": "https://another"}, "default", ""),
        (["--ca", ""], {"FLEET_URL": "https://another"}, "default", ""),
        (["--ca", ""], {"FLEET_TOKEN": ""}, "default", "is asked from now on"),
        (["--ca", ""], {"FLEET_TOKEN": "", "FLEET_URL": "{url}/"}, "default", "is asked from now on"),
    ],
)
def test_who_logs_in_sends_a_named_server_no_token_of_another(
    asked: Asked,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    environment: dict[str, str],
    name: str,
    last: str,
) -> None:
    for each, value in environment.items():
        monkeypatch.setenv(each, value.format(url=asked.url))
    monkeypatch.setattr(sys, "stdin", io.StringIO("mine\n"))
    asked.tokens.clear()

    status = main(["login", "--url", asked.url, *words])

    said = capsys.readouterr().err
    assert (status, asked.tokens) == (0, ["Bearer mine"]), said
    assert (profiles.names(), profiles.profile(name).token) == ([name], "mine")
    assert (f"profile {name} is kept" in said, "from now on" in said) == (True, bool(last))


@pytest.mark.parametrize(
    ("words", "environment", "token"),
    [
        ([], {}, "kept"),
        (["--url", "{url}/"], {"FLEET_TOKEN": ""}, "kept"),
        ([], {"FLEET_URL": "", "FLEET_TOKEN": "", "FLEET_CA": ""}, "kept"),
        (["--profile", "one"], {"FLEET_URL": "https://another", "FLEET_TOKEN": "of-another-server"}, "kept"),
        ([], {"FLEET_PROFILE": "one"}, "kept"),
        ([], {"FLEET_URL": "{url}", "FLEET_TOKEN": "of-the-environment"}, "of-the-environment"),
        (["--url", "{url}/"], {"FLEET_URL": "{url}", "FLEET_TOKEN": "of-the-environment"}, "of-the-environment"),
        (["--url", "{url}"], {"FLEET_TOKEN": "of-the-environment"}, "of-the-environment"),
        (["--url", "{url}"], {"FLEET_URL": "https://another", "FLEET_TOKEN": "of-another-server"}, "kept"),
        (["--url", "{other}"], {"FLEET_URL": "https://another", "FLEET_TOKEN": "of-another-server"}, None),
        (["--url", "{other}"], {}, None),
        ([], {"FLEET_URL": "{other}"}, None),
    ],
)
def test_a_token_goes_to_its_own_server_alone(
    asked: Asked,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    environment: dict[str, str],
    token: str | None,
) -> None:
    profiles.keep("one", profiles.Profile(asked.url, "kept"))
    places = {"url": asked.url, "other": asked.url.replace("127.0.0.1", "localhost")}
    for name in ("FLEET_TOKEN", "FLEET_CA"):
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(**places))
    asked.tokens.clear()

    status = main(["labels", *(word.format(**places) for word in words)])

    assert asked.tokens == ([] if token is None else [f"Bearer {token}"])
    assert (status, "say where the server is and who asks" in capsys.readouterr().err) == (
        (0, False) if token is not None else (2, True)
    )


def test_an_export_goes_to_stdout_or_to_a_file_that_is_whole_or_is_not_there(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setenv("FLEET_URL", asked.url)
    monkeypatch.delenv("FLEET_CA")
    refusal = json.dumps({"error": "reading answers needs a permission"}).encode()
    campaign = {"/campaigns/7/": (200, b'{"id": 7}')}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Asked, "answers", {**campaign, "export.csv": (200, b"host,host_id\n")})

    assert main(["export", "7", "--output", "-"]) == 0
    assert capfdbinary.readouterr().out == b"host,host_id\n"
    assert main(["export", "7", "--output", "kept.csv"]) == 0
    monkeypatch.setattr(Asked, "answers", {**campaign, "export.csv": (403, refusal)})
    for words in (["--output", "none.csv"], ["--output", "kept.csv"], ["--output", "-"]):
        assert main(["export", "7", *words]) == 1
        told = capfdbinary.readouterr()
        assert told.out == b""
        assert told.err.endswith(b"reading answers needs a permission\n")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"kept.csv": b"host,host_id\n"}


@pytest.mark.parametrize(
    ("kept", "sentence"),
    [
        (
            '{"a": {"url": "https://a"}, "b": {"url": "https://b"}}',
            "(FLEET_PROFILE) names one of a, b; or say",
        ),
        ('{"a": 5}', "the profile 'a' in '"),
        ('{"a": {"url": "https://a", "token": 5}}', "the profile 'a' in '"),
        ('{"a": {"password": "x"}}', "is none: take it out, or delete the file and `live login` again"),
        ("[]", "holds no profiles: take it out"),
        ("{", "cannot be read: Expecting property name"),
        ("\ud800", "cannot be read: 'utf-8' codec"),
    ],
)
def test_a_file_of_profiles_that_names_no_server_is_told_of_in_words(
    kept: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    place = profiles.path()
    place.parent.mkdir()
    place.write_bytes(kept.encode(errors="surrogatepass"))

    assert main(["ls"]) == 2
    assert sentence in capsys.readouterr().err


def test_tokens_that_others_can_read_are_told_of(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("FLEET_TOKEN", "FLEET_CA"):
        monkeypatch.delenv(name)
    place = profiles.keep("one", profiles.Profile(asked.url, "kept"))
    said = []
    for mode in (0o600, 0o640, 0o604):
        place.chmod(mode)
        assert main(["labels"]) == 0
        said.append("others can read the tokens" in capsys.readouterr().err)

    assert said == [False, True, True]


PAGE_OF_A_DIFF = {
    "columns": ["host", "change", "only", "a"],
    "hosts": {"changed": 1, "added": 0, "removed": 0},
    "suggested_ignore": [],
    "next": None,
    "results": [
        {
            "host": {"id": 1, "hostname": "srv-1"},
            "change": "changed",
            "removed": [{"host": "x", "change": "y", "only": "z", "a": "1"}],
            "added": [{"host": "x", "change": "y", "only": "z", "a": "2"}],
            "truncated": True,
        }
    ],
}


def test_columns_of_a_comparison_and_of_counts_keep_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    client = SimpleNamespace(run=lambda steps: carry_out(steps, answer(200, PAGE_OF_A_DIFF))[0])
    for form in ("ndjson", "csv"):
        options = SimpleNamespace(before=1, after=2, ignore=[], groups=False, format=form)
        diff.run(SimpleNamespace(options=options, client=client, say=str))
    line, _, header, *rows = capsys.readouterr().out.splitlines()
    counts = GroupWriter("hosts,rows,a", "csv", Terminal())
    counts.row({"seq": 1}, {"hosts": "=1", "rows": "y", "a": "z"}, [])
    counts.end([])

    assert json.loads(line) == {
        "host": "srv-1",
        "change": "changed",
        "only": "there",
        "row.host": "x",
        "row.change": "y",
        "row.only": "z",
        "a": "1",
        "truncated": True,
    }
    assert header == "host,change,only,row.host,row.change,row.only,a,truncated"
    assert rows == ["srv-1,changed,there,x,y,z,1,true", "srv-1,changed,here,x,y,z,2,true"]
    assert capsys.readouterr().out == "row.hosts,row.rows,a,hosts,rows\n'=1,y,z,1,1\n"


def test_counts_are_of_columns_whose_names_hold_commas(capsys: pytest.CaptureFixture[str]) -> None:
    counts = GroupWriter(" max(a, b),c", "csv", Terminal())

    counts.row({"seq": 1}, {"max(a, b)": "1", "c": "2", "max(a": "3"}, ["max(a, b)", "max(a", "c"])
    counts.end([])

    assert capsys.readouterr().out == '"max(a, b)",c,hosts,rows\n1,2,1,1\n'


def test_columns_of_one_name_are_all_there(capsys: pytest.CaptureFixture[str]) -> None:
    write("ndjson", ["a", "a", "b", "a_2", "a"], [[1, 2, 3, 4, 5]])

    assert json.loads(capsys.readouterr().out) == {"a": 1, "a_3": 2, "b": 3, "a_2": 4, "a_4": 5}


def test_a_cell_that_is_very_long_squeezes_no_other_away(capsys: pytest.CaptureFixture[str]) -> None:
    writer = TableWriter()
    for number, cell in enumerate(["x", "y" * 1_100_000]):
        writer.row({"host": {"id": number, "hostname": f"web-{number}"}}, {"cell": cell, "last": "z"}, ["cell", "last"])

    writer.end(["cell", "last"])

    titles, *rows = (line for line in capsys.readouterr().out.splitlines() if "│" in line or "┃" in line)
    assert titles.replace("┃", "").split() == ["host", "cell", "last"]
    assert [[cell.strip()[:8] for cell in row.split("│")[1:-1]] for row in rows] == [
        ["web-0", "x", "z"],
        ["web-1", "y" * 8, "z"],
    ]


def test_groups_of_a_comparison_are_printed_without_what_is_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    found = [{"row": {"port": "4444", "hosts": "x"}, "change": "added", "hosts": 3, "truncated_hosts": 1}]
    given = {**PAGE_OF_A_DIFF, "columns": ["port", "pid", "hosts"], "results": found, "suggested_ignore": ["pid", "at"]}
    given |= {"truncated_hosts": 1}
    client = SimpleNamespace(run=lambda steps: carry_out(steps, answer(200, given))[0])
    options = SimpleNamespace(before=1, after=2, ignore=["pid"], groups=True, format="csv")
    said: list[str] = []

    status = diff.run(SimpleNamespace(options=options, client=client, say=said.append))

    assert (status, capsys.readouterr().out) == (0, "change,hosts,port,row.hosts,truncated_hosts\nadded,3,4444,x,1\n")
    assert said[-1] == "always different: at; leave out with --ignore"
    assert said[-2] == "1 host sent more rows than were kept: what differs there may be cut off"


@pytest.mark.parametrize(
    ("until", "counts", "enough"),
    [
        ("50%", {"targeted": 10, "answered": 10}, False),  # of 100, of whom ninety are still to be written
        ("10%", {"targeted": 10, "answered": 10}, True),
        ("50%", {"targeted": 120, "answered": 55}, False),  # some joined later
        ("50%", {"targeted": 120, "answered": 40, "failed": 10, "unsupported": 10}, True),
        ("1%", {"targeted": 0, "answered": 0}, False),
    ],
)
def test_a_part_is_one_of_all_that_are_expected_however_many_are_there_yet(
    until: str, counts: dict[str, int], enough: bool
) -> None:
    known = {
        "targeted": 0,
        "rows": 9,
        "online": 9,
        "waiting": 9,
        "delivered": 9,
        "failed": 0,
        "unsupported": 0,
        **counts,
    }
    options = parser_of("", "live").parse_args(["SELECT 1", "--all", "--until", until])
    campaign: Any = SimpleNamespace(facts={"counts": known, "expected": 100 if counts["targeted"] else 0})

    follower = Follower(campaign, Terminal(), options, None)

    assert follower._is_enough is not None
    assert follower._is_enough() is enough


def test_counts_by_a_column_that_no_row_has_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    counts = GroupWriter("a,nope", "csv", Terminal())
    counts.row({"seq": 1}, {"a": "1"}, ["a", "b"])

    counts.end(["a", "b"])

    told = capsys.readouterr()
    assert told.out == "a,nope,hosts,rows\n1,,1,1\n"
    assert told.err == "no row has the column 'nope', there are a, b\n"


def test_a_file_of_hosts_may_come_from_anywhere(tmp_path: Path) -> None:
    file = tmp_path / "hosts.txt"
    file.write_bytes("\ufeff# of Windows\r\nsrv-1\r\n\r\n  zürich-2  # here\r\nid:12\r\nid:x".encode())
    options = parser_of("", "live").parse_args(["SELECT 1", "--hosts", f"@{file}"])

    assert targets.target(options)["hosts"] == ["srv-1", "zürich-2", 12, "id:x"]
