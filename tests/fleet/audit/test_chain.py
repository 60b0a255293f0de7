"""The audit's chain: nothing is changed, nothing goes missing without a trace."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from agents.board import keyspace, redis_client
from agents.board.health import health
from campaigns.operating import audit_end
from fleet import audit
from fleet.audit import chain, forwarding
from fleet.audit.models import AuditEvent, AuditLink
from tests.factories import make_user
from tests.fleet.audit.committing import commit

pytestmark = pytest.mark.django_db
HOSTILE = '\x1b[31m</script>"\\ \u202e\x7f\x01\ud800\0 ä 💥 {"a": [1, 2.5]}'


def note(many: int) -> None:
    for number in range(many):
        audit.note("thing.done", subject=f"thing {number}", number=number, bb=1, a={"é": None, "zz": [HOSTILE, True]})
    commit()


def tamper(sql: str) -> None:
    """Change the tables as their owner can, who switches the triggers off."""
    tables = ("audit_auditevent", "audit_auditlink")
    with transaction.atomic(), connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER audit_refuses_change")
        cursor.execute(sql)
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER audit_refuses_change")


def verify(*arguments: str) -> tuple[int, dict[str, Any]]:
    out = StringIO()
    try:
        call_command("verify_audit", "--json", *arguments, stdout=out)
    except SystemExit as end:
        return int(str(end.code)), json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


def test_lines_of_any_content_make_a_chain_that_holds() -> None:
    note(3)
    audit.note(HOSTILE[:20].replace("\0", ""), who=HOSTILE, subject=HOSTILE * 10, by=make_user("ömer"), big=2**80)
    commit()

    code, found = verify()

    assert (code, found["lines"], found["broken_at"]) == (0, 5, None)  # the person is a line too
    assert str(chain.head()) == found["last"]


@pytest.mark.parametrize("table", ["audit_auditevent", "audit_auditlink"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_database_refuses_to_change_or_delete_lines(table: str, verb: str) -> None:
    note(1)
    column = "id" if table == "audit_auditevent" else "number"

    with pytest.raises(DatabaseError, match="only ever added to"):
        _change(table, verb.format(table, column, column))


@transaction.atomic
def _change(table: str, sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER audit_refuses_truncate")  # tests go without it
        cursor.execute(sql)


TAMPERINGS = {
    "UPDATE audit_auditevent SET who = 'nobody' WHERE subject = 'thing 2'": (3, "does not say what it said"),
    "UPDATE audit_auditevent SET details = details || '{\"number\": 9}' WHERE subject = 'thing 2'": (3, "does not say"),
    "UPDATE audit_auditevent SET at = at - interval '1 second' WHERE subject = 'thing 0'": (1, "does not say"),
    "DELETE FROM audit_auditevent WHERE subject = 'thing 1'": (2, "line 2 is missing"),
    "DELETE FROM audit_auditlink WHERE number = 2": (2, "line 2 is missing"),
    "DELETE FROM audit_auditlink WHERE number = 1": (1, "line 1 is missing"),
    "DELETE FROM audit_auditlink WHERE number = 5": (None, "is in no link"),
    "UPDATE audit_auditlink SET digest = repeat('a', 64) WHERE number = 4": (4, "does not say"),
    "UPDATE audit_auditlink SET previous = repeat('a', 64) WHERE number = 4": (4, "does not follow line 3"),
}


def test_the_check_names_the_first_line_that_was_tampered_with() -> None:
    note(5)

    for sql, (broken_at, sentence) in TAMPERINGS.items():
        with transaction.atomic():
            tamper(sql)
            code, found = verify()
            transaction.set_rollback(True)

        assert (code, found["whole"], found["broken_at"]) == (1, False, broken_at), sql
        assert sentence in found["trouble"]
    assert verify()[0] == 0


def test_an_end_that_was_cut_off_is_seen_by_who_kept_a_place() -> None:
    note(3)
    kept = str(chain.head())
    tamper("DELETE FROM audit_auditlink WHERE number = 3; DELETE FROM audit_auditevent WHERE subject = 'thing 2'")

    assert verify()[0] == 0
    assert verify("--expect", kept)[0] == 1

    note(5)  # the chain grows past it with other lines
    code, found = verify("--expect", kept)
    assert (code, found["broken_at"]) == (1, 3)


def test_an_end_that_was_cut_off_is_seen_where_lines_are_forwarded(settings: Any, tmp_path: Path) -> None:
    settings.AUDIT_SINK = str(tmp_path / "audit.ndjson")
    note(3)
    forwarding.forward()
    whole = verify()[0]

    tamper("DELETE FROM audit_auditlink WHERE number = 3; DELETE FROM audit_auditevent WHERE subject = 'thing 2'")
    cut = verify()
    note(2)
    written_over = verify()

    assert whole == 0
    assert (cut[0], cut[1]["broken_at"]) == (1, 3)
    assert (written_over[0], written_over[1]["broken_at"]) == (1, 3)


def test_an_audit_without_a_line_is_not_whole_when_there_were_some() -> None:
    note(2)

    tamper("TRUNCATE audit_auditevent, audit_auditlink")

    code, found = verify()
    assert (code, found["lines"], found["trouble"]) == (1, 0, "no line is left, and there were some")


def test_older_lines_may_be_archived_and_the_rest_still_holds() -> None:
    note(2)
    kept = str(chain.head())
    note(2)
    tamper("DELETE FROM audit_auditlink WHERE number < 3; DELETE FROM audit_auditevent WHERE subject LIKE '%' AND id IN"
           " (SELECT id FROM audit_auditevent ORDER BY id LIMIT 2)")  # fmt: skip

    assert verify()[1]["trouble"].startswith("line 1 is missing")
    assert verify("--begins-after", kept)[0] == 0
    assert verify("--begins-after", f"2:{'a' * 64}")[1]["broken_at"] == 3


@pytest.mark.parametrize("place", ["", "1", "x:y", f"-1:{'a' * 64}", f"1:{'A' * 64}", "1:"])
def test_a_place_that_is_none_is_named(place: str) -> None:
    with pytest.raises(CommandError, match=r"is not NUMBER:DIGEST") as refused:
        call_command("verify_audit", f"--expect={place}")

    assert refused.value.returncode == 2


# --- the end, as Redis remembers it ----------------------------------------------------------------------------

CUT = "DELETE FROM audit_auditlink WHERE number > 2; DELETE FROM audit_auditevent WHERE subject = 'thing 2'"


def test_an_end_that_was_cut_off_is_seen_where_redis_remembers_it(caplog: pytest.LogCaptureFixture) -> None:
    note(3)
    audit_end.remember()
    remembered = str(chain.head())
    note(0)
    whole = verify()

    tamper(CUT)
    cut = verify()
    for _ in range(2):
        audit_end.remember()
    warned = [sentence for sentence in health().warnings if "the audit lacks a line" in sentence]
    note(4)  # the chain grows past it with other lines, which no look makes good
    audit_end.remember()
    written_over = verify()

    assert (whole[0], whole[1]["remembered"]) == (0, remembered)
    assert (cut[0], cut[1]["broken_at"]) == (1, 3)
    assert "the audit ends with line 2, and Redis remembers line 3 of " in cut[1]["trouble"]
    assert "an older backup was restored" in cut[1]["trouble"]
    assert (written_over[0], written_over[1]["broken_at"]) == (1, 3)
    assert "line 3 is another one than Redis remembers of " in written_over[1]["trouble"]
    assert len(warned) == 1
    assert caplog.text.count("audit end missing") == 1


@pytest.mark.django_db(transaction=True)
def test_after_a_restore_the_end_is_accepted_once_and_that_is_noted() -> None:
    note(3)
    audit_end.remember()
    lost = str(chain.head())
    tamper(CUT)

    first = verify()[0]
    accepted = verify("--accept-end")
    audit_end.remember()
    afterwards = verify()

    assert first == 1
    assert (accepted[0], accepted[1]["whole"]) == (0, True)
    assert (afterwards[0], afterwards[1]["remembered"]) == (0, str(chain.head()))
    line = AuditEvent.objects.get(action="audit.end_accepted")
    assert line.details["lacks"] == lost
    assert not [sentence for sentence in health().warnings if "the audit lacks a line" in sentence]
    assert verify("--accept-end")[0] == 0  # nothing to accept
    assert AuditEvent.objects.filter(action="audit.end_accepted").count() == 1


def test_what_is_changed_is_not_accepted_with_the_end() -> None:
    note(3)
    audit_end.remember()
    tamper(CUT)
    tamper("UPDATE audit_auditevent SET who = 'nobody' WHERE subject = 'thing 0'")

    code, found = verify("--accept-end")

    assert (code, found["broken_at"]) == (1, 1)
    assert not AuditEvent.objects.filter(action="audit.end_accepted").exists()


def test_the_newest_line_is_logged_once_a_day(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="campaigns.operating.audit_end")
    audit_end.remember()  # no line yet, so nothing is
    with time_machine.travel("2026-11-28T23:59:58Z", tick=False) as moment:
        for _ in range(2):
            note(1)
            audit_end.remember()
        of_the_day = str(chain.head())
        moment.shift(5)
        audit_end.remember()

    logged = [record.getMessage() for record in caplog.records if "audit end place=" in record.getMessage()]
    assert len(logged) == 2
    assert logged[1] == f"audit end place={of_the_day}"


def test_without_redis_or_what_it_remembered_there_is_less_and_no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    note(3)
    audit_end.remember()
    tamper(CUT)

    redis_client.client().flushdb()
    emptied, out = verify(), StringIO()
    monkeypatch.setattr(redis_client, "client", lambda: keyspace.connect("redis://127.0.0.1:1/0"))
    away = verify()
    call_command("verify_audit", stdout=out)

    assert (emptied[0], emptied[1]["remembered"]) == (0, None)
    assert (away[0], away[1]["remembered"]) == (0, None)
    assert "Redis does not answer" in out.getvalue()
    assert "whether the end was cut off is not known" in out.getvalue()


# --- lines and transactions ------------------------------------------------------------------------------------


def _note_and_fail() -> None:
    audit.note("thing.done")
    raise ZeroDivisionError


def test_a_line_goes_with_the_transaction_that_it_tells_of() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        _note_and_fail()

    assert not AuditEvent.objects.exists()
    assert not AuditLink.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_lines_of_many_at_once_are_numbered_without_a_gap() -> None:
    begin = threading.Barrier(8)

    def act() -> None:
        begin.wait()
        for _ in range(5):
            with transaction.atomic():
                audit.note("thing.done")
                audit.note("thing.done_too")
        connection.close()

    with ThreadPoolExecutor(8) as pool:
        for acting in [pool.submit(act) for _ in range(8)]:
            acting.result()

    numbers = list(AuditLink.objects.order_by("number").values_list("number", flat=True))
    assert numbers == list(range(1, 81))
    assert verify()[0] == 0


def test_what_bears_the_name_of_a_secret_is_left_out() -> None:
    audit.note("thing.done", password="hunter2", inner=[{"Token": "hunter2", "kept": 1.5, "at": timezone.now().date()}])

    line = AuditEvent.objects.get()
    assert "hunter2" not in str(line.details)
    assert line.details["inner"][0]["kept"] == "1.5"
