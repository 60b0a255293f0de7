"""What views say of their answers in the OpenAPI document: refusals, files, and the links of pages."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, ClassVar, NamedTuple

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers


class ErrorSerializer(serializers.Serializer[Any]):
    """A refusal, in one sentence."""

    error = serializers.CharField(help_text="what was wrong, with the value, and what is allowed")
    fields = serializers.DictField(  # type: ignore[assignment]  # the contract's name for it
        child=serializers.ListField(child=serializers.CharField()),
        help_text="sentences by member of the body or name of a query parameter; dots lead to nested members",
    )

    sometimes = ("fields",)
    example: ClassVar = {
        "error": "timeout 5 is below the minimum of 10 seconds",
        "fields": {"timeout": ["timeout 5 is below the minimum of 10 seconds"]},
    }


SECONDS = {"schema": {"type": "integer", "minimum": 1, "example": 30}}
RETRY_AFTER = {"Retry-After": {"description": "seconds after which it may be asked again", **SECONDS}}
COMMON: dict[int, tuple[str, str, dict[str, Any]]] = {  # status -> name, description, headers
    400: ("BadRequest", "A value is wrong, or a member or query parameter is unknown.", {}),
    401: (
        "NotSignedIn",
        "There is no token and no session, or the token is unknown, expired or revoked.",
        {"WWW-Authenticate": {"description": "how to sign in", "schema": {"type": "string", "example": "Bearer"}}},
    ),
    403: ("Forbidden", "A permission is missing, or the token is for reading only; the sentence names it.", {}),
    404: ("NotFound", "There is no such thing, or none that you may see.", {}),
    405: (
        "MethodNotAllowed",
        "The address does not take this method.",
        {"Allow": {"description": "methods that it takes", "schema": {"type": "string", "example": "GET, HEAD"}}},
    ),
    406: ("NotAcceptable", "The address has no form that `Accept` or `format` asks for.", {}),
    408: ("TooSlow", "The body did not arrive in time (BODY_SECONDS).", {}),
    409: ("Conflict", "The state it is in does not allow this.", {}),
    413: ("TooLarge", "The body is larger than what is read (API_BODY_BYTES, 1 MiB).", {}),
    415: ("UnsupportedMediaType", "The body is not `application/json`.", {}),
    429: ("TooMany", "Asked too often, or a quota is used up.", RETRY_AFTER),
    503: ("Unavailable", "PostgreSQL, Redis or the board is away or busy; ask again.", RETRY_AFTER),
}
BODY_STATUSES = (408, 415)


def refused(*statuses: int) -> dict[int, Any]:
    """Give the responses of these statuses, to be named beside those of an action."""
    return {status: reference(status) for status in statuses}


class Either(NamedTuple):
    """How many of some members a body holds: `least` of them (0 or 1), and no two unless `together`.

    Of each member stands what it is where it counts as given: null, or an empty text, may not.
    """

    members: dict[str, dict[str, Any]]
    least: int = 1
    together: bool = False

    def wrong(self, *, is_change: bool) -> list[dict[str, Any]]:
        """Give the schemas of bodies that are none. A change may leave members as they are, but not give up all."""
        given: list[dict[str, Any]] = [
            {"required": [name], **({"properties": {name: what}} if what else {})}
            for name, what in self.members.items()
        ]
        none: list[dict[str, Any]] = [{"not": {"anyOf": given}}] if self.least else []
        if is_change:
            none = [{"required": list(self.members), **one} for one in none]
        return none + ([] if self.together else [{"allOf": list(pair)} for pair in combinations(given, 2)])


def none_of(wrong: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Say what a body is not. Of `oneOf` who generates clients would make several kinds of body, of `not` none does."""
    return {"not": {"anyOf": list(wrong)}} if wrong else {}


def file_of(media_type: str, description: str, example: Any = None) -> dict[Any, Any]:
    """Give the responses of a streamed file: of its own type, and as plain bytes to who accepts those alone."""
    kind = OpenApiTypes.STR if media_type.startswith("text/") or media_type.endswith("ndjson") else OpenApiTypes.BINARY
    schema: dict[str, Any] = {"type": "string", "description": description}
    if kind is OpenApiTypes.BINARY:
        schema["format"] = "binary"
    if example is not None:
        schema["example"] = example
    own = OpenApiResponse(schema, description)
    return {(200, media_type): own, **({} if media_type == BYTES else as_bytes())}


def as_bytes() -> dict[Any, Any]:
    """Give the response of a file to who accepts plain bytes alone."""
    schema = {"type": "string", "format": "binary", "description": f"the same with `Accept: {BYTES}`"}
    return {(200, BYTES): OpenApiResponse(schema)}


NEXT: dict[str, Any] = {"help_text": "address of the following page; null = nothing more"}
PREVIOUS: dict[str, Any] = {"help_text": "address of the page before; null = there is none"}
BYTES = "application/octet-stream"
DISPOSITION = {
    "Content-Disposition": {
        "description": "the name of the file",
        "schema": {"type": "string", "example": 'attachment; filename="campaign-12.csv"'},
    }
}


def reference(status: int) -> dict[str, str]:
    """Give where the refusal of this status is described."""
    return {"$ref": f"#/components/responses/{COMMON[status][0]}"}
