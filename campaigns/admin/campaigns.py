"""The admin of campaigns: adding one launches it, its page follows it live, machine-written rows are read-only."""

from secrets import token_urlsafe
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.utils.html import format_html
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from campaigns.answers import sight
from campaigns.console import wording
from campaigns.console.access import number_of
from campaigns.console.campaign_pages import live_context
from campaigns.console.control_pages import may_stop
from campaigns.console.forms import LaunchForm
from campaigns.launching import control, launch, rights
from campaigns.models import Campaign, Result, Target
from campaigns.people import scopes
from fleet import headers
from fleet.admin import ModelAdmin, ReadOnlyAdmin
from fleet.counting import counted
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


class SeenCampaigns(ChangeList):
    """A page of the list, each campaign as whoever looks sees it."""

    def get_results(self, request: HttpRequest) -> None:
        """Read the page."""
        super().get_results(request)
        if scopes.is_limited(request.user):
            self.result_list = sight.all_seen_by(self.result_list, request.user)


@admin.register(Campaign)
class CampaignAdmin(ModelAdmin):
    """Campaigns: add to launch, look to follow, stop. Only the name and the pin are changed afterwards."""

    host_field = ""

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

    def get_queryset(self, request: HttpRequest) -> QuerySet[Campaign]:
        """Leave out campaigns of which this person sees no host."""
        found: QuerySet[Campaign] = super().get_queryset(request)
        visible: QuerySet[Campaign] = Campaign.objects.visible_to(request.user)
        return found.filter(pk__in=visible.values("pk")) if scopes.is_limited(request.user) else found

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Give the campaign as this person sees it; None = there is none for him."""
        found = super().get_object(request, object_id, from_field)
        return None if found is None else sight.seen_by(found, request.user)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        """Show a page of campaigns as this person sees them."""
        return SeenCampaigns

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for the permission, and that nothing of the campaign is hidden from this person."""
        permitted = bool(super().has_change_permission(request, obj))
        return permitted and (obj is None or not obj.is_partial)

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
        messages.success(request, f"Launched over {counted(obj.expected, 'host')}.")
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
        extra = {"campaign": shown, **live_context(shown, QueryDict())} if shown is not None else {}
        extra["nonce"] = nonce = token_urlsafe(16)  # for the grid's styles
        response = super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})
        response["Content-Security-Policy"] = headers.policy_of_admin(nonce)
        return response

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
        for campaign in chosen.order_by("pk"):
            self._stop(request, campaign)

    @action(  # type: ignore[untyped-decorator]  # unfold has no types
        description="Stop", icon="stop_circle", url_path="stop", permissions=["stop_campaign"]
    )
    def stop_campaign(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Stop this one, after the console asked whether to."""
        return redirect("stop-campaign", int(object_id))

    def has_stop_campaign_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Offer Stop while there is something to stop, to who may. An address may hold what is no number."""
        shown = Campaign.objects.visible_to(request.user).filter(pk=number_of(str(object_id))).first()
        return shown is not None and isinstance(request.user, User) and may_stop(request.user, shown)

    def _stop(self, request: HttpRequest, campaign: Campaign) -> None:
        campaign_id = campaign.pk
        try:
            rights.check_steering(campaign, cast(User, request.user))
            control.stop(campaign_id, request.user.get_username(), "stopped in the admin")
        except FleetError as error:
            messages.error(request, error.sentence)
        else:
            messages.success(request, f"Stopping campaign {campaign_id}: nothing more is handed out.")


class OfCampaignAdmin(ReadOnlyAdmin):
    """Rows of one campaign, newest campaign first; found by its number, so that no search walks the whole table.

    Not for who sees some hosts only, who has the console: a row's address holds its number in the table, and numbers
    tell how many rows there are of other hosts.
    """

    host_field = None
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
    readonly_fields = ["first_rows"]
    exclude = ["rows"]  # they have a place of their own there

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
