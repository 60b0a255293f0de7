"""Lists a page at a time. `next` and `previous` are places between two items, which stay where they are.

A place is the values that the list is ordered by, of the item beside it, and which list that is. Whatever is added or
deleted meanwhile, who follows the links sees no item twice, and misses none that was there all the time. `offset`
counts instead: it finds any page at once, and shifts with what is added before it.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any
from zlib import crc32

import msgspec
from django.db.models import Model, Q, QuerySet
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.utils.urls import remove_query_param, replace_query_param

from fleet.api.described import NEXT, PREVIOUS
from fleet.api.parameters import number_in
from fleet.errors import BadInputError
from fleet.text import is_text

LONGEST_CURSOR = 4_000  # characters


class Pages(LimitOffsetPagination):
    """Lists answer `count`, `next`, `previous`, `results`, with `limit` up to 1000, and `offset` or `cursor`."""

    default_limit = 100
    max_limit = 1000

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """Give the items of a page. Raise BadInputError."""
        place = _place_in(request)
        limit, offset = self.get_limit(request), self.get_offset(request)
        self.request, self.limit, self.offset, self.count = request, limit, offset, self.get_count(queryset)
        ordered, self._names = _ordered(queryset)
        self._page = _beside(ordered, self._names, place, limit) if place else _counted(ordered, offset, limit)
        self._origin, self._list = request.build_absolute_uri(), _list_of(request)
        return self._page.items

    def get_next_link(self) -> str | None:
        """Give the address of what comes after the page."""
        return self._link("after", self._page.items[-1]) if self._page.more_after else None

    def get_previous_link(self) -> str | None:
        """Give the address of what comes before it."""
        if self._page.more_before and not self._page.items:  # an offset beyond the end
            return self._address("offset", max(0, (self.offset or 0) - (self.limit or 0)))
        return self._link("before", self._page.items[0]) if self._page.more_before else None

    def _link(self, side: str, item: Model) -> str:
        values = [attrgetter(name.lstrip("-").replace("__", "."))(item) for name in self._names]
        return self._address("cursor", str(Place(side, self._list, values)))

    def _address(self, name: str, value: Any) -> str:
        address = self._origin
        for other in {"offset", "cursor"} - {name}:
            address = remove_query_param(address, other)
        return replace_query_param(replace_query_param(address, "limit", self.limit), name, value)

    def get_paginated_response_schema(self, schema: Any) -> dict[str, Any]:
        """Give the shape: all four are always there."""
        link = {"type": "string", "format": "uri", "nullable": True}
        return {
            "type": "object",
            "required": ["count", "next", "previous", "results"],
            "properties": {
                "count": {"type": "integer", "example": 1, "description": "items in all"},
                "next": {**link, "example": None, "description": NEXT["help_text"]},
                "previous": {**link, "example": None, "description": PREVIOUS["help_text"]},
                "results": {**schema, "description": "the items"},
            },
        }

    def get_limit(self, request: Request) -> int:
        """Give how many items are wanted. Raise BadInputError."""
        return number_in(request, "limit", self.default_limit, self.max_limit)

    def get_offset(self, request: Request) -> int:
        """Give how many items come before. Raise BadInputError."""
        return number_in(request, "offset", 0)


@dataclass(frozen=True)
class Place:
    """Beside an item of a list: `side` says whether what comes after it is wanted or what comes before."""

    side: str
    of: str
    values: Sequence[str | int]

    def __str__(self) -> str:
        return urlsafe_b64encode(msgspec.json.encode([self.side, self.of, *self.values])).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> "Place":
        """Read what a link gave. Raise BadInputError."""
        refusal = BadInputError(f"cursor {text[:100]!r} is none that `next` or `previous` gave", "cursor")
        try:
            told = msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=list[str | int])
            side, of, *values = told
        except (ValueError, msgspec.DecodeError) as error:
            raise refusal from error
        if side not in ("after", "before") or not all(isinstance(one, int) or is_text(one) for one in values):
            raise refusal
        return cls(str(side), str(of), values)


@dataclass(frozen=True)
class _Page:
    items: list[Any]
    more_before: bool
    more_after: bool


def _place_in(request: Request) -> Place | None:
    text = request.query_params.get("cursor")
    if not text:  # left empty by who is at the beginning
        return None
    if "offset" in request.query_params:
        raise BadInputError("cursor and offset are both given, allowed is one of them", "cursor")
    place = Place.read(text[:LONGEST_CURSOR])
    if place.of != _list_of(request):
        raise BadInputError(f"cursor {text[:100]!r} is of another list", "cursor")
    return place


def _list_of(request: Request) -> str:
    """Give what tells a list from others: ids alone would be taken for a place in any of them."""
    return f"{crc32(request.path.rstrip('/').encode()):08x}"


def _ordered(queryset: QuerySet[Any]) -> tuple[QuerySet[Any], list[str]]:
    """Give it in an order that no two items share, and the names that it is ordered by; none of them may be null.

    The key of a row tells how many rows there are, of others too: it is added only where nothing else is unique.
    """
    names = [str(name) for name in queryset.query.order_by or queryset.model._meta.ordering]
    if not _are_unique(queryset.model, {name.lstrip("-") for name in names}):
        names.append("pk")
    return queryset.order_by(*names), names


def _are_unique(model: type[Model], names: set[str]) -> bool:
    """Say whether no two rows have the same values under these names."""
    facts = model._meta
    fields = {facts.get_field(name) for name in names - {"pk"} if "__" not in name}
    several = [{facts.get_field(name) for name in one.fields} for one in facts.total_unique_constraints]
    return (
        "pk" in names
        or any(getattr(field, "unique", False) for field in fields)
        or any(one <= fields for one in several)
    )


def _counted(ordered: QuerySet[Any], offset: int, limit: int) -> _Page:
    found = list(ordered[offset : offset + limit + 1])
    return _Page(found[:limit], more_before=offset > 0, more_after=len(found) > limit)


def _beside(ordered: QuerySet[Any], names: Sequence[str], place: Place, limit: int) -> _Page:
    """Give the items that come after a place, or before it. Raise BadInputError for a place in another list."""
    if len(place.values) != len(names):
        raise BadInputError(f"cursor {str(place)[:100]!r} is of another list", "cursor")
    forward = place.side == "after"
    asked = ordered if forward else ordered.reverse()
    try:
        found = list(asked.filter(_beyond(names, place.values, forward=forward))[: limit + 1])
    except (ValueError, TypeError) as error:
        raise BadInputError(f"cursor {str(place)[:100]!r} is of another list", "cursor") from error
    items, more = found[:limit], len(found) > limit
    if forward:
        return _Page(items, more_before=bool(items), more_after=more)
    return _Page(items[::-1], more_before=more, more_after=bool(items))


def _beyond(names: Sequence[str], values: Sequence[Any], *, forward: bool) -> Q:
    """Write the condition of what comes after these values in this order, or before them."""
    beyond, same = Q(), dict[str, Any]()
    for name, value in zip(names, values, strict=True):
        field = name.lstrip("-")
        rises = name.startswith("-") != forward
        beyond |= Q(**same, **{f"{field}__{'gt' if rises else 'lt'}": value})
        same[field] = value
    first = names[0]
    bound = {f"{first.lstrip('-')}__{'gte' if first.startswith('-') != forward else 'lte'}": values[0]}
    return Q(**bound) & beyond  # the bound is true anyway: by it an index is read from the place on
