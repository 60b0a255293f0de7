"""The admin of labels: groups of hosts by hand, by SQL, or built in."""

import re
from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe
from unfold.widgets import UnfoldAdminTextareaWidget

from agents.admin.memberships import MembershipInline
from agents.inventory import host_names, kept_sql, label_sql, labels
from agents.models import (
    HousekeepingQuery,
    Label,
    LabelMembership,
    Platform,
)
from fleet.admin import ModelAdmin
from fleet.errors import BadInputError, FleetError

MEMBERS_A_PAGE = 25
PLATFORMS_WITH_SQL = (Platform.LINUX, Platform.DARWIN, Platform.WINDOWS, Platform.FREEBSD)
_BETWEEN_HOSTS = re.compile(r"[\n\r\t,;]+")


def _sql_field(platform: Platform) -> forms.CharField:
    return forms.CharField(
        label=f"SQL on {platform.label}",
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 2}),
        help_text="A host that answers a row is a member. Asked hourly, and when it changes.",
    )


class LabelForm(forms.ModelForm[Label]):
    """A label, its SQL, and hosts to put into it by name: hundreds are pasted, not picked."""

    sql_linux = _sql_field(Platform.LINUX)
    sql_darwin = _sql_field(Platform.DARWIN)
    sql_windows = _sql_field(Platform.WINDOWS)
    sql_freebsd = _sql_field(Platform.FREEBSD)
    add_hosts = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 4}),
        help_text="Hostnames, UUIDs, serials or host identifiers, one a line or with commas between. #42 is an id.",
    )

    by: User
    name_warnings: Sequence[str] = ()

    class Meta:
        model = Label
        fields = ["name", "description"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin with the SQL that is kept."""
        super().__init__(*args, **kwargs)
        for platform, text in self._queries_kept().items():
            self.fields[f"sql_{platform}"].initial = text

    def _queries_kept(self) -> dict[str, str]:
        return {query.platform: query.sql for query in self.instance.queries.all()} if self.instance.pk else {}

    def clean(self) -> dict[str, Any]:
        """Check the SQL as that of a campaign is; hosts are put in by hand or by SQL, not both."""
        cleaned = super().clean() or self.cleaned_data
        cleaned["queries"] = {}
        for platform in PLATFORMS_WITH_SQL:
            if text := cleaned.get(f"sql_{platform}"):
                try:
                    cleaned["queries"][platform] = kept_sql.check_of_label(text, self.by, platform)
                except FleetError as error:
                    self.add_error(f"sql_{platform}", error.sentence)
        if not self.errors and cleaned["queries"] != self._queries_kept():
            try:
                kept_sql.check_author(self.by, "queries")
            except FleetError as error:
                self.add_error(None, error.sentence)
        if cleaned["queries"] and cleaned.get("add_hosts"):
            self.add_error("add_hosts", "hosts enter a label with SQL by their answers")
        return cleaned

    def clean_add_hosts(self) -> set[int]:
        """Find the hosts. Refuse names that nobody bears."""
        words = [word.strip() for word in _BETWEEN_HOSTS.split(self.cleaned_data["add_hosts"])]
        ids = [int(word[1:]) for word in words if re.fullmatch(r"#\d{1,18}", word)]
        names = [word for word in words if word and not re.fullmatch(r"#\d{1,18}", word)]
        found = host_names.look_up(ids, names)
        try:
            host_names.check_known(found, "add_hosts")
        except BadInputError as error:
            raise forms.ValidationError(error.sentence) from error
        self.name_warnings = found.warnings
        return found.ids


class MembersOfLabel(MembershipInline):
    """The hosts of one label, in pages."""

    sight = "agents.view_host"

    extra = 0
    per_page = MEMBERS_A_PAGE
    autocomplete_fields = ["host"]
    ordering = ["host_id"]


@admin.register(Label)
class LabelAdmin(ModelAdmin):
    """Groups of hosts: by hand, by SQL, or built in."""

    form = LabelForm
    list_display = ["name", "description", "kind", "members", "created_at"]
    search_fields = ["name", "description"]
    inlines = [MembersOfLabel]
    readonly_fields = ["sql_state"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Label]:
        """Count the members along."""
        found: QuerySet[Label] = super().get_queryset(request)
        return found.prefetch_related("queries").annotate(member_count=Count("hosts"))

    def get_form(self, request: HttpRequest, obj: Label | None = None, **kwargs: Any) -> Any:
        """Tell the form who writes."""
        return type("LabelFormOfPerson", (super().get_form(request, obj, **kwargs),), {"by": request.user})

    def has_change_permission(self, request: HttpRequest, obj: Label | None = None) -> bool:
        """Built-in labels are the machine's."""
        return (obj is None or not obj.built_in) and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Label | None = None) -> bool:
        """Built-in labels stay."""
        return (obj is None or not obj.built_in) and bool(super().has_delete_permission(request, obj))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Let the label's SQL go with it, which nobody may delete by itself."""
        shown, counts, needed, protected = super().get_deleted_objects(objs, request)
        return shown, counts, needed - {HousekeepingQuery._meta.verbose_name}, protected

    def delete_model(self, request: HttpRequest, obj: Label) -> None:
        """Delete one, its SQL first."""
        labels.forget(obj, request.user.get_username())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Label]) -> None:
        """Delete several; built-in ones stay."""
        for label in queryset.filter(built_in=""):
            labels.forget(label, request.user.get_username())

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
        labels.set_queries(form.instance, form.cleaned_data["queries"], request.user.get_username())
        chosen = form.cleaned_data.get("add_hosts") or set()
        LabelMembership.objects.bulk_create(
            [LabelMembership(label=form.instance, host_id=pk) for pk in sorted(chosen)], ignore_conflicts=True
        )
        for warning in form.name_warnings:
            messages.warning(request, warning)
