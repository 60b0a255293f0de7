"""The config that agents are served, and where their log lines go."""

import asyncio
import fcntl
import html
import json
import re
import resource
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from agents.board import keyspace, redis_client
from agents.enrolling import config_document
from agents.gateway import log_sink
from agents.gateway.app import Gateway
from agents.gateway.log_sink import LinesUnderWayError, LogSink, LogSinkError, Rotation
from agents.models import ConfigDocument, Host
from campaigns.running.rebuild import rebuild
from fleet.embedded.redis import EmbeddedRedis
from fleet.errors import BadInputError
from tests.conftest import Agent
from tests.end_to_end.conftest import wait_for
from tests.factories import make_host, make_user
from tests.servers import open_folder

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Meet = Callable[[Host | int], Agent]
DOCUMENT = {"options": {"logger_tls_period": 10}, "schedule": {"up": {"query": "SELECT 1", "interval": 60}}}


def config_of(agent: Agent) -> Any:
    agent._loop.run_until_complete(agent.gateway.store.refresh())
    return agent.post("config", {"node_key": agent.key})


def test_without_a_document_agents_get_what_live_queries_need(agent: Meet) -> None:
    assert config_of(agent(make_host())) == {
        "options": {"disable_distributed": False, "distributed_interval": 10},
        "schedule": {},
    }


def test_a_document_is_served_within_a_look_and_survives_a_lost_board(agent: Meet) -> None:
    asked = agent(make_host())
    config_document.keep(DOCUMENT, by="alex")

    served = config_of(asked)
    assert served["schedule"] == DOCUMENT["schedule"]
    assert served["options"] == {
        "disable_distributed": False,
        "distributed_interval": 10,
        "logger_tls_period": 10,
    }

    redis_client.client().flushdb()
    assert config_of(asked) == served, "the last known copy"
    assert rebuild()
    assert config_of(asked) == served


def test_a_gateway_that_knows_no_config_yet_says_so(agent: Meet) -> None:
    asked = agent(make_host())
    asked.gateway.board.config = None

    assert set(asked.post("config", {"node_key": asked.key})) == {"error"}


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([], "list, not a JSON object"),
        ({"error": None}, "member 'error'"),
        ({"node_invalid": False}, "member 'node_invalid'"),
        ({"options": {"a": 1.5}}, "option a is 1.5"),
        ({"options": []}, "options are list"),
        ({"views": {"v": "x" * 2**20}}, "as it is served, agents take less than 1048576"),
        ({"views": {"v": "x" * (2**20 - 60)}}, "has 1048614 bytes as it is served"),
        ({"views": {"v": "\ud800"}}, "half of a surrogate pair"),
        ({"options": {"\ud800": 1.5}}, "half of a surrogate pair"),
        ({"views": {"v": "a\0b"}}, "the character .u0000"),
        ({"views": {"\0": 1}}, "the character .u0000"),
        ({"views": {"v": float("nan")}}, "has NaN, Infinity"),
        ({"views": {"v": float("-inf")}}, "has NaN, Infinity"),
        ({"views": {"v": 10**5000}}, "has NaN, Infinity or a number as large"),
        ({"a": json.loads("[" * 900 + "]" * 900)}, "nested 901 levels deep"),
        (json.loads("[" * 40 + "]" * 40), "not a JSON object"),
        ({"a": json.loads("[" * 32 + "]" * 32)}, "nested 33 levels deep"),
    ],
)
def test_what_agents_would_refuse_is_refused(document: Any, sentence: str) -> None:
    with pytest.raises(BadInputError, match=sentence):
        config_document.keep(document, by="alex")
    assert not ConfigDocument.objects.exists()


def test_text_that_only_looks_odd_is_kept(board: None) -> None:
    document = {"views": {"v": "\\u0000 \\\\u0000 \U0001f600 \x01 é"}}

    config_document.keep(document, by="alex")

    assert config_document.current() == document


ODD_DOCUMENTS = [
    ('{"a": "\\ud800"}', "half of a surrogate pair"),
    ('{"a": "\\u0000"}', "which PostgreSQL does not keep"),
    ('{"a": NaN}', "has NaN, Infinity"),
    ('{"a": 1e999}', "has NaN, Infinity"),
    ('{"a": %s}' % ("9" * 5000), "This is no JSON, or is nested"),
    (f'{{"a": {"[" * 500}{"]" * 500}}}', "nested 501 levels deep"),
    (f'{{"a": {"[" * 990}{"]" * 990}}}', "levels deep|This is no JSON, or is nested"),
    ("[" * 100_000, "This is no JSON, or is nested"),
    ("{", "This is no JSON"),
    ("", "This field is required"),
]


@pytest.mark.parametrize(("text", "sentence"), ODD_DOCUMENTS)
def test_the_form_refuses_odd_documents_with_a_sentence_and_shows_them_again(
    client: Client, text: str, sentence: str
) -> None:
    client.force_login(make_user(admin=True))

    page = client.post("/admin/agents/configdocument/add/", {"document": text})

    assert page.status_code == 200
    shown = html.unescape(page.content.decode())
    assert re.search(sentence, shown)
    assert text in shown
    assert not ConfigDocument.objects.exists()


def warnings_of(**options: Any) -> list[str]:
    return list(config_document.warnings_of({"options": options}))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"disable_distributed": True}, "disable_distributed turns live queries off"),
        ({"disable_distributed": "T"}, "disable_distributed turns live queries off"),
        ({"disable_distributed": "yes"}, "disable_distributed turns live queries off"),
        ({"disable_distributed": 1}, "disable_distributed turns live queries off"),
        ({"distributed_plugin": "filesystem"}, "distributed_plugin 'filesystem' keeps hosts"),
        ({"distributed_tls_read_endpoint": "/api/fleet/read"}, "read_endpoint '/api/fleet/read' is not answered here"),
        ({"distributed_tls_write_endpoint": ""}, "write_endpoint '' is not answered here"),
        ({"distributed_interval": 10}, "distributed_interval 10 replaces"),
        ({"distributed_interval": "60"}, "distributed_interval 60 replaces"),
    ],
)
def test_what_stops_or_slows_live_queries_is_warned_of(options: dict[str, Any], sentence: str) -> None:
    (warning,) = warnings_of(**options)
    assert sentence in warning


def test_what_is_served_anyway_is_not_warned_of() -> None:
    assert not warnings_of(
        disable_distributed="f",
        distributed_interval=2,
        distributed_plugin="tls",
        distributed_tls_read_endpoint="/api/osquery/distributed/read",
        distributed_tls_write_endpoint="/api/v1/osquery/distributed/write",
        distributed_tls_max_attempts=3,
    )
    assert not warnings_of(distributed_interval="2", disable_distributed=False)


def test_options_against_held_reads_are_warned_of(client: Client) -> None:
    client.force_login(make_user(admin=True))
    options = {"distributed_interval": 60, "tls_hostname": "x", "distributed_tls_max_attempts": 0}
    body = {"document": json.dumps({"options": options})}

    page = client.post("/admin/agents/configdocument/add/", body, follow=True).content.decode()

    for sentence in ("distributed_interval 60 replaces", "tls_hostname is taken from the command line", "send nothing"):
        assert sentence in page
    assert json.loads(redis_client.client().get("board:config")) == {"options": options}
    refused = client.post("/admin/agents/configdocument/1/change/", {"document": '{"error": 1}'}).content.decode()
    assert "agents would refuse all of it" in refused


def test_the_config_page_warns_while_log_lines_are_dropped(client: Client, settings: Any) -> None:
    client.force_login(make_user(admin=True))
    config_document.keep({"schedule": {}}, by="ann")

    settings.LOG_SINK = ""
    without = client.get("/admin/agents/configdocument/1/change/").content.decode()
    settings.LOG_SINK = "file:///var/log/osquery.ndjson"

    assert "LOG_SINK is not set" in without
    assert "LOG_SINK" not in client.get("/admin/agents/configdocument/1/change/").content.decode()


# --- log ---------------------------------------------------------------------------------------------------------

LINES = [{"name": "up", "columns": {"a": "1"}}, {"name": "up", "columns": {"a": "2"}}]


def log(agent: Agent, lines: Any = LINES, kind: Any = "result") -> Any:
    return agent.post("log", {"node_key": agent.key, "log_type": kind, "data": lines})


@pytest.fixture(scope="module")
def logs() -> Iterator[EmbeddedRedis]:
    """Start a Redis for log lines."""
    server = EmbeddedRedis(open_folder() / "logs")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def stream(logs: EmbeddedRedis) -> Iterator[Any]:
    """Give its client, and the setting that names it."""
    client = keyspace.connect(logs.url)
    client.flushdb()
    client.setting = f"{logs.url}#osquery-logs"
    yield client
    client.close()


@pytest.fixture
def sink(gateway: Gateway) -> Callable[[str], Gateway]:
    """Give the gateway a sink."""

    def use(address: str) -> Gateway:
        gateway._sink = LogSink(address, settings.REDIS_URL)
        return gateway

    return use


def test_lines_are_in_the_file_when_they_are_acknowledged(
    agent: Meet, sink: Callable[[str], Gateway], tmp_path: Path
) -> None:
    host = make_host()
    sink(f"file://{tmp_path}/osquery.ndjson")

    assert log(agent(host)) == {}
    assert log(agent(host), [*LINES, {"name": "new"}]) == {}, "a batch that was sent again, and grew"
    assert log(agent(host), kind="status") == {}

    kept = [json.loads(line) for line in (tmp_path / "osquery.ndjson").read_text().splitlines()]
    assert kept == [{"host_id": host.pk, "log_type": "result", "line": line} for line in [*LINES, {"name": "new"}]]
    assert (tmp_path / "osquery.ndjson").stat().st_mode & 0o777 == 0o600


def test_the_same_line_of_two_hosts_is_two_lines(agent: Meet, sink: Callable[[str], Gateway], stream: Any) -> None:
    sink(stream.setting)
    for _ in range(2):
        for host in (make_host(), make_host()):
            log(agent(host), LINES[:1])

    assert stream.xlen("osquery-logs") == 4
    assert not redis_client.client().keys("log:*"), "the board's Redis does not hear of them"


def test_a_sink_that_fails_keeps_the_lines_with_the_agent(
    agent: Meet, sink: Callable[[str], Gateway], tmp_path: Path
) -> None:
    host = make_host()
    sink(f"file://{tmp_path}/away/osquery.ndjson")

    assert set(log(agent(host))) == {"error"}
    (tmp_path / "away").mkdir()
    assert log(agent(host)) == {}
    assert len((tmp_path / "away" / "osquery.ndjson").read_text().splitlines()) == 2


def append(sink: LogSink, *lines: bytes) -> Awaitable[int]:
    return sink.append(7, "result", lines)


async def two_sinks(address: str) -> tuple[LogSink, LogSink]:
    """Give the ends of two gateways."""
    return LogSink(address, settings.REDIS_URL), LogSink(address, settings.REDIS_URL)


async def test_of_two_gateways_that_get_a_batch_at_once_one_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await two_sinks(f"file://{tmp_path}/osquery.ndjson")
    write, under_way, go_on = first._write, asyncio.Event(), asyncio.Event()

    async def write_slowly(entries: list[bytes]) -> None:
        under_way.set()
        await go_on.wait()
        await write(entries)

    monkeypatch.setattr(first, "_write", write_slowly)
    appending = asyncio.ensure_future(append(first, b"1", b"2"))
    await under_way.wait()

    with pytest.raises(LinesUnderWayError, match="2 of 3 log lines"):
        await append(second, b"1", b"2", b"3")
    go_on.set()
    assert await appending == 2
    assert await append(second, b"1", b"2", b"3") == 0, "it came again"

    kept = [json.loads(line)["line"] for line in (tmp_path / "osquery.ndjson").read_text().splitlines()]
    assert sorted(kept) == [1, 2, 3]
    await first.close()
    await second.close()


async def test_lines_of_a_gateway_that_failed_are_free_for_the_other(tmp_path: Path) -> None:
    first, second = await two_sinks(f"file://{tmp_path}/away/osquery.ndjson")
    with pytest.raises(FileNotFoundError):
        await append(first, b"1")

    (tmp_path / "away").mkdir()

    assert await append(second, b"1") == 1
    assert not redis_client.client().keys("log:claim:*")
    await first.close()
    await second.close()


async def test_lines_of_a_gateway_that_died_are_free_after_a_while(tmp_path: Path) -> None:
    first, second = await two_sinks(f"file://{tmp_path}/osquery.ndjson")
    await first._claim([log_sink._digest(7, b"1")])
    (claim,) = redis_client.client().keys("log:claim:*")
    assert 0 < redis_client.client().ttl(claim) <= log_sink.CLAIM_SECONDS

    redis_client.client().delete(claim)

    assert await append(second, b"1") == 1
    await first.close()
    await second.close()


async def test_a_flood_of_lines_stops_being_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_sink, "MOST_SEEN", 2)
    sink, other = await two_sinks(f"file://{tmp_path}/osquery.ndjson")

    assert [await append(sink, line) for line in (b"1", b"2", b"3", b"3", b"1")] == [1, 1, 1, 1, 0]
    await sink.close()
    await other.close()


def test_a_disk_that_is_full_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "osquery.ndjson"
    log_sink._append(path, b'{"a":1}\n')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 4, limits[1]))
    try:
        with pytest.raises(OSError, match="only 4 of 8 bytes"):
            log_sink._append(path, b'{"b":2}\n')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    log_sink._append(path, b'{"c":3}\n')

    assert path.read_bytes() == b'{"a":1}\n{"c":3}\n'


def test_half_a_line_of_a_gateway_that_was_killed_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "osquery.ndjson"
    path.write_bytes(b'{"a":1}\n{"b"')

    log_sink._append(path, b'{"c":3}\n')

    assert path.read_bytes() == b'{"a":1}\n{"b"\n{"c":3}\n'


def someone_waits_for(path: Path) -> bool:
    locks = Path("/proc/locks").read_text().splitlines()
    return any("->" in lock and f":{path.stat().st_ino} " in lock for lock in locks)


def test_gateways_take_turns_at_the_file(tmp_path: Path) -> None:
    path = tmp_path / "osquery.ndjson"
    log_sink._append(path, b"1\n")
    with path.open("rb") as other, ThreadPoolExecutor(1) as pool:
        fcntl.flock(other, fcntl.LOCK_EX)
        appending = pool.submit(log_sink._append, path, b"2\n")
        wait_for(lambda: someone_waits_for(path), 90)
        assert path.read_bytes() == b"1\n"
        fcntl.flock(other, fcntl.LOCK_UN)
        appending.result(10)

    assert path.read_bytes() == b"1\n2\n"


@pytest.mark.parametrize("body", [{"log_type": "other", "data": LINES}, {"data": 7}, {"log_type": "result"}, {}])
def test_what_is_no_log_is_dropped(agent: Meet, sink: Callable[[str], Gateway], stream: Any, body: Any) -> None:
    sink(stream.setting)
    asked = agent(make_host())

    assert asked.post("log", {"node_key": asked.key, **body}) == {}
    assert not stream.exists("osquery-logs")


def test_without_a_sink_lines_are_counted(agent: Meet) -> None:
    asked = agent(make_host())
    assert log(asked) == {}
    assert asked.gateway.counts["log batches"] == 1


ADDRESSES = [
    "osquery.log",
    "file://",
    "http://example.org",
    "redis-stream://key",
    "redis://host:6379/0",
    "redis://h:x#k",
]


def test_a_full_file_is_rotated_between_lines_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "osquery.ndjson"
    rotation = Rotation(most_bytes=10, kept=2)

    for number in range(1, 8):
        log_sink._append(path, b"%d234\n" % number, rotation)  # two of these fit

    names = ["osquery.ndjson.2", "osquery.ndjson.1", "osquery.ndjson"]
    assert sorted(names) == sorted(found.name for found in tmp_path.iterdir())
    texts = [(tmp_path / name).read_text() for name in names]
    assert texts == ["3234\n4234\n", "5234\n6234\n", "7234\n"]
    assert {found.stat().st_mode & 0o777 for found in tmp_path.iterdir()} == {0o600}


def test_a_batch_above_the_limit_is_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "osquery.ndjson"

    for content in (b"1\n", b"0123456789\n0123456789\n", b"2\n"):
        log_sink._append(path, content, Rotation(most_bytes=10, kept=5))

    assert [Path(f"{path}{end}").read_text() for end in (".2", ".1", "")] == ["1\n", "0123456789\n" * 2, "2\n"]


WRITER = """
import sys
from pathlib import Path
from agents.gateway.log_sink import Rotation, _append
for number in range(200):
    _append(Path(sys.argv[1]), b"%s %d\\n" % (sys.argv[2].encode(), number), Rotation(most_bytes=500, kept=100))
"""


def test_gateways_that_share_a_rotated_file_lose_and_tear_no_line(tmp_path: Path) -> None:
    path = tmp_path / "osquery.ndjson"

    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in "abcd"]
    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]

    files = list(tmp_path.iterdir())
    lines = [line for file in files for line in file.read_text().splitlines()]
    assert sorted(lines) == sorted(f"{name} {number}" for name in "abcd" for number in range(200))
    assert len(files) > 5
    assert max(file.stat().st_size for file in files) <= 500


@pytest.mark.parametrize(
    ("rotation", "named"),
    [(Rotation(-1, 5), "LOG_FILE_MAX_BYTES -1"), (Rotation(0, 0), "LOG_FILES_KEPT 0"), (Rotation(9, -3), "KEPT -3")],
)
def test_a_rotation_that_is_none_is_named(rotation: Rotation, named: str) -> None:
    with pytest.raises(LogSinkError, match=named):
        LogSink("file:///tmp/osquery.ndjson", settings.REDIS_URL, rotation)


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "a folder # 100%" / "osquery?.ndjson"

    assert LogSink(path.as_uri(), settings.REDIS_URL)._file == path


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_sink_that_is_none_is_named(address: str) -> None:
    with pytest.raises(LogSinkError, match=address):
        LogSink(address, settings.REDIS_URL)


def test_the_redis_that_answers_go_through_is_no_sink_whichever_of_its_databases() -> None:
    with pytest.raises(LogSinkError, match="log lines would fill it") as refusal:
        LogSink("redis://:s3cret@fleet.example/7#osquery-logs", "redis://fleet.example:6379/0")
    assert "s3cret" not in str(refusal.value)


def test_the_setting_reaches_the_gateway(loop: Any, stream: Any) -> None:
    from tests.conftest import gateway_settings

    made = Gateway(replace(gateway_settings(), log_sink=stream.setting), cold=None)  # type: ignore[arg-type]
    loop.run_until_complete(made.start())
    assert made._sink is not None
    loop.run_until_complete(made.stop())
