"""The agents app."""

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    """Hosts, labels, enroll secrets and the osquery endpoints."""

    name = "agents"
    verbose_name = "Hosts"
