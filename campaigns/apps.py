"""The campaigns app."""

from django.apps import AppConfig


class CampaignsConfig(AppConfig):
    """Campaigns, their targets and results, the API and the console."""

    name = "campaigns"
    verbose_name = "Campaigns"
