"""What every view of the API shares: who is asking, how errors read, how lists are paged."""

from collections import OrderedDict
from typing import Any

from knox.auth import TokenAuthentication
from rest_framework import exceptions, serializers
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.permissions import DjangoModelPermissions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from fleet.errors import FleetError


class BearerAuthentication(TokenAuthentication):  # type: ignore[misc]  # knox has no types
    """`Authorization: Bearer <token>`; the table holds digests."""


class ModelPermissions(DjangoModelPermissions):
    """Django's permissions of the view's model; looking needs `view` as well."""

    perms_map = {**DjangoModelPermissions.perms_map, "GET": ["%(app_label)s.view_%(model_name)s"]}


class Pages(LimitOffsetPagination):
    """Lists answer `count`, `next`, `previous`, `results`, with `limit` up to 1000."""

    default_limit = 100
    max_limit = 1000


class StrictSerializer(serializers.Serializer[Any]):
    """A body whose members are all known: an unknown one is refused by name, not ignored."""

    def to_internal_value(self, data: Any) -> Any:
        """Refuse unknown members, then validate the known ones."""
        if isinstance(data, dict):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                known = ", ".join(self.fields)
                raise serializers.ValidationError(
                    {name: [f"unknown member {name!r}, allowed are {known}"] for name in unknown}
                )
        return super().to_internal_value(data)


def error_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer every refusal as `{"error": "sentence", "fields": {…}?}` with the right status."""
    if isinstance(error, FleetError):
        body: dict[str, Any] = {"error": error.sentence}
        if error.field:
            body["fields"] = {error.field: [error.sentence]}
        return Response(body, status=error.status)
    response = exception_handler(error, context)
    if response is None:
        return None
    if isinstance(error, exceptions.ValidationError):
        fields = _sentences(error.detail)
        response.data = {"error": _first(fields), "fields": fields}
    else:
        response.data = {"error": str(getattr(error, "detail", error))}
    return response


def _sentences(detail: Any) -> dict[str, list[str]]:
    """Flatten DRF's nested details to a list of sentences for each member, dotted paths for nested ones."""
    if not isinstance(detail, dict):
        return {"": [str(item) for item in (detail if isinstance(detail, list) else [detail])]}
    flat: dict[str, list[str]] = OrderedDict()
    for name, nested in detail.items():
        for path, sentences in _sentences(nested).items():
            flat[".".join(filter(None, (str(name), path)))] = sentences
    return flat


def _first(fields: dict[str, list[str]]) -> str:
    name, sentences = next(iter(fields.items()))
    sentence = sentences[0] if sentences else "invalid"
    return sentence if not name or name.split(".")[-1] in sentence else f"{name}: {sentence}"
