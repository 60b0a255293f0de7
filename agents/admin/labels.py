"""The admin of labels: groups of hosts by hand, by SQL, or built in."""

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from unfold.widgets import UnfoldAdminTextareaWidget

from agents.admin.memberships import MembershipInline
from agents.inventory import label_sql, labels
from agents.inventory.label_form import PLATFORMS_WITH_SQL, LabelForm
from agents.models import Label
from fleet import sight
from fleet.admin import ModelAdmin
from fleet.errors import ForbiddenError

MEMBERS_A_PAGE = 25


class AdminLabelForm(LabelForm):
    """The label's form in the admin's clothes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        texts = {"description", "add_hosts", *(f"sql_{platform}" for platform in PLATFORMS_WITH_SQL)}
        for name in texts & self.fields.keys():  # what cannot be changed is no field
            self.fields[name].widget = UnfoldAdminTextareaWidget({"rows": 4 if name == "add_hosts" else 2})


def _is_free(request: HttpRequest, label: Label | None) -> bool:
    return label is None or (
        not label.built_in and labels.changeable_by(cast(User, request.user)).filter(pk=label.pk).exists()
    )


def _objection(by: User, label: Label) -> str:
    """Say why this person may not delete it; "" = nothing speaks against it."""
    try:
        labels.check_may_delete(by, label)
    except ForbiddenError as error:
        return error.sentence
    return ""


class MembersOfLabel(MembershipInline):
    """The hosts of one label, in pages."""

    needed = "agents.view_host"
    extra = 0
    per_page = MEMBERS_A_PAGE
    autocomplete_fields = ["host"]
    ordering = ["host_id"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for the permission, and that the label may be changed."""
        return super().has_add_permission(request, obj) and _is_free(request, obj)


@admin.register(Label)
class LabelAdmin(ModelAdmin):
    """Groups of hosts: by hand, by SQL, or built in."""

    host_field = ""
    form = AdminLabelForm
    list_display = ["name", "description", "kind", "members", "created_at"]
    search_fields = ["name", "description"]
    inlines = [MembersOfLabel]
    readonly_fields = ["sql_state"]

    def get_readonly_fields(self, request: HttpRequest, obj: Label | None = None) -> list[str]:
        """Say nothing of what is wrong with the SQL to who sees some hosts only: it may be so on others."""
        return [] if sight.is_limited(request.user) else ["sql_state"]

    def get_list_display(self, request: HttpRequest) -> list[str]:
        """Leave the same out of the list."""
        return [name for name in self.list_display if name != "kind" or not sight.is_limited(request.user)]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Label]:
        """Count the members along."""
        found: QuerySet[Label] = super().get_queryset(request)
        return found.prefetch_related("queries").annotate(member_count=labels.count_for(request.user))

    def get_form(self, request: HttpRequest, obj: Label | None = None, **kwargs: Any) -> Any:
        """Tell the form who writes."""
        return type("LabelFormOfPerson", (super().get_form(request, obj, **kwargs),), {"by": request.user})

    def has_change_permission(self, request: HttpRequest, obj: Label | None = None) -> bool:
        """Built-in labels are the machine's, those that scopes rest on are for who may change scopes."""
        return bool(super().has_change_permission(request, obj)) and _is_free(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Label | None = None) -> bool:
        """Built-in labels stay."""
        return bool(super().has_delete_permission(request, obj)) and _is_free(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Name the labels, how many hosts leave each and what holds one: never the hosts, which may be all."""
        chosen = list(objs)
        shown = [format_html("label {} ({} hosts leave it)", label.name, self.members(label)) for label in chosen]
        needed = {"label"} if any(not self.has_delete_permission(request, label) for label in chosen) else set()
        held = [said for label in chosen if (said := _objection(cast(User, request.user), label))]
        return shown, {"labels": len(chosen)}, needed, held

    def delete_model(self, request: HttpRequest, obj: Label) -> None:
        """Delete one, its SQL first. One with hosts that this person does not see stays."""
        self._forget(request, obj)

    def _forget(self, request: HttpRequest, obj: Label) -> None:
        if said := _objection(cast(User, request.user), obj):
            messages.error(request, said)
            return
        labels.forget(obj, request.user.get_username())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Label]) -> None:
        """Delete several; built-in ones stay."""
        for label in queryset.filter(built_in=""):
            self._forget(request, label)

    @admin.display(description="members come")
    def kind(self, label: Label) -> str:
        """Say how hosts get in."""
        if label.built_in:
            return "by platform"
        if any(label_sql.trouble_with(query) for query in label.queries.all()):
            return "by SQL, which fails"
        return "by SQL" if label.queries.all() else "by hand"

    @admin.display(description="SQL as hosts take it")
    def sql_state(self, label: Label) -> str:
        """Say who wrote it, and what is wrong with it."""
        queries = label.queries.all() if label.pk else ()
        lines = [
            (
                f"{query.get_platform_display()}, written by {query.written_by or 'somebody'}:",
                label_sql.trouble_with(query),
            )
            for query in queries
        ]
        return format_html_join(mark_safe("<br>"), "{} {}", [(who, what or "no trouble") for who, what in lines]) or "-"

    @admin.display(description="hosts", ordering="member_count")
    def members(self, label: Any) -> int:
        """Give how many hosts are in it."""
        return int(label.member_count)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Put the pasted hosts in, those that are in it already stay; and ask hosts the SQL."""
        super().save_related(request, form, formsets, change)
        form.keep_members()
        for warning in form.name_warnings:
            messages.warning(request, warning)
