"""What is found in the audit, by the page, the API and as a file; and what is carried elsewhere."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from campaigns.operating import processes
from fleet import audit
from fleet.audit import chain, forwarding
from fleet.audit.models import AuditEvent, AuditForwarding, AuditLink
from tests.factories import make_person, make_user
from tests.fleet.audit.committing import commit

pytestmark = pytest.mark.django_db
SEE = "audit.view_auditevent"


def note(many: int, **more: Any) -> None:
    for number in range(many):
        audit.note("thing.done", subject=f"thing {number}", **{"n": number, **more})
    commit()


def as_auditor() -> Client:
    made = Client()
    made.force_login(make_person(SEE))
    return made


def numbers(address: str, browser: Client) -> list[list[int]]:
    """Follow `next` to its end."""
    pages = []
    while address:
        answered = browser.get(address)
        assert answered.status_code == 200, answered.content
        pages.append([line["number"] for line in answered.json()["results"]])
        address = answered.json()["next"]
    return pages


def test_pages_of_the_api_hold_every_line_once_newest_first() -> None:
    browser = as_auditor()
    note(25)
    first = AuditLink.objects.order_by("number").values_list("number", flat=True)[0]

    pages = numbers(
        f"/api/v1/audit/?action=thing&limit=10&until={timezone.now().isoformat()}".replace("+", "%2B"), browser
    )

    lines = [number for page in pages for number in page]
    assert [len(page) for page in pages] == [10, 10, 5]
    assert lines == sorted(lines, reverse=True)
    assert len(set(lines)) == 25
    assert min(lines) >= first


def test_who_follows_with_after_gets_lines_in_order_and_then_nothing_more() -> None:
    browser = as_auditor()
    note(3)
    before = chain.head().number - 3

    found = browser.get(f"/api/v1/audit/?after={before}&limit=2").json()

    assert [line["number"] for line in found["results"]] == [before + 1, before + 2]
    rest = browser.get(found["next"]).json()
    assert rest["results"][0]["number"] == before + 3
    assert rest["next"] is None or len(rest["results"]) == 2


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("who=ada", 1),
        ("action=door.opened", 2),
        ("action=door", 3),
        ("action=doo", 0),
        ("subject=door 7", 1),
        ("text=needle %", 1),
        ("text=DOOR 7", 1),
        ("text=192.0.2.77", 1),
        ('text=from "Users"', 1),
        (r"text='C:\temp\%'", 1),
        ('text="users"%0A  WHERE', 1),
        (r'text="sql": "SELECT \"x', 1),
        ("action=door&since=3600", 3),
        ("action=door&until=3600", 0),
        ("who=ada&action=door.shut", 0),
    ],
)
def test_lines_are_found_by_whatever_is_asked_by_every_door(asked: str, found: int) -> None:
    browser = as_auditor()
    ada = make_user("ada")
    audit.note("door.opened", by=ada, subject="door 7")
    audit.note("door.opened", subject="door 8", note_in_details="a needle % in hay")
    request = type("Asked", (), {"META": {"REMOTE_ADDR": "192.0.2.77"}})
    audit.note(
        "door.shut", request=request, subject="door 8", sql='SELECT "x" FROM "users"\n  WHERE at LIKE \'C:\\temp\\%\''
    )
    commit()

    asked = asked.replace("%", "%25").replace("%250A", "%0A")
    lines = browser.get("/api/v1/audit/?" + asked).json()["results"]
    of_file = b"".join(browser.get("/api/v1/audit.ndjson?" + asked)).splitlines()

    kind = [line for line in lines if line["action"].startswith("door")]
    assert len(kind) == found
    assert [json.loads(line) for line in of_file if b'"door.' in line] == kind[::-1]


def test_a_file_holds_all_that_digests_are_made_of() -> None:
    browser = as_auditor()
    note(2, hostile='"\\ \u202e</script>')

    lines = [json.loads(line) for line in b"".join(browser.get("/api/v1/audit.ndjson?action=thing")).splitlines()]

    for line in lines:
        event = AuditEvent(**{name: line[name] for name in ("person_id", "who", "token_id", "address", "action")})
        event.pk, event.subject, event.details = line["event"], line["subject"], line["details"]
        event.at = timezone.datetime.fromisoformat(line["at"])
        link = AuditLink(number=line["number"], previous=line["previous"])
        assert chain.digest_of(link, event) == line["digest"]


@pytest.mark.parametrize("address", ["/audit/", "/api/v1/audit/", "/api/v1/audit.ndjson"])
def test_the_audit_is_shown_to_who_may_see_it_alone(address: str) -> None:
    browser = Client()
    browser.force_login(make_person("campaigns.view_campaign"))

    assert browser.get(address).status_code == 403
    assert Client().get(address).status_code in (302, 401, 403)


def test_the_page_pages_without_end_and_keeps_the_question_in_the_address() -> None:
    browser = as_auditor()
    note(120)

    page = browser.get("/audit/?action=thing.done&text=thing")
    assert page.context["older_than"] is not None
    assert "action=thing.done" in page.context["question"]
    seen = []
    before: Any = ""
    while before is not None:
        page = browser.get(f"/audit/?action=thing.done&before={before}")
        seen += [link.number for link, _ in page.context["lines"]]
        before = page.context["older_than"]

    assert len(seen) == len(set(seen)) == 120


def test_hostile_text_stands_on_the_page_as_text() -> None:
    note(1, said="<script>alert(1)</script>\u202egnp.exe")
    found = as_auditor().get("/audit/", {"text": '{"n": 0, "said": "<'})  # as the page shows it

    page = found.content.decode()

    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "⟨U+202E⟩" in page


# --- forwarding ------------------------------------------------------------------------------------------------


def test_a_file_gets_every_line_in_order_once(settings: Any, tmp_path: Path) -> None:
    settings.AUDIT_SINK = str(tmp_path / "audit.ndjson")
    note(3)
    forwarding.forward()
    note(2)
    forwarding.forward()
    forwarding.forward()

    lines = [json.loads(line) for line in (tmp_path / "audit.ndjson").read_text().splitlines()]
    assert [line["number"] for line in lines] == sorted(AuditLink.objects.values_list("number", flat=True))
    assert (tmp_path / "audit.ndjson").stat().st_mode & 0o777 == 0o600
    assert list(forwarding.troubles()) == []


def test_a_destination_that_fails_is_said_and_gets_everything_later(settings: Any, tmp_path: Path) -> None:
    settings.AUDIT_SINK = str(tmp_path / "later" / "audit.ndjson")
    note(3)

    forwarding.forward()

    warned = Client().get("/readyz").json()["warnings"][-1]
    assert "not forwarded" in warned
    assert "audit.ndjson" not in warned  # where lines go, who sees the audit is told
    assert "No such file or directory" in as_auditor().get("/audit/").content.decode()
    assert any("No such file or directory" in found.sentence for found in processes.processes())
    (tmp_path / "later").mkdir()
    AuditForwarding.objects.update(tried_at=None)  # five seconds later
    forwarding.forward()
    assert len((tmp_path / "later" / "audit.ndjson").read_text().splitlines()) == AuditLink.objects.count()
    assert list(forwarding.troubles()) == []


@pytest.mark.parametrize(
    ("sink", "reason"),
    [
        ("ftp://somewhere", "'ftp://somewhere' is unknown: allowed are"),
        ("udp://no..name:514", "AUDIT_SINK has the host 'no..name', which is no name"),
    ],
)
def test_a_destination_that_is_none_is_named(settings: Any, sink: str, reason: str) -> None:
    settings.AUDIT_SINK = sink
    note(1)

    forwarding.forward()

    assert reason in forwarding.reason()


@pytest.fixture
def datagrams() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(5)
        yield made


def test_syslog_gets_a_message_for_each_line_also_for_one_that_is_too_long(
    settings: Any, datagrams: socket.socket
) -> None:
    settings.AUDIT_SINK = f"udp://127.0.0.1:{datagrams.getsockname()[1]}"
    note(1)
    note(1, much="x" * 200_000)

    forwarding.forward()

    messages = [datagrams.recv(70_000).decode() for _ in range(2)]
    assert all(message.startswith("<109>1 20") for message in messages)
    assert "do not fit a datagram" in messages[1]
    assert json.loads(messages[1].split(" - ", 2)[2])["digest"] == chain.head().digest


def test_the_local_syslog_gets_lines_as_programs_write_them(settings: Any, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as here:
        here.bind(str(tmp_path / "log"))
        here.settimeout(90)
        settings.AUDIT_SINK = f"unix://{tmp_path}/log"
        note(1)
        note(1, much="x" * 70_000)

        forwarding.forward()
        messages = [here.recv(70_000).decode() for _ in range(2)]

    assert all(message.startswith("<109>fleet-audit: {") for message in messages)
    assert json.loads(messages[1].partition(": ")[2])["digest"] == chain.head().digest
    assert "do not fit a datagram" in messages[1]


def test_a_syslog_is_connected_to_for_lines_alone_at_any_of_its_addresses(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo

    def both(host: str, port: int, *more: Any, **kinds: Any) -> list[Any]:
        """Answer as machines do that know localhost by IPv6 first."""
        return [found for name in ("::1", "127.0.0.1") for found in look_up(name, port, *more, **kinds)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(90)
        settings.AUDIT_SINK = f"tcp://localhost:{server.getsockname()[1]}"
        note(1)
        carried = forwarding.forward()
        server.accept()[0].close()
        again = forwarding.forward()
        server.setblocking(False)

        with pytest.raises(BlockingIOError):
            server.accept()

    assert (carried, again) == (1, 0)


def test_syslog_over_tcp_gets_messages_framed_by_their_length(settings: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.AUDIT_SINK = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        came: list[bytes] = []

        def take() -> None:
            peer, _ = server.accept()
            with peer:
                came.extend(iter(lambda: peer.recv(65536), b""))

        taking = threading.Thread(target=take)
        taking.start()
        note(2)
        forwarding.forward()
        taking.join(timeout=30)

    length, _, rest = b"".join(came).partition(b" ")
    assert rest[: int(length)].startswith(b"<109>1 ")
    assert rest[: int(length)].endswith(b"}")
