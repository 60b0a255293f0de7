"""The admin of hosts: facts that hosts told are read-only; people give labels, clear marks and revoke."""

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from agents.admin.memberships import MembershipInline
from agents.board.keyspace import NoBoardError
from agents.enrolling.revocation import revoke, trust
from agents.inventory import housekeeping, labels
from agents.models import (
    Host,
    Presence,
)
from fleet.admin import ModelAdmin
from fleet.counting import counted


class OnlineFilter(admin.SimpleListFilter):
    """Hosts that asked within ONLINE_SECONDS."""

    title = "online"
    parameter_name = "online"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer hosts that are online, and those that are not."""
        return [("yes", "online"), ("no", "offline")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Host]) -> QuerySet[Host]:
        """Narrow by presence."""
        online = Presence.objects.online(timezone.now()).values("host_id")
        if self.value() == "yes":
            return queryset.filter(pk__in=online)
        if self.value() == "no":
            return queryset.exclude(pk__in=online)
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


class LabelsOfHost(MembershipInline):
    """The labels of one host."""

    needed = "agents.view_label"
    extra = 0
    autocomplete_fields = ["label"]

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave out, to who may change memberships, those on which scopes rest and that are not his to change."""
        found = super().get_queryset(request)
        if not request.user.has_perm(labels.CHANGE):
            return found
        return found.filter(label__in=labels.changeable_by(cast(User, request.user)))


@admin.register(Host)
class HostAdmin(ModelAdmin):
    """Hosts: facts to read, labels to give, and Revoke."""

    host_field = "pk"

    list_display = [
        "hostname",
        "online",
        "last_seen_at",
        "platform",
        "os_version",
        "osquery_version",
        "address",
        "in_doubt",
    ]
    list_filter = [RevokedFilter, OnlineFilter, "platform", ("in_doubt_since", admin.EmptyFieldListFilter), "labels"]
    search_fields = ["hostname", "uuid", "hardware_serial", "host_identifier"]
    list_select_related = ["presence"]
    show_full_result_count = False
    inlines = [LabelsOfHost]
    actions = ["revoke_hosts", "clear_doubts", "learn_again"]
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

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **more: Any) -> Any:
        """Offer to save where there is something to: the facts are the host's own, its labels alone are changed."""
        may_save = request.user.has_perm("agents.change_label")
        offered = {"show_save": may_save, "show_save_and_continue": may_save}
        return super().render_change_form(request, {**context, **offered}, *args, **more)

    @admin.display(boolean=True)
    def online(self, host: Host) -> bool:
        """Say whether it asked lately."""
        return host.is_online(timezone.now())

    @admin.display(description="last seen", ordering="presence__last_seen")
    def last_seen_at(self, host: Host) -> Any:
        """Give when it last asked."""
        return host.last_seen

    @admin.display(boolean=True, description="in doubt", ordering="in_doubt_since")
    def in_doubt(self, host: Host) -> bool:
        """Say whether a second machine uses its key."""
        return host.in_doubt_since is not None

    @admin.action(description="Clear the mark: identity in doubt", permissions=["change"])
    def clear_doubts(self, request: HttpRequest, hosts: QuerySet[Host]) -> None:
        """Trust the chosen hosts again, until a second machine is noticed again."""
        for host in hosts.exclude(in_doubt_since=None):
            self.log_change(request, host, f"cleared the mark: {host.in_doubt_reason}")
        number = trust(Host.objects.filter(pk__in=hosts.values("pk")))
        messages.success(request, f"Cleared the mark of {counted(number, 'host')}.")

    @admin.action(description="Learn tables again", permissions=["change"])
    def learn_again(self, request: HttpRequest, hosts: QuerySet[Host]) -> None:
        """Ask the chosen hosts for their facts, and one of each kind among them for its tables."""
        try:
            asked = housekeeping.learn_again(Host.objects.enrolled().filter(pk__in=hosts.values("pk")))
        except NoBoardError:
            messages.error(request, "The board is being rebuilt: try again in a moment.")
            return
        messages.success(request, f"At their next reads {asked} of them, one of each kind, tell their tables.")

    @admin.action(description="Revoke: refuse their keys at once", permissions=["change"])
    def revoke_hosts(self, request: HttpRequest, hosts: QuerySet[Host]) -> None:
        """Send the chosen hosts away."""
        names = [revoke(host).hostname for host in hosts]
        shown = ", ".join(names[:10]) + (" …" if len(names) > 10 else "")
        messages.success(
            request, f"Revoked {counted(len(names), 'host')}: {shown}. Gateways refuse them within a second."
        )
