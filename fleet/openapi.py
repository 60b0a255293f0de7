"""How views are described in the OpenAPI document."""

from typing import Any

from drf_spectacular.openapi import AutoSchema

from fleet.parameters import declared_by


class DocumentedParameters(AutoSchema):
    """The OpenAPI document names the query parameters that the view declares."""

    def get_override_parameters(self) -> list[Any]:
        """Give what the action takes."""
        return [*super().get_override_parameters(), *declared_by(self.view, self.method)]
