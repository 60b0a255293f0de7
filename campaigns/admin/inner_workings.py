"""The admin of the machine's own rows, the audit records, and the kill switch."""

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from campaigns.answers.models import AuditRecord
from campaigns.collecting.models import DeadLetter, StreamCursor
from campaigns.launching import control, kill_switch
from campaigns.launching.models import LiveQueries
from campaigns.models import IdempotencyKey, TargetRange
from fleet.admin import AsksAgain, ModelAdmin, ReadOnlyAdmin
from fleet.counting import counted, plural


@admin.register(TargetRange)
class TargetRangeAdmin(ReadOnlyAdmin):
    """The pieces of work of a targeting."""

    list_display = ["campaign", "number", "sent_at", "done_at"]
    list_select_related = ["campaign"]
    list_filter = [("done_at", admin.EmptyFieldListFilter)]
    ordering = ["-campaign_id", "number"]


@admin.register(StreamCursor)
class StreamCursorAdmin(ReadOnlyAdmin):
    """How far the collector is."""

    list_display = ["stream", "entry", "moved_at"]


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    """Answers that could not be stored, kept as they came."""

    list_display = ["entry", "reason", "campaign_id", "host_id", "created_at"]
    search_fields = ["=entry", "=campaign_id", "reason"]
    exclude = ["fields"]
    readonly_fields = ["content"]

    @admin.display(description="fields")
    def content(self, letter: DeadLetter) -> str:
        """Show the beginning of what came."""
        return format_html("<pre>{}</pre>", bytes(letter.fields)[:4_000].decode("utf-8", "replace"))


@admin.register(AuditRecord)
class AuditRecordAdmin(ReadOnlyAdmin):
    """What is kept of every campaign, also of those that are gone."""

    list_display = ["campaign_id", "launched_by", "launched_at", "sql", "status", "ended_by", "reason", "stage"]
    list_filter = ["stage", "status"]
    search_fields = ["=campaign_id", "launched_by", "sql", "reason"]
    date_hierarchy = "launched_at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditRecord]:
        """Leave the hosts out of the list: they may be many."""
        records: QuerySet[AuditRecord] = super().get_queryset(request)
        return records.defer("hosts")


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyAdmin):
    """Keys under which people launched."""

    list_display = ["key", "user", "campaign", "created_at"]
    list_select_related = ["user", "campaign"]
    search_fields = ["=key"]
    ordering = ["-created_at"]


@admin.register(LiveQueries)
class LiveQueriesAdmin(AsksAgain, ModelAdmin):
    """The kill switch: unticked, all campaigns are stopped at once and none can be launched."""

    host_field = ""
    list_display = ["__str__", "reason", "changed_by", "changed_at"]
    fields = ["enabled", "reason"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow the first one only."""
        return not LiveQueries.objects.exists() and self.has_change_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for the permission of its own, of who sees every host."""
        return not kill_switch.objection_to(cast(User, request.user))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let it be switched, not removed."""
        return False

    def save_model(self, request: HttpRequest, obj: LiveQueries, form: Any, change: bool) -> None:
        """Turn the kill switch, as the API does."""
        obj.pk = 1
        by = cast(User, request.user)
        if obj.enabled:
            control.enable_live_queries(by)
            messages.success(request, "Live queries are enabled.")
        else:
            stopped = control.disable_live_queries(by, obj.reason)
            were_stopped = f"{counted(stopped, 'campaign')} {plural(stopped, 'was', 'were')} stopped"
            messages.warning(request, f"Live queries are switched off, {were_stopped}.")
