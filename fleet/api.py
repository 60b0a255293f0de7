"""What every view of the API shares: who is asking, what a body may hold, how lists are paged."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.auth import TokenAuthentication
from rest_framework import serializers
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.permissions import DjangoModelPermissions


class BearerAuthentication(TokenAuthentication):  # type: ignore[misc]  # knox has no types
    """`Authorization: Bearer <token>`; the table holds digests."""


class BearerInDocs(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # found by drf-spectacular
    """Say in the OpenAPI document how tokens are sent."""

    target_class = BearerAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Give the scheme."""
        return {"type": "http", "scheme": "bearer"}


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
