"""The campaigns app."""

from importlib import import_module

from django.apps import AppConfig


class CampaignsConfig(AppConfig):
    """Campaigns, their targets and results, the API and the console."""

    name = "campaigns"
    verbose_name = "Campaigns"

    def import_models(self) -> None:
        """Load the models that lie in the room they belong to as well."""
        super().import_models()
        for room in ("answers", "collecting", "launching"):
            import_module(f"campaigns.{room}.models")
        import_module("campaigns.tokens")
