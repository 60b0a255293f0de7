"""The admin of the audit: to be looked at."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from fleet.admin import ModelAdmin
from fleet.audit.models import AuditEvent
from fleet.text import visible


@admin.register(AuditEvent)
class AuditEventAdmin(ModelAdmin):
    """Who did what. The console's page *Audit* searches and exports it."""

    list_display = ["at", "whom", "action", "about", "address"]
    search_fields = ["=who", "=subject", "=action"]
    show_full_result_count = False
    actions = None

    @admin.display(description="who", ordering="who")
    def whom(self, line: AuditEvent) -> str:
        """Give the name as it can be seen."""
        return visible(line.who)

    @admin.display(description="subject", ordering="subject")
    def about(self, line: AuditEvent) -> str:
        """Give the subject as it can be seen."""
        return visible(line.subject)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes."""
        return False
