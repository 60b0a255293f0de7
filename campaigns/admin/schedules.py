"""The admin of recurring questions: they are kept in the console and the API."""

from django.contrib import admin

from campaigns.recurring.models import Schedule, ScheduledRun
from fleet.admin import ReadOnlyAdmin


@admin.register(Schedule)
class ScheduleAdmin(ReadOnlyAdmin):
    """Saved queries that run by themselves."""

    list_display = ["query", "when", "owner", "enabled", "next_at", "stopped_reason", "last_problem"]
    list_select_related = ["query", "owner"]
    list_filter = ["enabled"]
    search_fields = ["query__name", "owner__username"]


@admin.register(ScheduledRun)
class ScheduledRunAdmin(ReadOnlyAdmin):
    """Their runs, and what changed."""

    list_display = ["campaign", "schedule", "before", "compared_at", "changes", "problem"]
    list_select_related = ["campaign", "schedule__query", "before"]
    search_fields = ["=campaign__id", "=schedule__id"]
