"""The carver of one pretend host: the `carves` table and the upload that follows it (protocol notes 6).

A scan of `carves` with `carve = 1` and paths schedules one carve and returns its row; some time later the files go to
the server as one tar, block by block.
"""

import asyncio
import base64
import hashlib
import io
import json
import re
import tarfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.simulator.response import BrokenError
from agents.simulator.wire import TimedOutError

ATTEMPTS = 3
_CARVE = re.compile(r"\bcarve\s*=\s*1\b", re.IGNORECASE)
_PATHS = re.compile(r"\bpath\s*(?:=|like|in)\s*\(?\s*((?:'(?:[^']|'')*'\s*,?\s*)+)", re.IGNORECASE)
_TEXT = re.compile(r"'((?:[^']|'')*)'")

Files = Mapping[str, bytes]
Post = Callable[[str, Mapping[str, Any]], Awaitable[bytes]]


@dataclass
class Carve:
    """One carve of a host, as its table shows it; `fresh` while the query that scheduled it runs."""

    guid: str
    request_id: str
    files: Files
    path: str
    time: int
    status: str = "SCHEDULED"
    size: int = -1
    sha256: str = ""
    fresh: bool = True

    def archive(self) -> bytes:
        """Pack the files, named by their temporary copies' paths."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path, content in self.files.items():
                entry = tarfile.TarInfo(f"tmp/osquery_carve_{self.guid}/{path.lstrip('/')}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        return packed.getvalue()

    def row(self) -> dict[str, Any]:
        """Give the row that the table `carves` has of this carve."""
        return {
            "time": self.time,
            "sha256": self.sha256,
            "size": self.size,
            "path": self.path,
            "status": self.status,
            "carve_guid": self.guid,
            "request_id": self.request_id,
            "carve": int(self.fresh),
        }


class Carver:
    """The carves of one host. `read` gives the files that a path or a pattern with `%` means."""

    def __init__(self, read: Callable[[str], Files]) -> None:
        self._read = read
        self.carves: list[Carve] = []

    def scan(self, statement: str) -> None:
        """Schedule what a query asks for; called before the table is filled for it."""
        for carve in self.carves:
            carve.fresh = False
        if not _CARVE.search(statement):
            return
        for found in _PATHS.finditer(statement):
            paths = [text.replace("''", "'") for text in _TEXT.findall(found[1])]
            files = {name: content for path in paths for name, content in self._read(path).items()}
            shown = ",".join(files) or ",".join(paths)
            self.carves.append(Carve(str(uuid.uuid4()), str(uuid.uuid4()), files, shown, int(time.time())))

    def rows(self) -> Iterable[dict[str, Any]]:
        """Give the table."""
        return [carve.row() for carve in self.carves]

    @property
    def waiting(self) -> list[Carve]:
        """Give the carves that are not under way yet."""
        return [carve for carve in self.carves if carve.status == "SCHEDULED"]


@dataclass(frozen=True)
class Upload:
    """How a host sends its carves. `gives_up` is what agents do since 5.22 when a block is not taken."""

    post: Post
    block_size: int
    gives_up: bool

    async def send(self, carve: Carve) -> None:
        """Send one carve; its status says how that went."""
        content = carve.archive()
        blocks = [content[place : place + self.block_size] for place in range(0, len(content), self.block_size)]
        carve.status = "STARTING"
        start = {
            "block_count": len(blocks),
            "block_size": self.block_size,
            "carve_size": len(content),
            "carve_id": carve.guid,
            "request_id": carve.request_id,
        }
        answer = await self._fire("carve/begin", start)
        session = answer.get("session_id") if answer is not None else None
        carve.status = "PENDING"
        if isinstance(session, str) and session and await self._send_blocks(session, carve.request_id, blocks):
            carve.status, carve.size, carve.sha256 = "SUCCESS", len(content), hashlib.sha256(content).hexdigest()
        else:
            carve.status = "DATA POST FAILED"
        carve.files = {}

    async def _send_blocks(self, session: str, request_id: str, blocks: list[bytes]) -> bool:
        for number, block in enumerate(blocks):
            data = base64.b64encode(block).decode()
            body = {"block_id": number, "session_id": session, "request_id": request_id, "data": data}
            if await self._fire("carve/block", body) is None and self.gives_up:
                return False
        return True

    async def _fire(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Give the answer, an object whatever it says; None when three attempts brought none."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = json.loads(await self.post(path, body) or b"{}")
                return answer if isinstance(answer, dict) else {}
            except (TimedOutError, BrokenError, ValueError):
                if attempt < ATTEMPTS:
                    await asyncio.sleep(attempt**2)
        return None
