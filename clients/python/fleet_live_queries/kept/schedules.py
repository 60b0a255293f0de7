"""Schedules as files: those of one query together, as a list, since none has a name of its own."""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Protocol

from fleet_live_queries.kept.kinds import SCHEDULES, Members, schedule_of

ADDRESS = "schedules/"


class Api(Protocol):
    """Whatever asks the server."""

    def items(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Give every item of a list below /api/v1/."""

    def order(self, method: str, path: str, body: Any = None) -> Any:
        """Tell something to an address below /api/v1/."""


class Schedules:
    """One's own schedules on a server; those of others are theirs. `numbers` are the queries' by name, as they are."""

    def __init__(self, api: Api, numbers: dict[str, int]) -> None:
        self._api, self._numbers = api, numbers
        self._kept: dict[str, list[tuple[int, Members]]] = defaultdict(list)
        names = {number: name for name, number in numbers.items()}
        for one in api.items(ADDRESS, mine=True):
            if one["query"] in names:
                self._kept[names[one["query"]]].append((one["id"], schedule_of(one)))

    def known(self) -> dict[str, Members]:
        """Give what files would say, by the queries' names."""
        members = SCHEDULES.members["schedules"]
        return {
            name: {"query": name, "schedules": members.read([one for _, one in kept])}
            for name, kept in self._kept.items()
        }

    def make_so(self, name: str, wanted: list[Members]) -> None:
        """Let a query have these. What is there is changed before anything is made or deleted. Raise FleetError."""
        there, left = list(self._kept[name]), []
        for one in wanted:
            same = next((kept for kept in there if _spelt(kept[1]) == _spelt(one)), None)
            left += [one] if same is None else []
            there = [kept for kept in there if kept is not same]
        for number, _ in there:
            if left:
                self._api.order("PATCH", f"{ADDRESS}{number}/", left.pop(0))
            else:
                self._api.order("DELETE", f"{ADDRESS}{number}/")
        for one in left:
            self._api.order("POST", ADDRESS, {**one, "query": self._numbers[name]})


def _spelt(one: Members) -> str:
    return json.dumps(one, sort_keys=True)
