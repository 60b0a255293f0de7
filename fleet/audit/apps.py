"""The audit app."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Who did what: lines that are only ever added."""

    name = "fleet.audit"
    label = "audit"
    verbose_name = "Audit"
