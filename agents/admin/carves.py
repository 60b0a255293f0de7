"""The admin of carves."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html

from agents.carving import carves
from agents.carving.models import Carve, CarveState
from fleet.admin import ReadOnlyAdmin
from fleet.counting import plural


@admin.register(Carve)
class CarveAdmin(ReadOnlyAdmin):
    """What hosts carved; those that no answer named (yet) stand here alone."""

    host_field = "host_id"

    list_display = ["carve_id", "host", "campaign_id", "path", "how_far", "size", "digest", "announced_at", "download"]
    list_select_related = ["host"]
    search_fields = ["=carve_id", "=campaign_id", "host__hostname"]
    search_help_text = "A carve's guid, a campaign's number, or a part of a hostname"
    list_filter = [("completed_at", admin.EmptyFieldListFilter), ("campaign_id", admin.EmptyFieldListFilter)]
    exclude = ["session_id"]
    readonly_fields = ["how_far", "digest"]
    actions = ["purge_carves"]

    @admin.display(description="state")
    def how_far(self, carve: Carve) -> str:
        """Give the state, and how many blocks are here while some are missing."""
        if carve.block_count is None or carve.received_blocks == carve.block_count:
            return carve.state.label
        blocks = f"{carve.block_count:,} {plural(carve.block_count, 'block')}"
        return f"{carve.state.label}, {carve.received_blocks:,} of {blocks}"

    @admin.display(ordering="carve_size")
    def size(self, carve: Carve) -> str:
        """Give its size, as announced."""
        return "" if carve.carve_size is None else filesizeformat(carve.carve_size)

    @admin.display(description="integrity")
    def digest(self, carve: Carve) -> str:
        """Say what the host's digest says of the bytes that are here."""
        return carve.verdict

    @admin.display(description="")
    def download(self, carve: Carve) -> str:
        """Link to the bytes."""
        address = reverse("carve-file", args=[carve.pk])
        return format_html('<a href="{}">Download</a>', address) if carve.state == CarveState.COMPLETE else ""

    @admin.action(description="Delete with their files", permissions=["purge"])
    def purge_carves(self, request: HttpRequest, chosen: QuerySet[Carve]) -> None:
        """Delete the chosen ones."""
        for carve in chosen:
            carves.purge(carve)
        messages.success(request, "The chosen carves are deleted, with their files.")

    def has_purge_permission(self, request: HttpRequest) -> bool:
        """Deleting takes Django's permission to."""
        return bool(request.user.has_perm("agents.delete_carve"))
