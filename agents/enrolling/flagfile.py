"""The flagfile with which a stock osqueryd joins this server. Flags and defaults are section 7 of the protocol notes.

Everything that osqueryd takes from its command line alone stands here; what the served config can change as well
stands here too, so that a host works from its first read, before its first config.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from agents.protocol.endpoints import PREFIXES
from fleet.errors import BadInputError

IDENTIFIERS = ("uuid", "instance", "hostname", "ephemeral")
BLOCK_BYTES = 2_000_000
_HOST = re.compile(r"(?=.{1,253}(?::|\Z))[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::([0-9]{1,5}))?")
_ABSOLUTE = re.compile(r"/.+|[A-Za-z]:[\\/].+")


class Flag(NamedTuple):
    """A flag, its value, and in a sentence what it is for."""

    name: str
    value: str
    why: str


@dataclass(frozen=True)
class Joining:
    """How a host joins: where the server is and where the host's own files lie. `interval` is in seconds."""

    hostname: str
    ca: str
    secret_file: str
    interval: int
    prefix: str = PREFIXES[0]
    host_identifier: str = "uuid"
    client_cert: str = ""
    client_key: str = ""
    max_block_bytes: int = BLOCK_BYTES
    keeps_logs: bool = True  # the server has a LOG_SINK

    def check(self) -> None:
        """Raise BadInputError naming what osqueryd could not use."""
        found = _HOST.fullmatch(self.hostname)
        if found is None or not 0 < int(found[1] or 443) < 65_536:
            raise BadInputError(
                f"hostname {self.hostname!r} is not NAME or NAME:PORT: osqueryd adds https:// itself and takes no"
                " IPv6 address",
                "hostname",
            )
        for name in ("ca", "secret_file", "client_cert", "client_key"):
            path = getattr(self, name)
            if not path and name.startswith("client"):
                continue
            if not _ABSOLUTE.fullmatch(path) or not path.isprintable():
                raise BadInputError(f"{name} {path!r} is not an absolute path of the host, on one line", name)
        if bool(self.client_cert) != bool(self.client_key):
            raise BadInputError("client_cert and client_key go together", "client_key")
        if self.prefix not in PREFIXES:
            raise BadInputError(f"prefix {self.prefix!r} is unknown, allowed are {', '.join(PREFIXES)}", "prefix")
        if self.host_identifier not in IDENTIFIERS:
            allowed = ", ".join(IDENTIFIERS)
            raise BadInputError(f"host_identifier {self.host_identifier!r} is unknown, allowed are {allowed}")

    def flags(self) -> Iterator[Flag]:
        """Give every flag, in the order of the file."""
        yield from self._connection()
        yield from self._enrollment()
        yield from self._config_and_log()
        yield from self._queries()
        yield from self._carves()

    def _connection(self) -> Iterator[Flag]:
        yield Flag("tls_hostname", self.hostname, "The server: a name of its certificate, and the port.")
        yield Flag("tls_server_certs", self.ca, "Whom to trust: this file alone, the system's store is not used.")
        if self.client_cert:
            yield Flag("tls_client_cert", self.client_cert, "Shown to a server that asks for a certificate.")
            yield Flag("tls_client_key", self.client_key, "Its key; without both nothing is shown.")

    def _enrollment(self) -> Iterator[Flag]:
        yield Flag("enroll_tls_endpoint", f"{self.prefix}enroll", "Where the host gets its node key.")
        yield Flag("enroll_secret_path", self.secret_file, "The file with the enroll secret, read at each attempt.")
        yield Flag(
            "host_identifier",
            self.host_identifier,
            "What makes a host this host here: uuid is the hardware's, which containers on one machine share; instance"
            " is a random one in osquery's database.",
        )

    def _config_and_log(self) -> Iterator[Flag]:
        yield Flag("config_plugin", "tls", "Options come from the server.")
        yield Flag("config_tls_endpoint", f"{self.prefix}config", "Where they are.")
        yield Flag("config_refresh", "300", "Seconds between two looks at them; the default is never.")
        yield Flag(
            "logger_plugin",
            "tls",
            "Status lines and scheduled results go to the server."
            + ("" if self.keeps_logs else " It takes and drops them: LOG_SINK is not set there."),
        )
        yield Flag("logger_tls_endpoint", f"{self.prefix}log", "Where they go.")
        yield Flag("logger_tls_period", "10", "Seconds between two deliveries of log lines.")
        yield Flag(
            "logger_tls_backoff_max",
            "300",
            "Most seconds between two tries while the server takes no log lines. With the default of 3600 they come"
            " up to an hour late after an outage.",
        )

    def _queries(self) -> Iterator[Flag]:
        yield Flag("disable_distributed", "false", "Live queries are off by default, and looked at when it starts.")
        yield Flag("distributed_plugin", "tls", "They come from the server.")
        yield Flag("distributed_tls_read_endpoint", f"{self.prefix}distributed/read", "Where the host asks for them.")
        yield Flag("distributed_tls_write_endpoint", f"{self.prefix}distributed/write", "Where the answers go.")
        yield Flag(
            "distributed_interval",
            str(self.interval),
            "Seconds between an answered read and the next one."
            + (" The server holds reads, so short is cheap." if self.interval < 5 else ""),
        )

    def _carves(self) -> Iterator[Flag]:
        yield Flag("disable_carver", "false", "Carves are off by default.")
        yield Flag("carver_start_endpoint", f"{self.prefix}carve/begin", "Where a carve is announced.")
        yield Flag("carver_continue_endpoint", f"{self.prefix}carve/block", "Where its blocks go.")
        yield Flag(
            "carver_block_size",
            str(min(BLOCK_BYTES, self.max_block_bytes)),
            "Bytes of a block. Each is a TLS connection of its own; the default of 8192 makes many.",
        )

    def text(self) -> str:
        """Give the file: each flag under what it is for."""
        return "".join(f"# {flag.why}\n--{flag.name}={flag.value}\n" for flag in self.flags())
