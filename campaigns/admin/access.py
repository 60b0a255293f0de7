"""The admin of people, their groups and tokens: nobody gives, through it, more than he has."""

from typing import Any, cast

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from unfold.admin import StackedInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from campaigns.launching.models import ApprovalRule
from campaigns.people import giving, scopes
from campaigns.people.giving import check_may_change_teams, groups_within, may_touch, own
from campaigns.people.roles import ROLES
from campaigns.people.scopes import Scope
from campaigns.tokens import ApiToken
from fleet import confirming
from fleet.admin import AsksAgain, ModelAdmin, ReadOnlyAdmin
from fleet.counting import counted
from fleet.errors import ForbiddenError

NO_PASSWORDS = (
    "This server takes no passwords (LOCAL_PASSWORDS is false): what is set here opens nothing until it does."
)

admin.site.unregister([User, Group])  # Django registered its own
# django-allauth's: sessions and second factors have their pages in the console, the provider is set by the environment.
admin.site.unregister([Authenticator, EmailAddress, SocialAccount, SocialApp, SocialToken, UserSession])


class _NobodyAbove(AsksAgain):
    """People and groups that have more than the editor can be looked at, and no more."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for the permission, and that nothing of the row is beyond the editor."""
        return super().has_change_permission(request, obj) and _is_below(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Ask for the permission, of who is not limited to some hosts: another person could be given more."""
        return super().has_add_permission(request) and not scopes.is_limited(cast(User, request.user))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask the same of who deletes."""
        return super().has_delete_permission(request, obj) and _is_below(request, obj)


def _is_below(request: HttpRequest, obj: Any) -> bool:
    editor = cast(User, request.user)
    return not scopes.is_limited(editor) if obj is None else may_touch(editor, obj)


# --- pages -----------------------------------------------------------------------------------------------------


@admin.register(ApiToken)
class ApiTokenAdmin(AsksAgain, ReadOnlyAdmin):
    """Tokens of the API: made there, looked at and deleted here."""

    host_field = ""
    list_display = [
        "name",
        "user",
        "token_key",
        "access",
        "role",
        "tools_may_launch",
        "created",
        "expiry",
        "last_used_at",
        "last_used_from",
    ]
    list_select_related = ["user"]
    search_fields = ["name", "user__username", "token_key"]
    exclude = ["digest"]
    actions = ["delete_selected"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Deleting a token is how it is taken away."""
        return bool(request.user.has_perm("campaigns.delete_apitoken"))


class PersonForm(UserChangeForm):  # type: ignore[misc]  # unfold has no types
    """A person, as the editor may change him."""

    editor: User

    def clean_groups(self) -> "QuerySet[Group]":
        """Give the groups. Raise ValidationError when teams are among what changes, and the editor changes none."""
        wanted: QuerySet[Group] = self.cleaned_data["groups"]
        try:
            check_may_change_teams(_teams(Group.objects.filter(user=self.instance.pk)), _teams(wanted), self.editor)
        except ForbiddenError as error:
            raise ValidationError(f"{error.sentence}.") from error
        return wanted


def _teams(groups: "QuerySet[Group]") -> frozenset[int]:
    return frozenset(groups.filter(scope__isnull=False).values_list("pk", flat=True))


@admin.register(User)
class UserAdmin(_NobodyAbove, DjangoUserAdmin[User], ModelAdmin):
    """People. Only a superuser makes superusers and gives permissions; others put people into groups within theirs."""

    host_field = ""
    form = PersonForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm

    actions = ["remove_second_factors"]

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:
        """Ask who gives somebody another password, and say where it opens nothing."""
        confirming.require(request)
        self._say_what_opens(request)
        return super().user_change_password(request, id, form_url)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> Any:
        """Let somebody be made, with a password or none, and say where it opens nothing."""
        self._say_what_opens(request)
        return super().add_view(request, form_url, extra_context)

    def _say_what_opens(self, request: HttpRequest) -> None:
        if request.method == "GET" and not settings.LOCAL_PASSWORDS:
            self.message_user(request, NO_PASSWORDS, messages.WARNING)

    @admin.action(description="Remove the second factors of the chosen people", permissions=["change"])
    def remove_second_factors(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        """Let people in without them who lost their telephone; nobody above the editor."""
        for person in chosen:
            try:
                taken = giving.take_second_factors(person, cast(User, request.user))
            except ForbiddenError as error:
                self.message_user(request, f"{error.sentence}.", messages.ERROR)
            else:
                self.message_user(request, giving.said_of_taking(person, taken))

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Add what only superusers set, and one's own groups: a field that is shown as text takes nothing from a body.

        Whoever left a group would be free of its scope and of its rule of approval.
        """
        more: tuple[str, ...] = () if cast(User, request.user).is_superuser else ("is_superuser", "user_permissions")
        more += ("groups",) if obj is not None and obj.pk == request.user.pk else ()
        return (*super().get_readonly_fields(request, obj), *more)

    def get_form(self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any) -> Any:
        """Offer the groups the editor may give."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.editor = editor = cast(User, request.user)
        if "groups" in form.base_fields and not editor.is_superuser:
            form.base_fields["groups"].queryset = groups_within(editor)
        return form


class GroupForm(ModelForm[Group]):
    """A group, as its editor may make it."""

    editor: User

    def clean_name(self) -> str:
        """Give the name. Raise ValidationError for one that carries a quota which the editor does not have."""
        name: str = self.cleaned_data["name"]
        quota = settings.TARGETS_PER_CAMPAIGN_BY_GROUP.get(name)
        if quota is None or name == self.instance.name or self.editor.is_superuser:
            return name
        raise ValidationError(
            f"a group named {name!r} has a quota of {counted(quota, 'host')}: only a superuser makes it"
        )


class ScopeInline(StackedInline):  # type: ignore[misc]  # unfold has no types
    """Which hosts the members of the group see; without one its members see all, unless another group limits them."""

    model = Scope
    filter_horizontal = ["labels"]

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        """Ask for the permission, and that nobody would see every host then."""
        return bool(super().has_delete_permission(request, obj)) and not (obj is not None and _limits_somebody(obj))


def _limits_somebody(group: Group) -> bool:
    """Say whether it has members, who would see every host without it unless another team limits them."""
    return Scope.objects.filter(group=group).exists() and group.user_set.exists()


@admin.register(Group)
class GroupAdmin(_NobodyAbove, DjangoGroupAdmin, ModelAdmin):
    """Groups of people, with permissions and a scope. Who is no superuser gives permissions that he has."""

    host_field = ""
    form = GroupForm

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for the permission, and that it is no role, and neither a limit nor a rule of approval would go along."""
        stays = obj is not None and (
            obj.name in ROLES or _limits_somebody(obj) or ApprovalRule.objects.filter(group=obj).exists()
        )
        return super().has_delete_permission(request, obj) and not stays

    def get_readonly_fields(self, request: HttpRequest, obj: Group | None = None) -> Any:
        """Leave a role its name, and what it may: that is written from the table of roles."""
        more = ("name", "permissions") if obj is not None and obj.name in ROLES else ()
        return (*super().get_readonly_fields(request, obj), *more)

    inlines = [ScopeInline]

    def get_form(self, request: HttpRequest, obj: Group | None = None, change: bool = False, **kwargs: Any) -> Any:
        """Offer the permissions the editor has."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.editor = editor = cast(User, request.user)
        if "permissions" in form.base_fields and not editor.is_superuser:
            form.base_fields["permissions"].queryset = own(editor).select_related("content_type")
        return form
