"""The audit app."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Who did what: lines that are only ever added."""

    name = "fleet.audit"
    label = "audit"
    verbose_name = "Audit"

    def ready(self) -> None:
        """Note what is done with people and their rights."""
        from django.contrib.auth.models import Group, User

        from fleet.audit.kept import watch

        fields = ("username", "first_name", "last_name", "email", "is_active", "is_staff", "is_superuser", "password")
        watch(User, "person", fields, ("groups", "user_permissions"), hidden=("password",))
        watch(Group, "group", ("name",), ("permissions",))
