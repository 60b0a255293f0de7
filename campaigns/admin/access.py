"""The admin of people, their groups and tokens."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from agents.admin.read_only import ReadOnlyAdmin
from campaigns.api.models import ApiToken

admin.site.unregister([User, Group])  # Django registered its own


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


@admin.register(User)
class UserAdmin(DjangoUserAdmin[User], ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """People."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Groups of people, with permissions."""
