"""The admin of what holds launches: rules by which they wait for a second person, what became of those, and quotas."""

from typing import Any, cast

from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from campaigns.launching import approval_rules, quotas
from campaigns.launching.models import Approval, ApprovalRule, Quota
from fleet.admin import AsksAgain, ModelAdmin, ReadOnlyAdmin
from fleet.errors import BadInputError


class ApprovalRuleForm(ModelForm[ApprovalRule]):
    """A rule, which nobody loosens that is under it."""

    editor: User

    def clean(self) -> dict[str, Any]:
        """Raise ValidationError for who is."""
        given: dict[str, Any] = super().clean() or {}
        if not self.errors:
            wanted = ApprovalRule(pk=self.instance.pk, **{name: given[name] for name in self._meta.fields or ()})
            if objection := _objection_of(wanted, self.editor):
                raise ValidationError(objection)
        return given


BY_TWO = "another superuser has to say yes to this: ask for it in the console, People, Rules of approval"


def _objection_of(wanted: ApprovalRule, by: User, *, lifts: bool = False) -> str:
    try:
        objection = approval_rules.objection_to(wanted, by, lifts=lifts)
        return objection or (BY_TWO if approval_rules.needs_another(wanted, by, lifts=lifts) else "")
    except BadInputError:
        return ""  # hours that are none are told beside their field


@admin.register(ApprovalRule)
class ApprovalRuleAdmin(AsksAgain, ModelAdmin):
    """One rule for each group, and one without a group for everybody."""

    form = ApprovalRuleForm

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Let the form know who fills it in."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.editor = cast(User, request.user)
        return form

    def has_delete_permission(self, request: HttpRequest, obj: ApprovalRule | None = None) -> bool:
        """Ask for the permission, and that the rule does not bind who deletes it."""
        may = bool(super().has_delete_permission(request, obj))
        return may and (obj is None or not _objection_of(obj, cast(User, request.user), lifts=True))

    list_display = ["__str__", "hosts_above", "tables", "hours", "expires_after", "changed_by", "changed_at"]
    list_select_related = ["group"]
    fields = ["group", "hosts_above", "tables", "hours", "expires_after"]
    search_fields = ["group__name"]

    def save_model(self, request: HttpRequest, obj: ApprovalRule, form: Any, change: bool) -> None:
        """Remember who wrote it."""
        approval_rules.keep(obj, cast(User, request.user))

    def delete_model(self, request: HttpRequest, obj: ApprovalRule) -> None:
        """Remember who deleted it."""
        approval_rules.drop(obj, cast(User, request.user))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ApprovalRule]) -> None:
        """Remember it of each."""
        for rule in queryset:
            self.delete_model(request, rule)


@admin.register(Quota)
class QuotaAdmin(AsksAgain, ModelAdmin):
    """How much the members of a group, or one person, may launch and keep."""

    list_display = ["__str__", *Quota.NAMES, "changed_by", "changed_at"]
    list_select_related = ["group", "person"]
    fields = ["group", "person", *Quota.NAMES]
    search_fields = ["group__name", "person__username"]
    autocomplete_fields = ["person"]

    def save_model(self, request: HttpRequest, obj: Quota, form: Any, change: bool) -> None:
        """Remember who wrote it."""
        quotas.keep(obj, cast(User, request.user))

    def delete_model(self, request: HttpRequest, obj: Quota) -> None:
        """Remember who deleted it."""
        quotas.drop(obj, cast(User, request.user))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Quota]) -> None:
        """Remember it of each."""
        for quota in queryset:
            self.delete_model(request, quota)


@admin.register(Approval)
class ApprovalAdmin(ReadOnlyAdmin):
    """What waits, or waited, for a second person: decided on the console's page *Approvals* and by the API."""

    list_display = ["campaign", "state", "why", "asked_at", "expires_at", "decided_by_name", "decided_at", "reason"]
    list_select_related = ["campaign"]
    list_filter = ["state"]
    search_fields = ["=campaign__id", "decided_by_name", "reason"]
