"""What container engines ask: `python -m fleet.healthy`, and the file that processes touch."""

import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleet import alive, healthy

ROOT = Path(__file__).parents[2]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(alive, "_touched", float("-inf"))
    return tmp_path / "alive"


def test_a_file_that_is_touched_is_well_and_one_that_never_was_is_not(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = healthy.main([str(file)])
    alive.note(str(file))

    assert (before, healthy.main([str(file)])) == (1, 0)
    assert capsys.readouterr().err == f"{file} was never touched: No such file or directory\n"


@pytest.mark.usefixtures("standing_clock")
def test_a_process_that_stands_still_is_not_well(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alive.note(str(file))
    long_ago = time.time() - healthy.TOUCHED_WITHIN - 30
    os.utime(file, (long_ago, long_ago))

    assert healthy.main([str(file)]) == 1
    assert "was touched 90 seconds ago, the last time" in capsys.readouterr().err


def test_the_file_is_touched_once_in_its_time_at_most(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alive, "EVERY_SECONDS", 3600.0)  # in which a test surely ends
    alive.note(str(file))
    file.unlink()

    alive.note(str(file))

    assert not file.exists()


def test_an_address_where_nobody_listens_is_not_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert healthy.main(["http://127.0.0.1:9/livez"]) == 1
    assert "does not answer as it should" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 1),
        (b"no HTTP\r\n\r\n", 1),
        (b"", 1),
    ],
)
def test_a_process_is_asked_past_the_machine_s_proxy(answer: bytes, status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(_answer_once, server, answer)
        asked = subprocess.run(
            [sys.executable, "-m", "fleet.healthy", f"http://127.0.0.1:{server.getsockname()[1]}/livez"],
            env={"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )

    assert asked.returncode == status, asked.stderr
    assert ("does not answer as it should" in asked.stderr) == bool(status)
    assert "Traceback" not in asked.stderr


def _answer_once(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(2**16)
        connection.sendall(answer)


def test_nothing_to_look_at_is_a_mistake_of_the_command() -> None:
    assert healthy.main([]) == 2
