"""The admin of the audit: to be looked at."""

from django.contrib import admin

from fleet.admin import ReadOnlyAdmin
from fleet.audit.models import AuditEvent
from fleet.text import visible


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Who did what. The console's page *Audit* searches and exports it."""

    list_display = ["at", "whom", "action", "about", "address"]
    search_fields = ["=who", "=subject", "=action"]

    @admin.display(description="who", ordering="who")
    def whom(self, line: AuditEvent) -> str:
        """Give the name as it can be seen."""
        return visible(line.who)

    @admin.display(description="subject", ordering="subject")
    def about(self, line: AuditEvent) -> str:
        """Give the subject as it can be seen."""
        return visible(line.subject)
