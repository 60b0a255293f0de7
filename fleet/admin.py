"""The class of every page of the admin."""

from typing import Any

from django.http import HttpRequest
from unfold.admin import ModelAdmin as UnfoldModelAdmin


class ModelAdmin(UnfoldModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Unfold's own; an empty `_to_field` in an address or form is none, which Django takes for a field's name."""

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Give the object, None = there is none."""
        return super().get_object(request, object_id, from_field or None)
