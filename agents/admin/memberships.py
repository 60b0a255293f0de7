"""Which hosts are in which labels, as part of either's page: one rule for both directions, that of the API."""

from typing import Any

from django.http import HttpRequest
from unfold.admin import TabularInline

from agents.models import LabelMembership


class MembershipInline(TabularInline):  # type: ignore[misc]  # unfold has no types
    """Memberships beside a host or a label. Whoever may change labels puts hosts in and takes them out."""

    model = LabelMembership
    sight = ""  # the permission to look at what stands on the other side

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for the permission to look at what stands on the other side."""
        return bool(request.user.has_perm(self.sight))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for the permission to change labels."""
        return self.has_view_permission(request, obj) and bool(request.user.has_perm("agents.change_label"))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for the same."""
        return self.has_add_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for the same."""
        return self.has_add_permission(request, obj)
