"""The admin of campaigns: adding one launches it, its page follows it live, machine-written rows are read-only."""

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from agents.admin import ReadOnlyAdmin
from campaigns.console import wording
from campaigns.console.access import number_of
from campaigns.console.campaign_pages import live_context, may_stop
from campaigns.console.forms import LaunchForm
from campaigns.launching import launch
from campaigns.models import (
    ApiToken,
    AuditRecord,
    Campaign,
    DeadLetter,
    IdempotencyKey,
    LiveQueries,
    Query,
    Result,
    StreamCursor,
    Target,
    TargetRange,
)
from fleet.errors import FleetError

ROWS_SHOWN = 20  # of one host's result


class AdminLaunchForm(LaunchForm):
    """The launch in the admin's clothes."""

    class Meta(LaunchForm.Meta):
        widgets = {
            "sql": UnfoldAdminTextareaWidget({"rows": 6, "class": "font-mono", "spellcheck": "false"}),
            "timeout": UnfoldAdminIntegerFieldWidget,
            "name": UnfoldAdminTextInputWidget,
            "reason": UnfoldAdminTextareaWidget({"rows": 2}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["sql"].label = "SQL"
        self.fields["timeout"].initial = launch.DEFAULT_TIMEOUT
        widgets = {
            "kind": UnfoldAdminRadioSelectWidget(),
            "labels": UnfoldAdminCheckboxSelectMultipleWidget(),
            "platforms": UnfoldAdminCheckboxSelectMultipleWidget(),
            "hosts": UnfoldAdminTextareaWidget({"rows": 3}),
            "online": UnfoldBooleanWidget(),
        }
        for name, widget in widgets.items():
            field: Any = self.fields[name]
            if hasattr(field, "choices"):
                widget.choices = field.choices
            field.widget = widget


@admin.register(Campaign)
class CampaignAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Campaigns: add to launch, look to follow, stop. Only the name and the pin are changed afterwards."""

    list_display = ["title", "status", "answered", "failed", "rows", "created_by", "created_at", "pinned"]
    list_filter = ["status", "pinned", ("created_by", admin.RelatedOnlyFieldListFilter)]
    list_select_related = ["created_by"]
    search_fields = ["name", "sql"]
    date_hierarchy = "created_at"
    actions = ["stop_campaigns"]
    actions_detail = ["stop_campaign"]
    add_fieldsets = [
        (None, {"fields": ["sql"]}),
        ("Who is asked", {"fields": ["kind", "labels", "platforms", "hosts", "online"]}),
        ("How long, and why", {"fields": ["timeout", "name", "reason"]}),
    ]
    fieldsets = [
        (None, {"fields": ["name", "pinned"]}),
        ("What was asked", {"fields": ["sql", "query", "who_is_meant", "timeout", "reason", "parent", "warnings"]}),
        (
            "How it went",
            {
                "fields": [
                    "status",
                    "ended_reason",
                    "ended_by",
                    "created_by",
                    *(["created_at", "started_at", "ends_at", "ended_at", "expected", "last_seq", "columns"]),
                ]
            },
        ),
    ]

    def get_readonly_fields(self, request: HttpRequest, obj: Campaign | None = None) -> list[str]:
        """Everything but the name and the pin, once it is launched."""
        if obj is None:
            return []
        shown = [name for _, options in self.fieldsets for name in options["fields"]]
        return [name for name in shown if name not in ("name", "pinned")]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Launch on adding; the form knows who does."""
        if obj is not None:
            return super().get_form(request, obj, change, **kwargs)
        return type("LaunchFormOfUser", (AdminLaunchForm,), {"by": request.user})

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Deleting takes the board and its late answers into account: the API does it."""
        return False

    def save_model(self, request: HttpRequest, obj: Campaign, form: "ModelForm[Campaign]", change: bool) -> None:
        """Write the name and the pin alone; a new campaign was written by its launch."""
        if change:
            obj.save(update_fields=["name", "pinned"])

    def response_add(self, request: HttpRequest, obj: Campaign, post_url_continue: str | None = None) -> HttpResponse:
        """Go to the launched campaign's page."""
        messages.success(request, f"Launched over {obj.expected} hosts.")
        return redirect("admin:campaigns_campaign_change", obj.pk)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None) -> Any:
        """Offer nothing but the launch."""
        alone = {"title": "Launch a campaign", "show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**alone, **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Show the live progress above the fields."""
        shown = self.get_object(request, object_id)
        extra = {"campaign": shown, **live_context(shown)} if shown is not None else {}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    # --- columns ----------------------------------------------------------------------------------------------

    @admin.display(ordering="name")
    def title(self, campaign: Campaign) -> str:
        """Give the name, or the beginning of the SQL."""
        return wording.title(campaign)

    @admin.display(ordering="count_answered")
    def answered(self, campaign: Campaign) -> str:
        """Give how many hosts answered, of how many."""
        return f"{campaign.count_answered:,} of {campaign.count_targeted:,}"

    @admin.display(ordering="count_failed")
    def failed(self, campaign: Campaign) -> str:
        """Give how many hosts failed or refuse the SQL."""
        return f"{campaign.count_failed + campaign.count_denylisted:,}"

    @admin.display(ordering="count_rows")
    def rows(self, campaign: Campaign) -> str:
        """Give how many rows came back."""
        return f"{campaign.count_rows:,}"

    @admin.display(description="target")
    def who_is_meant(self, campaign: Campaign) -> str:
        """Give the selection in words."""
        return wording.target_in_words(campaign.target)

    # --- Stop -------------------------------------------------------------------------------------------------

    @admin.action(description="Stop: hand out no more, at once", permissions=["change"])
    def stop_campaigns(self, request: HttpRequest, chosen: QuerySet[Campaign]) -> None:
        """Stop the chosen campaigns; those that are over are named."""
        for campaign_id in chosen.order_by("pk").values_list("pk", flat=True):
            self._stop(request, campaign_id)

    @action(  # type: ignore[untyped-decorator]  # unfold has no types
        description="Stop", icon="stop_circle", url_path="stop", permissions=["stop_campaign"]
    )
    def stop_campaign(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Stop this one, after the console asked whether to."""
        return redirect("stop-campaign", int(object_id))

    def has_stop_campaign_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Offer Stop while there is something to stop, to who may. An address may hold what is no number."""
        shown = Campaign.objects.filter(pk=number_of(str(object_id))).first()
        return shown is not None and isinstance(request.user, User) and may_stop(request.user, shown)

    def _stop(self, request: HttpRequest, campaign_id: int) -> None:
        try:
            launch.stop(campaign_id, request.user.get_username(), "stopped in the admin")
        except FleetError as error:
            messages.error(request, error.sentence)
        else:
            messages.success(request, f"Stopping campaign {campaign_id}: nothing more is handed out.")


@admin.register(Query)
class QueryAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Saved SQL."""

    list_display = ["name", "description", "ask", "created_by", "updated_at"]
    list_select_related = ["created_by"]
    search_fields = ["name", "sql", "description"]
    fields = ["name", "sql", "description"]

    @admin.display(description="")
    def ask(self, query: Query) -> str:
        """Link to the Ask page with this SQL."""
        return format_html('<a href="{}?query={}">Ask</a>', reverse("ask"), query.pk)

    def save_model(self, request: HttpRequest, obj: Query, form: Any, change: bool) -> None:
        """Remember who wrote it."""
        if not change and isinstance(request.user, User):
            obj.created_by = request.user
        super().save_model(request, obj, form, change)


class OfCampaignAdmin(ReadOnlyAdmin):
    """Rows of one campaign, newest campaign first; found by its number, so that no search walks the whole table."""

    list_select_related = ["campaign"]
    search_fields = ["=campaign__id", "hostname"]
    search_help_text = "A campaign's number, or a part of a hostname"
    ordering = ["-campaign_id", "host_id"]


@admin.register(Target)
class TargetAdmin(OfCampaignAdmin):
    """One host of one campaign, with its state."""

    list_display = ["hostname", "campaign", "state", "late", "deliveries", "answered_at", "row_count", "wall_ms"]
    list_filter = ["state", "late"]
    list_select_related = ["campaign"]


@admin.register(Result)
class ResultAdmin(OfCampaignAdmin):
    """What one host answered. Its rows are large: the list leaves them out."""

    list_display = ["hostname", "campaign", "seq", "state", "row_count", "truncated", "late", "received_at"]
    list_filter = ["state", "late", "truncated"]
    ordering = ["-campaign_id", "seq"]
    exclude = ["rows"]
    readonly_fields = ["first_rows"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Result]:
        """Leave the rows out of the list; the page of one result fetches its own."""
        results: QuerySet[Result] = super().get_queryset(request)
        return results.defer("rows")

    @admin.display(description="rows")
    def first_rows(self, result: Result) -> str:
        """Show the first rows."""
        lines = [", ".join(f"{name}={value}" for name, value in row.items()) for row in result.rows[:ROWS_SHOWN]]
        more = f"\n… and {result.row_count - ROWS_SHOWN} more" if result.row_count > ROWS_SHOWN else ""
        return format_html("<pre>{}{}</pre>", "\n".join(lines), more)


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


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """Tokens of the API: made there, looked at and deleted here."""

    list_display = ["name", "user", "token_key", "created", "expiry"]
    list_select_related = ["user"]
    search_fields = ["name", "user__username", "token_key"]
    exclude = ["digest"]
    actions = ["delete_selected"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Deleting a token is how it is taken away."""
        return bool(request.user.has_perm("campaigns.delete_apitoken"))


admin.site.unregister([User, Group])


@admin.register(User)
class UserAdmin(DjangoUserAdmin[User], ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """People."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Groups of people, with permissions."""


@admin.register(LiveQueries)
class LiveQueriesAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """The kill switch: unticked, all campaigns are stopped at once and none can be launched."""

    list_display = ["__str__", "reason", "changed_by", "changed_at"]
    fields = ["enabled", "reason"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow the first one only."""
        return not LiveQueries.objects.exists() and self.has_change_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for the permission of its own."""
        return request.user.has_perm("campaigns.switch_live_queries")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let it be switched, not removed."""
        return False

    def save_model(self, request: HttpRequest, obj: LiveQueries, form: Any, change: bool) -> None:
        """Switch."""
        obj.pk = 1
        by = cast(User, request.user)
        if obj.enabled:
            launch.enable_live_queries(by)
            messages.success(request, "Live queries are enabled.")
        else:
            stopped = launch.disable_live_queries(by, obj.reason)
            messages.warning(request, f"Live queries are switched off, {stopped} campaigns were stopped.")
