"""The admin of hooks: who is told what where, and what became of each message. They are kept in the console and API."""

from django.contrib import admin

from campaigns.hooks.models import Delivery, Hook
from fleet.admin import ReadOnlyAdmin


@admin.register(Hook)
class HookAdmin(ReadOnlyAdmin):
    """Hooks, without their secrets."""

    list_display = ["name", "owner", "kind", "address_shown", "only_mine", "stopped_at", "stopped_reason"]
    list_select_related = ["owner"]
    list_filter = ["kind", ("stopped_at", admin.EmptyFieldListFilter)]
    search_fields = ["name", "owner__username"]
    fields = ["name", "owner", "kind", "address_shown", "events", "only_mine", "created_at", "rotated_at"]
    readonly_fields = [*fields, "stopped_at", "stopped_reason"]


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """What was sent to hooks, or is to be."""

    list_display = ["kind", "hook", "campaign_id", "state", "tries", "status", "tried_at", "error"]
    list_select_related = ["hook"]
    list_filter = ["state", "kind"]
    search_fields = ["=campaign_id", "=message_id", "error"]
