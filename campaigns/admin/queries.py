"""The admin of saved queries."""

from typing import Any, cast

from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminTextareaWidget

from campaigns.console.forms import QueryForm
from campaigns.models import Query
from campaigns.recurring import keeping
from fleet.admin import ModelAdmin


@admin.register(Query)
class QueryAdmin(ModelAdmin):
    """Saved SQL."""

    host_field = ""
    form = QueryForm
    list_display = ["name", "description", "ask", "created_by", "updated_at"]
    list_select_related = ["created_by"]
    search_fields = ["name", "sql", "description"]
    fields = ["name", "sql", "description", "observer_can_run"]

    @admin.display(description="")
    def ask(self, query: Query) -> str:
        """Link to the Ask page with this SQL."""
        return format_html('<a href="{}?query={}">Ask</a>', reverse("ask"), query.pk)

    def get_form(self, request: HttpRequest, obj: Query | None = None, **kwargs: Any) -> Any:
        """Tell the form who writes, and dress it in the admin's clothes."""
        dressed = {"description": UnfoldAdminTextareaWidget({"rows": 2})}
        form = super().get_form(request, obj, widgets=dressed, **kwargs)
        return type("QueryFormOfPerson", (form,), {"by": request.user})

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], Any]:
        """Name what goes with queries: views and schedules; those of others hold them."""
        found, counts, _, protected = super().get_deleted_objects(objs, request)
        held = [said for query in objs if (said := keeping.objection_to_drop(query, cast(User, request.user)))]
        return found, counts, set(), [*protected, *held]

    def delete_model(self, request: HttpRequest, obj: Query) -> None:
        """Delete it with its schedules, each with its line in the audit."""
        keeping.drop_query(obj, cast(User, request.user))

    def save_model(self, request: HttpRequest, obj: Query, form: Any, change: bool) -> None:
        """Remember who wrote it."""
        if not change and isinstance(request.user, User):
            obj.created_by = request.user
        super().save_model(request, obj, form, change)
