"""The admin of what the server asks hosts about themselves."""

from django.contrib import admin

from agents.inventory.models import LabelSqlRecord
from agents.models import (
    HousekeepingQuery,
    Presence,
    TableSchema,
)
from fleet.admin import ReadOnlyAdmin


@admin.register(Presence)
class PresenceAdmin(ReadOnlyAdmin):
    """When each host last asked."""

    host_field = "host_id"

    list_display = ["host", "last_seen"]
    list_select_related = ["host"]
    search_fields = ["host__hostname"]
    ordering = ["-last_seen"]


@admin.register(HousekeepingQuery)
class HousekeepingQueryAdmin(ReadOnlyAdmin):
    """What hosts are asked on the server's own behalf, and what they complained about last."""

    list_display = ["__str__", "kind", "platform", "changed_at", "last_error"]
    list_filter = ["kind", "platform"]
    list_select_related = ["label"]


@admin.register(LabelSqlRecord)
class LabelSqlRecordAdmin(ReadOnlyAdmin):
    """Who wrote which SQL of labels, and what stopped it."""

    list_display = ["label", "platform", "action", "by", "at", "reason"]
    list_filter = ["action", "platform"]
    search_fields = ["label", "by", "sql"]


@admin.register(TableSchema)
class TableSchemaAdmin(ReadOnlyAdmin):
    """The tables of each kind of osquery, as hosts told of them."""

    host_field = ""

    list_display = ["platform", "osquery_version", "extensions", "learned_at", "asked_at"]
    list_filter = ["platform"]
    search_fields = ["osquery_version", "extensions"]
