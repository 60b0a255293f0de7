"""Rows that machines write: people look at them."""

from typing import Any

from django.http import HttpRequest

from fleet.admin import ModelAdmin, with_marks


class ReadOnlyAdmin(ModelAdmin):
    """Rows that the machine writes: to be looked at, never touched."""

    actions: list[str] | None = None
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes."""
        return False

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """Show the row, with marks for what cannot be seen."""
        return with_marks(super().changeform_view(request, object_id, form_url, extra_context))
