"""The admin of saved queries."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from agents.inventory import kept_sql
from campaigns.models import Query
from fleet.admin import ModelAdmin
from fleet.errors import FleetError


class QueryForm(forms.ModelForm[Query]):
    """Saved SQL, checked as a launch would."""

    by: User

    class Meta:
        model = Query
        fields = ["name", "sql", "description"]

    def clean_sql(self) -> str:
        """Refuse what a launch would refuse, beside the field."""
        try:
            return kept_sql.check(self.cleaned_data["sql"], self.by, "sql")
        except FleetError as error:
            raise forms.ValidationError(error.sentence) from error


@admin.register(Query)
class QueryAdmin(ModelAdmin):
    """Saved SQL."""

    form = QueryForm
    list_display = ["name", "description", "ask", "created_by", "updated_at"]
    list_select_related = ["created_by"]
    search_fields = ["name", "sql", "description"]
    fields = ["name", "sql", "description"]

    @admin.display(description="")
    def ask(self, query: Query) -> str:
        """Link to the Ask page with this SQL."""
        return format_html('<a href="{}?query={}">Ask</a>', reverse("ask"), query.pk)

    def get_form(self, request: HttpRequest, obj: Query | None = None, **kwargs: Any) -> Any:
        """Tell the form who writes."""
        return type("QueryFormOfPerson", (super().get_form(request, obj, **kwargs),), {"by": request.user})

    def save_model(self, request: HttpRequest, obj: Query, form: Any, change: bool) -> None:
        """Remember who wrote it."""
        if not change and isinstance(request.user, User):
            obj.created_by = request.user
        super().save_model(request, obj, form, change)
