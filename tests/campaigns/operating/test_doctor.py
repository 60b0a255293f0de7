"""`manage.py doctor` looks at real servers, a real certificate and the real way of a read, and says what to mend."""

import io
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection

from agents.board import keyspace, redis_client
from campaigns.operating import edge as edges
from campaigns.operating import machine, servers
from campaigns.operating.edge import Edge
from campaigns.operating.finding import Finding, Severity
from campaigns.operating.processes import processes
from fleet.celery import app as celery
from fleet.demo import certificates as demo_certificates
from fleet.demo.certificates import Certificates
from fleet.embedded.redis import EmbeddedRedis
from tests.agents.wire.conftest import GatewayProcess
from tests.factories import make_host
from tests.fleet.tiers import Tier
from tests.servers import open_folder

HOLD = 2.0


def said(found: Iterable[Finding], severity: Severity = Severity.WARNING) -> str:
    """Give the sentences of what is at least so bad, with the advice that each of them has."""
    bad = [finding for finding in found if finding.severity >= severity]
    assert all(finding.advice for finding in bad)
    return "\n".join(f"{finding.sentence}. {finding.advice}" for finding in bad)


@pytest.mark.django_db
def test_nothing_is_wrong_with_sound_servers(board: None) -> None:
    found = [*servers.postgresql(), *servers.redis()]

    # The tests' PostgreSQL is quick instead of durable, and the doctor sees it.
    assert {line.split(" = ")[0] for line in said(found).split("\n")} == {
        "PostgreSQL has fsync",
        "PostgreSQL has full_page_writes",
        "PostgreSQL has synchronous_commit",
    }
    assert any("Redis 6.2" in finding.sentence for finding in found)


@pytest.mark.django_db
def test_migrations_that_are_missing_or_of_another_version_are_named(board: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'sessions'")
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('campaigns', '9999_of_tomorrow', now())"
        )
    assert "migrations are missing: sessions.0001_initial" in said(servers.postgresql(), Severity.BROKEN)

    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('sessions', '0001_initial', now())")
    assert "campaigns.9999_of_tomorrow" in said(servers.postgresql())


def test_a_database_that_does_not_answer_is_broken(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "HOST", "/nowhere")
    try:
        found = [*servers.postgresql(), *processes()]
        assert said(found, Severity.BROKEN).count("PostgreSQL does not answer") == 2
        assert all(finding.sentence.isprintable() for finding in found)  # on one line, whatever PostgreSQL's error has
    finally:
        monkeypatch.undo()
        connection.close()


@pytest.fixture
def own_redis(settings: Any) -> Iterator[Any]:
    """Give a client of a Redis of this test's own, which it may set as it likes."""
    started = EmbeddedRedis(open_folder() / "redis")
    started.start()
    settings.REDIS_URL = started.url
    client = keyspace.connect(started.url)
    yield client
    client.close()
    started.stop()


@pytest.mark.parametrize(
    ("name", "value"), [("appendfsync", "everysec"), ("maxmemory-policy", "allkeys-lru"), ("appendonly", "no")]
)
def test_settings_of_redis_that_lose_answers_are_named(own_redis: Any, name: str, value: str) -> None:
    own_redis.config_set(name, value)

    assert f"Redis has {name} {value}" in said(servers.redis())


def test_a_full_redis_is_named(own_redis: Any) -> None:
    own_redis.config_set("maxmemory", own_redis.info("memory")["used_memory"])

    assert "give it more memory" in said(servers.redis())


def test_a_replica_that_redis_url_points_at_is_broken(own_redis: Any) -> None:
    own_redis.replicaof("127.0.0.1", 1)

    assert "Redis is a replica: it takes no writes" in said(servers.redis(), Severity.BROKEN)


@pytest.mark.django_db
def test_clocks_that_differ_from_this_machine_s_are_named(board: None) -> None:
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)):
        found = said([*servers.postgresql(), *servers.redis()])

    assert re.findall(r"the clock of (\w+) is (\d+)\.\d seconds off", found) == [
        ("PostgreSQL", "3600"),
        ("Redis", "3600"),
    ]


@pytest.mark.django_db
def test_crowded_connections_and_transactions_near_their_end_are_named(
    board: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "CROWDED", 0.0)
    monkeypatch.setattr(servers, "OLD_TRANSACTIONS", 0)

    found = said(servers.postgresql())

    assert re.search(r"[1-9]\d* of \d+ connections are in use. raise max_connections", found)
    assert re.search(r"the oldest transaction is [1-9]\d* transactions old", found)


@pytest.mark.django_db
def test_a_board_that_is_not_whole_is_broken() -> None:
    assert "the board is not whole" in said(processes(), Severity.BROKEN)


@pytest.mark.django_db
def test_what_was_noticed_of_keys_and_of_the_audit_is_told(board: None, settings: Any) -> None:
    settings.NODE_KEY_SECRETS = ["new", "old"]
    client = redis_client.client()
    client.hset(keyspace.OLD_SECRETS, mapping={"1": 1, str(keyspace.OLD_FORM_FIELD): 2})
    client.set(keyspace.STRANGERS, 3)
    client.hset(keyspace.AUDIT_END, keyspace.AUDIT_END_MISSED, 1)

    found = said(processes())

    assert "1 check-in used secret 2 of NODE_KEY_SECRETS. it must stay while this grows" in found
    assert "2 requests used node keys that name no installation. see docs/backup.md" in found
    assert "3 requests came lately with keys of hosts that the database does not have" in found
    assert "the audit lacks a line that it had. `manage.py verify_audit` says which" in found


def test_a_tier_is_not_asked_for_what_another_does(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the image a gateway has no folder for answers, and a console few open files."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 1024))

    told = {}
    for tier, missing in (("gateway", {"SECRET_KEY"}), ("console", {"NODE_KEY_SECRETS"}), ("both", set())):
        settings.MISSING_SECRETS = missing
        told[tier] = "\n".join(finding.sentence for finding in machine.machine())

    assert [tier for tier, text in told.items() if "ANALYSIS_DIR" in text] == ["console", "both"]
    assert [tier for tier, text in told.items() if "may open 1024 files" in text] == ["gateway", "both"]


@pytest.mark.django_db
def test_before_the_first_host_no_read_is_tried(board: None, settings: Any, certificates: Certificates) -> None:
    settings.MISSING_SECRETS = set()

    found = said(edges.edge(at(proxy(certificates, b""), certificates)))

    assert "no held read was tried: no host has enrolled yet" in found


@pytest.mark.django_db
def test_processes_that_are_silent_and_queues_nobody_empties_are_named(
    board: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    celery.send_task("campaigns.note_worker", queue="live")
    monkeypatch.setattr("campaigns.operating.figures.time.time", lambda: datetime.now(UTC).timestamp() + 100)

    found = said(processes(), Severity.BROKEN)

    assert "nothing was swept yet" in found
    assert "no gateway told of itself yet" in found
    assert "in the queue live" in found


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    made = Certificates(tmp_path_factory.mktemp("doctor") / "certificates")
    made.make("127.0.0.1")
    return made


@pytest.fixture
def one_host(board: None, db: None, settings: Any) -> None:
    """Know secrets and a host, so that a held read is tried."""
    settings.MISSING_SECRETS = set()
    make_host()


@pytest.fixture
def tier(
    board: None, transactional_db: None, settings: Any, tmp_path: Path, certificates: Certificates
) -> Iterator[GatewayProcess]:
    """Serve a gateway over TLS that holds reads for two seconds."""
    settings.HOLD_SECONDS = HOLD
    settings.MISSING_SECRETS = set()
    make_host()
    started = Tier("gateway", tmp_path, certificates, HOLD_SECONDS=str(HOLD))
    yield started
    started.stop()


def at(port: int, certificates: Certificates, name: str = "localhost") -> Edge:
    return Edge.at(f"https://127.0.0.1:{port}", certificates.ca, name)


@pytest.mark.processes
def test_a_read_is_held_through_the_public_address(tier: GatewayProcess, certificates: Certificates) -> None:
    found = list(edges.edge(at(tier.port, certificates)))

    assert said(found) == ""
    assert any("a read was held" in finding.sentence for finding in found)


@pytest.mark.usefixtures("one_host")
@pytest.mark.parametrize(
    ("behind", "sentence"),
    [
        (b"", "a held read was cut after"),
        (b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n", "answered a held read with 504"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "does it ask hosts for certificates"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "let it lead /api/osquery/ and"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "is one running"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "a read is answered with b'hello'"),
    ],
)
def test_who_cuts_a_held_read_is_told(certificates: Certificates, behind: bytes, sentence: str) -> None:
    port = proxy(certificates, behind)

    assert sentence in said(edges.edge(at(port, certificates)), Severity.BROKEN)


@pytest.mark.processes
def test_a_gateway_of_other_secrets_is_found(tier: GatewayProcess, certificates: Certificates, settings: Any) -> None:
    settings.NODE_KEY_SECRETS = ["another"]

    assert "does not know keys" in said(edges.edge(at(tier.port, certificates)), Severity.BROKEN)


@pytest.mark.django_db
def test_a_certificate_without_the_name_of_the_flagfile_is_broken(certificates: Certificates) -> None:
    port = proxy(certificates, b"")

    found = said(edges.edge(at(port, certificates, "fleet.example.org")), Severity.BROKEN)

    assert "its names must have fleet.example.org" in found


@pytest.mark.django_db
@pytest.mark.parametrize(("days", "sentence"), [(390, "is good for 6 more days"), (500, "certificate has expired")])
def test_a_certificate_that_ends_soon_is_named(
    tmp_path: Path, days: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Then(datetime):
        """Days ago."""

        @classmethod
        def now(cls, tz: Any = None) -> "Then":
            return super().now(tz) - timedelta(days=days)  # type: ignore[return-value]

    monkeypatch.setattr(demo_certificates, "datetime", Then)
    old = Certificates(tmp_path / "certificates")
    old.make("127.0.0.1")

    assert sentence in said(edges.edge(at(proxy(old, b""), old)))


def test_an_address_nobody_listens_at_is_broken(certificates: Certificates) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found = said(edges.edge(at(probe.getsockname()[1], certificates)), Severity.BROKEN)

    assert "cannot be reached" in found


@pytest.mark.django_db
def test_a_name_that_consoles_do_not_know_is_told(certificates: Certificates) -> None:
    port = proxy(certificates, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    found = said(edges.edge(at(port, certificates)))

    assert "consoles refuse people who come to localhost. add localhost to ALLOWED_HOSTS" in found


def test_files_that_are_none_are_refused_and_named(tmp_path: Path, certificates: Certificates) -> None:
    (tmp_path / "nothing.pem").write_text("nothing")

    nothing = tmp_path / "nothing.pem"

    for given in (
        {"ca": tmp_path / "away.pem"},
        {"ca": nothing},
        {"client_cert": nothing, "client_key": certificates.server_key},
    ):
        with pytest.raises(CommandError, match=r"(away|nothing)\.pem.* cannot be used, files in PEM are wanted"):
            call_command("doctor", url="https://localhost", **given)
    with pytest.raises(CommandError, match="belong together"):
        call_command("doctor", url="https://localhost", client_cert=certificates.server)


@pytest.mark.parametrize("url", ["https://localhost:99999", "fleet.example.org", "ftp://fleet.example.org", "https://"])
def test_what_is_no_address_is_refused_and_named(url: str, board: None, db: None) -> None:
    with pytest.raises(CommandError, match=repr(url)) as refused:
        call_command("doctor", url=url)

    assert refused.value.returncode == 2


def test_little_room_and_few_files_are_named(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MAX_HELD_READS = 10**9
    monkeypatch.setattr(machine, "LITTLE_ROOM", 2**60)

    settings.ANSWERS_SINK, settings.AUDIT_SINK = "file:///proc/answers.ndjson", "/proc/audit.ndjson"

    found = said(machine.machine())

    for name in ("CARVES_DIR", "ANALYSIS_DIR", "ANSWERS_SINK", "AUDIT_SINK"):
        assert f"GiB are free for {name}" in found
    assert "may open" in found


def test_a_folder_that_nobody_makes_is_missed(settings: Any, tmp_path: Path) -> None:
    settings.LOG_SINK, settings.CARVES_DIR = f"file://{tmp_path}/logs/lines", str(tmp_path / "carves")

    assert f"there is no folder {tmp_path}/logs, which LOG_SINK writes into" in said(machine.machine(), Severity.BROKEN)
    assert "carves" not in said(machine.machine(), Severity.BROKEN)  # which the server makes


def test_the_worst_finding_is_the_exit_status(board: None, db: None) -> None:
    output = io.StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("doctor", url="", json=True, stdout=output)

    told = json.loads(output.getvalue())
    assert ended.value.code == 2
    assert told["severity"] == "broken"
    assert {finding["about"] for finding in told["findings"]} >= {"database", "redis", "processes", "machine"}
    assert any("PUBLIC_URL is not set" in finding["sentence"] for finding in told["findings"])


def whole_request(connection: socket.socket) -> bytes:
    """Read until the end of a request, or of what the other side sends: a close on what is unread loses the answer."""
    asked = b""
    while not asked.endswith(b"}" if asked.startswith(b"POST") else b"\r\n\r\n"):
        piece = connection.recv(2**16)
        if not piece:
            break
        asked += piece
    return asked


def proxy(certificates: Certificates, answer: bytes) -> int:
    """Listen with this certificate; /livez is well, everything else gets `answer` and is closed. Give the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            plain, _ = listener.accept()
            try:
                with context.wrap_socket(plain, server_side=True) as connection:
                    asked = whole_request(connection)
                    well = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
                    connection.sendall(well if asked.startswith(b"GET /livez") else answer)
            except OSError:
                plain.close()

    threading.Thread(target=serve, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port
