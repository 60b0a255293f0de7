"""What a machine sends to enroll, read leniently."""

from dataclasses import dataclass
from typing import Any

from agents.inventory import facts
from agents.models import Platform

# osquery's bits, most telling first (osquery/utils/info/platform_type.h)
PLATFORM_BITS = ((2, Platform.WINDOWS), (16, Platform.DARWIN), (32, Platform.FREEBSD), (8, Platform.LINUX))


class EnrollmentRefusedError(Exception):
    """The sentence says why; agents log it and try again."""


class WrongSecretError(EnrollmentRefusedError):
    """Nobody has such a secret: who says so is a stranger, and is counted."""


@dataclass(frozen=True)
class Application:
    """What a machine sends to enroll, read leniently: whatever is missing or odd is empty."""

    secret: str
    host_identifier: str
    platform_type: str
    details: dict[str, dict[str, str]]
    address: str | None
    certificate: str = ""  # its name, where an edge in front was shown one

    @classmethod
    def read(cls, body: Any, address: str | None, certificate: str = "") -> "Application":
        """Read the body of an enroll request. Raise EnrollmentRefusedError when it is none."""
        if not isinstance(body, dict):
            raise EnrollmentRefusedError("the enroll request is not a JSON object")
        sent = body.get("host_details")
        tables = sent.items() if isinstance(sent, dict) else ()
        return cls(
            secret=_text(body.get("enroll_secret")),
            host_identifier=_text(body.get("host_identifier")),
            platform_type=_text(body.get("platform_type")),
            details={
                _text(table): {_text(column): _text(value) for column, value in row.items()}
                for table, row in tables
                if isinstance(row, dict)
            },
            address=address,
            certificate=certificate,
        )

    def fact(self, table: str, column: str, longest: int = 200) -> str:
        """Give one cell of host_details, "" when it was not sent, cut to `longest` characters."""
        return self.details.get(table, {}).get(column, "")[:longest]

    @property
    def platform(self) -> Platform:
        """Tell the platform from osquery's bits, else from os_version."""
        bits = int(self.platform_type) if self.platform_type.isdecimal() and len(self.platform_type) < 10 else 0
        for bit, platform in PLATFORM_BITS:
            if bits & bit:
                return platform
        named = self.fact("os_version", "platform")
        return Platform(named) if named in Platform.values else Platform.OTHER

    def facts(self) -> dict[str, Any]:
        """Give the fields of a Host that host_details tells."""
        memory = self.fact("system_info", "physical_memory")
        hostname = self.fact("system_info", "hostname", 255) or self.host_identifier
        return {
            "hostname": hostname,
            "uuid": self.fact("system_info", "uuid", 64),
            "hardware_serial": self.fact("system_info", "hardware_serial", 128),
            "platform": self.platform,
            "platform_contradiction": facts.contradiction(
                self.platform, self.fact("os_version", "platform"), self.fact("os_version", "name", 100)
            ),
            "os_name": self.fact("os_version", "name", 100),
            "os_version": self.fact("os_version", "version"),
            "osquery_version": self.fact("osquery_info", "version", 50),
            "cpu_brand": self.fact("system_info", "cpu_brand"),
            "physical_memory": int(memory) if memory.isdecimal() and len(memory) < 19 else None,
            "address": self.address,
            "details": self.details,
        }


def _text(value: Any) -> str:
    """Give a text PostgreSQL takes: NUL and lone surrogates it refuses. A list or an object, however deep, is none."""
    text = str(value) if isinstance(value, str | int | float) else ""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


FACTS = tuple(Application.read({}, None).facts())  # the names of these fields
