"""What every view of the API shares: who is asking, what a request may hold."""

import json
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import IO, Any

import msgspec
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.auth import TokenAuthentication
from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed, ErrorDetail, ParseError, PermissionDenied
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import SAFE_METHODS, DjangoModelPermissions
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from fleet.api import kinds
from fleet.errors import BadInputError

READING_ONLY = "this token is for reading only: it launches and changes nothing"
UNKNOWN = "Invalid token: it is unknown, has expired or was revoked"
NAMES_IT = {"kind", "unknown", "invalid_choice", "does_not_exist"}  # codes of sentences that name what was sent
LONE = re.compile(  # a half without its other half, behind no backslash that is itself escaped
    rb"(?<!\\)(?:\\\\)*(\\u[dD][89abAB]\w\w(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]\w\w)\\u[dD][c-fC-F]\w\w)"
)
MOST_NAMED = 20  # unknown members, or wrong items of a list: a megabyte has a hundred thousand, which took ten seconds
DEEPEST_BODY = 32  # levels; what is checked and quoted in errors may be walked by recursion


class BearerAuthentication(TokenAuthentication):  # type: ignore[misc]  # knox has no types
    """`Authorization: Bearer <token>`; the table holds digests."""

    def authenticate_credentials(self, token: bytes) -> Any:
        """Give the user and the token. Raise AuthenticationFailed, also for bytes that no token has."""
        if not token.isalnum():
            raise AuthenticationFailed(UNKNOWN)
        try:
            return super().authenticate_credentials(token)
        except AuthenticationFailed as error:
            raise AuthenticationFailed(UNKNOWN if error.detail == "Invalid token." else error.detail) from error

    def authenticate(self, request: Request) -> Any:
        """Give the user and the token, whose use is noted; None = no token is shown."""
        found = super().authenticate(request)
        if found is not None:
            found[1].note_use(request.META)
        return found

    def _cleanup_token(self, auth_token: Any) -> bool:
        """Say whether it has expired. The sweep deletes it: knox looks at all of its owner's at each request."""
        return auth_token.expiry is not None and auth_token.expiry < timezone.now()

    def validate_user(self, auth_token: Any) -> Any:
        """Give the user and the token. Raise AuthenticationFailed when the owner is away or has a new password."""
        user, token = super().validate_user(auth_token)
        if not token.is_current:
            raise AuthenticationFailed("the password of this token's owner has changed since it was made")
        return token.narrow(user), token


def refuse_more_than_reading(request: Request) -> None:
    """Raise PermissionDenied when the token is for reading and this is more; who shows it is known by then."""
    if getattr(request.auth, "access", "") == "read" and not _only_reads(request):
        raise PermissionDenied(READING_ONLY)


def _only_reads(request: Request) -> bool:
    """Say whether a request changes nothing: by its method, or since its view says so of this action."""
    view = (request.parser_context or {}).get("view")
    return request.method in SAFE_METHODS or getattr(view, "action", "") in getattr(view, "actions_that_read", ())


class BearerInDocs(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # found by drf-spectacular
    """Say in the OpenAPI document how tokens are sent."""

    target_class = BearerAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Give the scheme."""
        return {"type": "http", "scheme": "bearer"}


class ModelPermissions(DjangoModelPermissions):
    """Django's permissions of the view's model; looking needs `view`, and so does what answers with the object."""

    perms_map = {
        **DjangoModelPermissions.perms_map,
        "GET": ["%(app_label)s.view_%(model_name)s"],
        "HEAD": ["%(app_label)s.view_%(model_name)s"],
        "PUT": ["%(app_label)s.change_%(model_name)s", "%(app_label)s.view_%(model_name)s"],
        "PATCH": ["%(app_label)s.change_%(model_name)s", "%(app_label)s.view_%(model_name)s"],
    }


class Negotiation(DefaultContentNegotiation):
    """Where there is one representation it is given, whatever the request accepts; `?format=` is refused by name."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """Give what writes the answer, and its media type. Raise BadInputError, or NotAcceptable where are several."""
        if len(renderers) > 1:
            chosen: tuple[BaseRenderer, str] = super().select_renderer(request, renderers, format_suffix)
            return chosen
        wanted = request.query_params.get("format")
        if wanted is not None:
            sentence = f"format {wanted!r} is not to be chosen here: this address has one format"
            raise BadInputError(f"{sentence}; that of a file is the end of its address, as in export.csv", "format")
        return renderers[0], renderers[0].media_type


# --- bodies ----------------------------------------------------------------------------------------------------


class StrictJson(BaseParser):
    """Bodies are JSON in UTF-8 to the letter: no NaN, lone surrogate or member twice, no number or depth none takes."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: Any = None, parser_context: Any = None) -> Any:
        """Give the content. Raise ParseError."""
        body = stream.read()
        try:
            content = msgspec.json.decode(body)
        except RecursionError as error:
            raise _too_deep() from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ParseError(f"the body is not JSON in UTF-8: {_half_character(body) or error}") from error
        _check_levels(content)
        json.loads(body, object_pairs_hook=_check_names)  # whose depth and numbers are known to be bearable now
        return content


def _half_character(body: bytes) -> str:
    """Say that the body has a lone surrogate, which is read as if the body broke off there; "" = it has none."""
    found = LONE.search(body)
    return f"{found[1].decode()} is half a character" if found else ""


def _check_levels(content: Any) -> None:
    level, depth = [content], 0
    while level:
        if depth == DEEPEST_BODY:
            raise _too_deep()
        level, depth = [inner for value in level for inner in _within(value)], depth + 1


def _within(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise ParseError(f"the body holds the number {kinds.as_sent(None, value)}, which takes more than 64 bits")
    return value if isinstance(value, list) else ()


def _check_names(members: list[tuple[str, Any]]) -> None:
    """Raise ParseError for a member that is said twice: which of the two was meant is not to be guessed."""
    seen: set[str] = set()
    for name, _ in members:
        if name in seen:
            raise ParseError(f"the body has the member {kinds.as_sent(None, name)} twice, allowed is once")
        seen.add(name)


def _too_deep() -> ParseError:
    return ParseError(f"the body is nested deeper than {DEEPEST_BODY} levels")


class StrictSerializer(serializers.Serializer[Any]):
    """A body whose members are all known and of the kind they are said to be: others are refused by name and value."""

    def run_validation(self, data: Any = serializers.empty) -> Any:
        """Validate it. Raise ParseError for what is no object, ValidationError with sentences that say what came."""
        if self.parent is None and data is not serializers.empty and not isinstance(data, Mapping):
            raise ParseError(f"the body is {kinds.as_sent(None, data)}, expected is an object")
        try:
            return super().run_validation(data)
        except serializers.ValidationError as error:
            raise serializers.ValidationError(_with_values(error.detail, data)) from error

    def to_internal_value(self, data: Any) -> Any:
        """Refuse unknown members and those of another kind, then validate the known ones."""
        if isinstance(data, dict):
            unknown = sorted(set(data) - set(self.fields))[:MOST_NAMED]
            if unknown:
                allowed = [name for name, field in self.fields.items() if not field.read_only]
                known = f"allowed are {', '.join(allowed)}" if allowed else "the body takes none"
                raise serializers.ValidationError(
                    {name: [f"unknown member {name!r}, {known}"] for name in unknown}, code="unknown"
                )
            said = {name: kinds.objection(self.fields[name], value) for name, value in data.items()}
            if wrong := {name: [sentence] for name, sentence in said.items() if sentence}:
                raise serializers.ValidationError(wrong, code="kind")
            long = {name: _too_long(self.fields[name], value) for name, value in data.items()}
            if any(long.values()):
                raise serializers.ValidationError({name: sentences for name, sentences in long.items() if sentences})
        return super().to_internal_value(data)

    def get_fields(self) -> dict[str, Any]:
        """Give the members, each with sentences that say what is allowed."""
        fields: dict[str, Any] = super().get_fields()
        for field in fields.values():
            _say_what_is_allowed(field)
        return fields


def _too_long(field: Any, value: Any) -> list[ErrorDetail]:
    """Say that a text is longer than is documented, before its outer blanks are taken away."""
    most = getattr(field, "max_length", None)
    if not isinstance(field, serializers.CharField) or not isinstance(value, str) or not most or len(value) <= most:
        return []
    return [ErrorDetail(f"it has {len(value)} characters, allowed are {most}", "max_length")]


def _with_values(detail: Any, sent: Any, path: tuple[str, ...] = ()) -> Any:
    """Put before each sentence that names no value the member that it is about, and what was sent of it."""
    if isinstance(detail, dict):
        return {
            name: _with_values(inner, _within_sent(sent, name), (*path, str(name)))
            for name, inner in islice(detail.items(), MOST_NAMED)
        }
    if isinstance(detail, list):
        return [_with_values(one, sent, path) for one in detail]
    name = ".".join(path)
    if sent is None or not path or path[-1] in kinds.SECRETS or detail.code in NAMES_IT or detail.startswith(name):
        return detail
    return ErrorDetail(f"{name} {kinds.as_sent(path[-1], sent)}: {detail}", detail.code)


def _within_sent(sent: Any, name: Any) -> Any:
    """Give the member or the item; None = there is none of it."""
    if isinstance(sent, dict):
        return sent.get(name)
    return sent[name] if isinstance(sent, list) and isinstance(name, int) and name < len(sent) else None


def _say_what_is_allowed(field: Any) -> None:
    inner = getattr(field, "child", None) or getattr(field, "child_relation", None)
    if inner is not None:
        _say_what_is_allowed(inner)
    elif isinstance(field, serializers.ChoiceField):
        allowed = ", ".join(str(choice) or '""' for choice in field.choices).replace("{", "{{").replace("}", "}}")
        field.error_messages["invalid_choice"] = f"{{input!r}} is unknown, allowed are {allowed}"
    elif isinstance(field, serializers.PrimaryKeyRelatedField):
        field.error_messages["does_not_exist"] = "there is none with the id {pk_value}"
    elif isinstance(field, serializers.SlugRelatedField):
        field.error_messages["does_not_exist"] = "there is none with the {slug_name} {value!r}"


class NoMembers(StrictSerializer):
    """The body of a call that takes none: left out, empty, or an empty object."""


def refuse_body(request: Request) -> None:
    """Raise ValidationError when the body says anything: whoever sent it expects it to matter."""
    NoMembers(data=request.data).is_valid(raise_exception=True)
