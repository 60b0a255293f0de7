"""Query parameters of the API: declared once per view, documented from there, and all others refused.

A view names what each of its actions takes in `query_parameters`; what it does with a value is its own business. The
readers give a value or raise a sentence that names it and says what is allowed.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from fleet.errors import BadInputError
from fleet.text import is_text

Parameters = Mapping[str, Sequence[OpenApiParameter]]  # action of a viewset, or method of a view -> what it takes

# What values there are, as schemas of the document; `int` and `str` alone would say that any is taken.
WHOLE = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
NUMBERS = {"type": "array", "items": WHOLE}  # the parameter may come several times
NAME = {"type": "string", "minLength": 1}
MOST_SECONDS = 10**10  # three centuries
SINCE = {
    "anyOf": [
        {"type": "string", "format": "date-time", "description": "RFC 3339 with a zone"},
        {"type": "integer", "minimum": 0, "maximum": MOST_SECONDS, "description": "seconds before now"},
    ]
}
LIMIT = OpenApiParameter("limit", {**WHOLE, "minimum": 1, "maximum": 1000}, description="items wanted, 1 to 1000")
OFFSET = OpenApiParameter("offset", WHOLE, description="items that come before")
CURSOR = OpenApiParameter(
    "cursor", str, description="where the page lies, as `next` and `previous` say it; empty: at the beginning"
)
WINDOW = (LIMIT, OFFSET)
PAGING = (*WINDOW, CURSOR)
# Date, time and zone: without a zone nobody knows which moment is meant.
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)", re.A)
FLAGS = {"true": True, "1": True, "false": False, "0": False}


def declared_by(view: Any, method: str) -> list[OpenApiParameter]:
    """Give the query parameters of what the view does on this method, those of its bases too."""
    action = getattr(view, "action", None) or {"HEAD": "get"}.get(method, method.lower())
    tables = [vars(base).get("query_parameters", {}) for base in type(view).__mro__]
    return next((list(table[action]) for table in tables if action in table), [])


def refuse_unknown(request: Request, declared: Iterable[OpenApiParameter]) -> None:
    """Raise BadInputError for a parameter that is not declared, is no text, or comes twice where one is taken."""
    known = {parameter.name: parameter for parameter in declared if parameter.location == OpenApiParameter.QUERY}
    unknown = sorted(set(request.query_params) - set(known))
    if unknown:
        allowed = f"allowed are {', '.join(known)}" if known else "this address takes none"
        names = ", ".join(repr(name) for name in unknown[:10])
        many = "parameters" if len(unknown) > 1 else "parameter"
        raise BadInputError(f"unknown query {many} {names}, {allowed}", unknown[0])
    for name, values in request.query_params.lists():
        for value in values:
            _check_text(name, value)
        if len(values) > 1 and not (known[name].many or known[name].type is NUMBERS):
            raise BadInputError(f"{name} is given {len(values)} times, allowed is once", name)


def _check_text(name: str, value: str) -> None:
    if not is_text(value):
        raise BadInputError(f"{name} {value!r} holds a NUL or a lone surrogate, which no text has", name)


# --- reading ---------------------------------------------------------------------------------------------------


def number_in(request: Request, name: str, default: int, maximum: int | None = None) -> int:
    """Give a number of the query string. Raise BadInputError naming it."""
    value = request.query_params.get(name, str(default))
    if not value.isdecimal() or len(value) > 18 or (maximum is not None and not 1 <= int(value) <= maximum):
        allowed = f"a number from 1 to {maximum}" if maximum else "a number"
        raise BadInputError(f"{name} {value!r} is not {allowed}", name)
    return int(value)


def text_in(request: Request, name: str) -> str:
    """Give a text of the query string, "" = none. Raise BadInputError for what no text has."""
    value = request.query_params.get(name, "")
    _check_text(name, value)
    return value


def flag_in(request: Request, name: str) -> bool | None:
    """Give yes or no, None = not asked. Raise BadInputError."""
    value = request.query_params.get(name)
    if value is not None and value not in FLAGS:
        raise BadInputError(f"{name} {value!r} is not true or false", name)
    return None if value is None else FLAGS[value]


def choice_in(request: Request, name: str, allowed: Sequence[str]) -> str | None:
    """Give one of what is allowed, None = not asked. Raise BadInputError."""
    value = request.query_params.get(name)
    if value is not None and value not in allowed:
        raise BadInputError(f"{name} {value!r} is unknown, allowed are {', '.join(allowed)}", name)
    return value


def since_in(request: Request, name: str, now: datetime) -> datetime | None:
    """Give the moment since which something is wanted, None = not asked: a time, or so many seconds ago.

    Raise BadInputError.
    """
    value = request.query_params.get(name)
    if value is None:
        return None
    if value.isascii() and value.isdecimal() and int(value[:12]) <= MOST_SECONDS:
        return max(now - timedelta(seconds=int(value[:12])), datetime(1, 1, 2, tzinfo=UTC))
    moment = moment_of(re.sub(r" (?=\d\d:?\d\d$)", "+", value))  # a + that was sent as it is, is a blank here
    if moment is None:
        raise BadInputError(
            f"{name} {value!r} is neither a date with a time and a zone, like 2026-01-31T08:00:00Z,"
            " nor a number of seconds before now",
            name,
        )
    return moment


def moment_of(text: str) -> datetime | None:
    """Read a date with a time and a zone, to UTC; None = it is not one."""
    if not MOMENT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
