"""What a server keeps, over its API."""

from collections.abc import Iterator
from dataclasses import dataclass

from fleet_live_queries.errors import BadInputError, ForbiddenError, NotFoundError
from fleet_live_queries.kept.kinds import KINDS, LABEL, QUERY, SCHEDULES, Kind, Members
from fleet_live_queries.kept.schedules import Api, Schedules


@dataclass(frozen=True)
class Known:
    """One thing as the server has it."""

    number: int
    members: Members


class Remote:
    """All that is kept there, as of now."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.known: dict[Kind, dict[str, Known]] = {kind: dict(self._read(kind)) for kind in (QUERY, LABEL)}
        self._numbers = {name: known.number for name, known in self.known[QUERY].items()}
        self.left_out = ""  # why schedules are not looked at
        self.known[SCHEDULES] = self._read_schedules()

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Give the kinds that could be looked at."""
        return tuple(kind for kind in KINDS if kind is not SCHEDULES or not self.left_out)

    def _read(self, kind: Kind) -> Iterator[tuple[str, Known]]:
        for shown in filter(kind.is_ours, self._api.items(kind.address)):
            members = kind.of_server(shown)
            yield members[kind.key], Known(shown["id"], members)

    def _read_schedules(self) -> dict[str, Known]:
        try:
            self._schedules = Schedules(self._api, self._numbers)
        except (ForbiddenError, NotFoundError) as error:
            self.left_out = str(error)
            return {}
        return {name: Known(0, members) for name, members in self._schedules.known().items()}

    def create(self, kind: Kind, name: str, members: Members) -> None:
        """Make what is kept under this name on the server. Raise FleetError."""
        if kind is SCHEDULES:
            self._make_so(name, members["schedules"])
            return
        made = self._api.order("POST", kind.address, members)
        if kind is QUERY:
            self._numbers[name] = made["id"]

    def change(self, kind: Kind, name: str, members: Members) -> None:
        """Change what the server has under this name. Raise FleetError."""
        if kind is SCHEDULES:
            self._make_so(name, members["schedules"])
        else:
            self._api.order("PATCH", f"{kind.address}{self.known[kind][name].number}/", members)

    def delete(self, kind: Kind, name: str) -> None:
        """Delete what the server has under this name. Raise FleetError."""
        if kind is SCHEDULES:
            self._make_so(name, [])
        else:
            self._api.order("DELETE", f"{kind.address}{self.known[kind][name].number}/")

    def _make_so(self, name: str, wanted: list[Members]) -> None:
        if self.left_out:
            raise ForbiddenError(self.left_out)
        if name not in self._numbers:
            raise BadInputError(f"there is no query {name!r}, which it would run")
        self._schedules.make_so(name, wanted)
