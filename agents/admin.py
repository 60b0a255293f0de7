"""The admin of hosts: facts that hosts told are read-only; people keep labels and enroll secrets, and revoke."""

import re
import secrets
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin, TabularInline
from unfold.widgets import UnfoldAdminTextareaWidget

from agents.models import EnrollSecret, Host, Label, LabelMembership, Presence, online_since
from agents.revocation import revoke

MEMBERS_A_PAGE = 25
_BETWEEN_HOSTS = re.compile(r"[\n\r\t,;]+")


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
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


class OnlineFilter(admin.SimpleListFilter):
    """Hosts that asked within ONLINE_SECONDS."""

    title = "online"
    parameter_name = "online"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer both."""
        return [("yes", "online"), ("no", "offline")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Host]) -> QuerySet[Host]:
        """Narrow by presence."""
        since = online_since(timezone.now())
        if self.value() == "yes":
            return queryset.filter(presence__last_seen__gte=since)
        if self.value() == "no":
            return queryset.filter(Q(presence=None) | Q(presence__last_seen__lt=since))
        return queryset


class RevokedFilter(admin.SimpleListFilter):
    """Revoked hosts are hidden until they are asked for."""

    title = "enrolled"
    parameter_name = "enrolled"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the revoked ones, and all."""
        return [("no", "revoked"), ("all", "all")]

    def choices(self, changelist: Any) -> Any:
        """Name the default for what it is."""
        choices = list(super().choices(changelist))
        return [{**choices[0], "display": "enrolled"}, *choices[1:]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Host]) -> QuerySet[Host]:
        """Narrow to enrolled hosts unless asked otherwise."""
        if self.value() == "all":
            return queryset
        return queryset.filter(revoked_at__isnull=self.value() != "no")


class LabelsOfHost(TabularInline):  # type: ignore[misc]  # unfold has no types
    """The labels of one host."""

    model = LabelMembership
    extra = 0
    autocomplete_fields = ["label"]


@admin.register(Host)
class HostAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Hosts: facts to read, labels to give, and Revoke."""

    list_display = ["hostname", "online", "last_seen_at", "platform", "os_version", "osquery_version", "address", "pk"]
    list_filter = [RevokedFilter, OnlineFilter, "platform", "labels"]
    search_fields = ["hostname", "uuid", "hardware_serial", "host_identifier"]
    list_select_related = ["presence"]
    show_full_result_count = False
    inlines = [LabelsOfHost]
    actions = ["revoke_hosts"]
    readonly_fields = [
        *(field.name for field in Host._meta.concrete_fields if field.name != "id"),
        "last_seen_at",
    ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Hosts enroll themselves."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Hosts are revoked, never deleted."""
        return False

    @admin.display(boolean=True)
    def online(self, host: Host) -> bool:
        """Say whether it asked lately."""
        return host.is_online(timezone.now())

    @admin.display(description="last seen", ordering="presence__last_seen")
    def last_seen_at(self, host: Host) -> Any:
        """Give when it last asked."""
        return host.last_seen

    @admin.action(description="Revoke: refuse their keys at once", permissions=["change"])
    def revoke_hosts(self, request: HttpRequest, hosts: QuerySet[Host]) -> None:
        """Send the chosen hosts away."""
        names = [revoke(host).hostname for host in hosts]
        shown = ", ".join(names[:10]) + (" …" if len(names) > 10 else "")
        messages.success(request, f"Revoked {len(names)} hosts: {shown}. Gateways refuse them within a second.")


class LabelForm(forms.ModelForm[Label]):
    """A label, and hosts to put into it by name: hundreds are pasted, not picked."""

    add_hosts = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 4}),
        help_text="Hostnames, UUIDs, serials or host identifiers, one a line or with commas between. #42 is an id.",
    )

    class Meta:
        model = Label
        fields = ["name", "description"]

    def clean_add_hosts(self) -> set[int]:
        """Find the hosts. Refuse names that nobody bears."""
        words = {word.strip() for word in _BETWEEN_HOSTS.split(self.cleaned_data["add_hosts"])} - {""}
        found: set[int] = set()
        known: set[str] = set()
        ids = [int(word[1:]) for word in words if re.fullmatch(r"#\d{1,18}", word)]
        names = ["hostname", "uuid", "hardware_serial", "host_identifier"]
        named = Q(pk__in=ids)
        for name in names:
            named |= Q(**{f"{name}__in": words})
        for pk, *borne in Host.objects.enrolled().filter(named).values_list("pk", *names):
            found.add(pk)
            known |= {f"#{pk}", *borne}
        if missing := sorted(words - known):
            raise forms.ValidationError(f"unknown host: {', '.join(repr(word) for word in missing[:10])}")
        return found


class MembersOfLabel(TabularInline):  # type: ignore[misc]  # unfold has no types
    """The hosts of one label, in pages."""

    model = LabelMembership
    extra = 0
    per_page = MEMBERS_A_PAGE
    autocomplete_fields = ["host"]
    ordering = ["host_id"]


@admin.register(Label)
class LabelAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Groups of hosts, by hand."""

    form = LabelForm
    list_display = ["name", "description", "members", "created_at"]
    search_fields = ["name", "description"]
    inlines = [MembersOfLabel]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Label]:
        """Count the members along."""
        labels: QuerySet[Label] = super().get_queryset(request)
        return labels.annotate(member_count=Count("hosts"))

    @admin.display(description="hosts", ordering="member_count")
    def members(self, label: Any) -> int:
        """Give how many hosts are in it."""
        return int(label.member_count)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Put the pasted hosts in; those that are in it already stay."""
        super().save_related(request, form, formsets, change)
        chosen = form.cleaned_data.get("add_hosts") or set()
        LabelMembership.objects.bulk_create(
            [LabelMembership(label=form.instance, host_id=pk) for pk in sorted(chosen)], ignore_conflicts=True
        )


@admin.register(EnrollSecret)
class EnrollSecretAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """What hosts offer to enroll. The secret itself is shown once, when it is made."""

    list_display = ["name", "created_at", "revoked_at"]
    search_fields = ["name"]
    fields = ["name", "revoked_at"]
    readonly_fields = ["revoked_at"]
    actions = ["revoke_secrets"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Secrets are revoked: hosts remember which one they came with."""
        return False

    def save_model(self, request: HttpRequest, obj: EnrollSecret, form: Any, change: bool) -> None:
        """Make the secret of a new one, and tell it this once."""
        if change:
            super().save_model(request, obj, form, change)
            return
        secret = secrets.token_urlsafe(32)
        obj.pk = EnrollSecret.objects.offer(obj.name, secret).pk
        messages.warning(request, f"The secret is {secret} and is not shown again. Copy it now.")

    @admin.action(description="Revoke: nobody enrolls with them any more", permissions=["change"])
    def revoke_secrets(self, request: HttpRequest, chosen: QuerySet[EnrollSecret]) -> None:
        """Make the chosen ones invalid; hosts that enrolled with them stay."""
        number = chosen.filter(revoked_at=None).update(revoked_at=timezone.now())
        messages.success(request, f"Revoked {number} enroll secrets. Hosts that enrolled with them stay.")


@admin.register(Presence)
class PresenceAdmin(ReadOnlyAdmin):
    """When each host last asked."""

    list_display = ["host", "last_seen"]
    list_select_related = ["host"]
    search_fields = ["host__hostname"]
    ordering = ["-last_seen"]
