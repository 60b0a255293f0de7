"""Which hosts are in which labels, as part of either's page: one rule for both directions, that of the API."""

from typing import Any, cast

from django.contrib.auth.models import User
from django.http import HttpRequest
from unfold.admin import TabularInline

from agents.inventory import labels
from agents.models import Host, LabelMembership
from fleet import sight


class MembershipInline(TabularInline):  # type: ignore[misc]  # unfold has no types
    """Memberships beside a host or a label. Whoever may change labels puts hosts in and takes them out."""

    model = LabelMembership
    needed = ""  # the permission to look at what stands on the other side

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave out hosts that this person does not see."""
        return sight.within(super().get_queryset(request), request.user)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Take the hosts that this person sees, and the labels that he may change."""
        chosen: Any = labels.changeable_by(cast(User, request.user))
        if db_field.name == "host":
            chosen = sight.within(Host.objects.all(), request.user, "pk")
        return super().formfield_for_foreignkey(db_field, request, **{**kwargs, "queryset": chosen})

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for the permission to look at what stands on the other side."""
        return bool(request.user.has_perm(self.needed))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for the permission to change labels."""
        return self.has_view_permission(request, obj) and bool(request.user.has_perm("agents.change_label"))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for what adding a membership asks for."""
        return self.has_add_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for what adding a membership asks for."""
        return self.has_add_permission(request, obj)
