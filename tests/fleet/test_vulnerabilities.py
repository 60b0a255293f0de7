"""What is pinned is asked about; a database that is away is said, and is no failure."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fleet.vulnerabilities import PINNED, audit, verdict


class Database(BaseHTTPRequestHandler):
    """Answers as OSV does: it knows something of `leaky`, and nothing of others."""

    def do_POST(self) -> None:
        """Tell what is known of one package."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        body = json.dumps(
            {
                "vulns": [
                    {
                        "id": "PYSEC-2026-1",
                        "summary": "it leaks",
                        "affected": [
                            {
                                "package": {"name": "leaky", "ecosystem": "PyPI"},
                                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
                            }
                        ],
                    }
                ]
            }
            if asked == "leaky"
            else {}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def database() -> Iterator[str]:
    """Give the address of a database of vulnerabilities."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Database)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_known_to_be_vulnerable_fails_and_is_named(database: str, tmp_path: Path) -> None:
    pinned = tmp_path / "pinned.txt"
    pinned.write_text("leaky==1.0\nsound==2.0\n")

    said = audit(pinned, ["--vulnerability-service", "osv", "--osv-url", database])

    assert said.is_bad
    assert said.lines == ["leaky 1.0: PYSEC-2026-1, mended in 1.1", "2 dependencies audited, 1 vulnerability known"]


def test_a_database_that_is_away_is_one_line_and_no_failure(tmp_path: Path) -> None:
    pinned = tmp_path / "pinned.txt"
    pinned.write_text("sound==2.0\n")

    said = audit(pinned, ["--vulnerability-service", "osv", "--osv-url", "http://127.0.0.1:9/v1/query"])

    assert not said.is_bad
    assert len(said.lines) == 1
    assert said.lines[0].startswith(
        "dependencies were not audited: the database of vulnerabilities cannot be reached ("
    )


def test_a_database_that_knows_none_of_them_was_not_reached_and_of_some_it_is_said_which() -> None:
    sound, unknown = {"name": "sound", "version": "2", "vulns": []}, {"name": "odd", "skip_reason": "not found: odd"}

    nothing = verdict(json.dumps({"dependencies": [unknown]}), "")
    some = verdict(json.dumps({"dependencies": [sound, unknown]}), "")

    assert "cannot be reached (not found: odd)" in nothing.lines[0]
    assert some.lines == ["1 dependency audited, 0 vulnerabilities known", "not audited: odd"]
    assert not nothing.is_bad
    assert PINNED.exists()


@pytest.mark.parametrize("trouble", ["", "python: No module named pip_audit", "ERROR: requirement foo has no hash"])
def test_a_tool_that_is_broken_is_no_database_that_is_away(trouble: str) -> None:
    said = verdict("", trouble)

    assert said.is_bad
    assert "pip-audit failed" in said.lines[0]
