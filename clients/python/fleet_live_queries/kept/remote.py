"""What a server keeps, over its API."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from fleet_live_queries.kept.kinds import KINDS, Kind, Members


class Api(Protocol):
    """Whatever asks the server. Both raise FleetError with the server's sentence."""

    def items(self, path: str) -> Iterator[dict[str, Any]]:
        """Give every item of a list below /api/v1/."""

    def order(self, method: str, path: str, body: Any = None) -> Any:
        """Tell something to an address below /api/v1/."""


@dataclass(frozen=True)
class Known:
    """One thing as the server has it."""

    number: int
    members: Members


class Remote:
    """All that is kept there, as of now."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.known: dict[Kind, dict[str, Known]] = {kind: dict(self._read(kind)) for kind in KINDS}

    def _read(self, kind: Kind) -> Iterator[tuple[str, Known]]:
        for shown in filter(kind.is_ours, self._api.items(kind.address)):
            members = kind.of_server(shown)
            yield members["name"], Known(shown["id"], members)

    def create(self, kind: Kind, members: Members) -> None:
        """Make one. Raise FleetError."""
        self._api.order("POST", kind.address, members)

    def change(self, kind: Kind, number: int, members: Members) -> None:
        """Change one. Raise FleetError."""
        self._api.order("PATCH", f"{kind.address}{number}/", members)

    def delete(self, kind: Kind, number: int) -> None:
        """Delete one. Raise FleetError."""
        self._api.order("DELETE", f"{kind.address}{number}/")
