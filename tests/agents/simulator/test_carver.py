"""The carver of a pretend host: what its table shows, what it sends, and when it gives up."""

import asyncio
import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agents.simulator import carver
from agents.simulator.carver import Carve, Upload
from agents.simulator.response import BrokenError
from agents.simulator.simulated_tables import SimulatedHost
from agents.simulator.sql import execute
from agents.simulator.this_machine import ThisMachine


@pytest.fixture
def machine() -> SimulatedHost:
    return SimulatedHost(1)


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(seconds: float) -> None: ...

    monkeypatch.setattr(carver.asyncio, "sleep", at_once)


class Server:
    """Takes what is posted; `answers` come first, then what a server that is well says."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.taken: list[tuple[str, Mapping[str, Any]]] = []

    async def post(self, path: str, body: Mapping[str, Any]) -> bytes:
        self.taken.append((path, body))
        answer = self.answers.pop(0) if self.answers else b'{"session_id": "s"}' if path == "carve/begin" else b"{}"
        if isinstance(answer, Exception):
            raise answer
        return answer

    def send(self, carve: Carve, block_size: int = 4096, *, gives_up: bool = True) -> Carve:
        asyncio.run(Upload(self.post, block_size, gives_up).send(carve))
        return carve

    @property
    def numbers(self) -> list[int]:
        return [body["block_id"] for path, body in self.taken if path == "carve/block"]


def scheduled(machine: SimulatedHost, where: str = "path = '/etc/hosts'") -> Carve:
    execute(machine, f"SELECT * FROM carves WHERE carve = 1 AND {where}")  # noqa: S608 - constants of this file
    return machine.carver.waiting[-1]


def test_a_query_schedules_one_carve_and_returns_its_row(machine: SimulatedHost) -> None:
    rows = execute(machine, "SELECT * FROM carves WHERE carve = 1 AND path = '/etc/hosts'").rows

    carve = machine.carver.waiting[0]
    assert len(rows) == len(machine.carver.carves) == 1
    assert {**rows[0], "time": ""} == {
        "time": "",
        "sha256": "",
        "size": "-1",
        "path": "/etc/hosts",
        "status": "SCHEDULED",
        "carve_guid": carve.guid,
        "request_id": carve.request_id,
        "carve": "1",
    }


@pytest.mark.parametrize(
    ("where", "paths"),
    [
        ("path LIKE '/etc/%.conf'", ["/etc/file.conf"]),
        ("path IN ('/a', '/b')", ["/a", "/b"]),
        ("path = '/it''s'", ["/it's"]),
    ],
)
def test_paths_are_read_from_the_constraints(machine: SimulatedHost, where: str, paths: list[str]) -> None:
    assert list(scheduled(machine, where).files) == paths


def test_looking_at_the_table_carves_nothing(machine: SimulatedHost) -> None:
    scheduled(machine)

    rows = execute(machine, "SELECT status, carve FROM carves WHERE path = '/etc/hosts'").rows

    assert rows == [{"status": "SCHEDULED", "carve": "0"}]
    assert len(machine.carver.carves) == 1


def test_the_archive_arrives_block_by_block(machine: SimulatedHost) -> None:
    server, carve = Server(), scheduled(machine)
    files = carve.files

    server.send(carve)

    (_, start), *blocks = server.taken
    content = b"".join(base64.b64decode(body["data"]) for _, body in blocks)
    assert (start["carve_id"], start["block_size"], start["block_count"]) == (carve.guid, 4096, len(blocks))
    assert server.numbers == list(range(len(blocks)))
    assert (carve.status, carve.size, start["carve_size"]) == ("SUCCESS", len(content), len(content))
    assert carve.sha256 == hashlib.sha256(content).hexdigest()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        names = tar.getnames()
        assert names == [f"tmp/osquery_carve_{carve.guid}/etc/hosts"]
        found = tar.extractfile(names[0])
        assert found is not None
        assert found.read() == files["/etc/hosts"]


@pytest.mark.parametrize("answer", [b"{}", b'{"error": "no"}', b'{"session_id": ""}', b'{"session_id": 5}', b"[]"])
def test_a_begin_without_a_session_fails_at_once(machine: SimulatedHost, answer: bytes) -> None:
    server = Server(answer)

    assert server.send(scheduled(machine)).status == "DATA POST FAILED"
    assert len(server.taken) == 1


def test_what_is_no_json_is_tried_three_times(machine: SimulatedHost) -> None:
    server = Server(b"come again", BrokenError("gone"), b'{"session_id": "s"}')

    assert server.send(scheduled(machine)).status == "SUCCESS"
    assert [path for path, _ in server.taken[:4]] == ["carve/begin"] * 3 + ["carve/block"]


def test_a_block_that_is_never_taken_ends_the_carve_or_is_passed_over_by_old_agents(machine: SimulatedHost) -> None:
    start, no = json.dumps({"session_id": "s"}).encode(), b"no"

    new, old = Server(start, no, no, no), Server(start, no, no, no)

    assert new.send(scheduled(machine)).status == "DATA POST FAILED"
    assert new.numbers == [0, 0, 0]
    assert old.send(scheduled(machine), gives_up=False).status == "SUCCESS"
    assert old.numbers[:4] == [0, 0, 0, 1]


def test_any_object_passes_for_an_accepted_block(machine: SimulatedHost) -> None:
    server = Server(b'{"session_id": "s"}', b'{"error": "no"}', b"", b'{"node_invalid": true}')

    assert server.send(scheduled(machine)).status == "SUCCESS"
    assert server.numbers == sorted(set(server.numbers))


def test_this_machine_carves_real_files(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_bytes(b"\x00\xff")
    (tmp_path / "b.txt").write_bytes(b"b")

    found = ThisMachine().files(f"{tmp_path}/%.conf")

    assert found == {f"{tmp_path}/a.conf": b"\x00\xff"}
