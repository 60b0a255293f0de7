"""The class of every page of the admin."""

import json
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest, ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold import fields
from unfold.admin import ModelAdmin as UnfoldModelAdmin

from fleet import confirming, sight
from fleet.audit import kept, lines_written, note
from fleet.audit.gathering import in_one_line, tell
from fleet.text import visible


def _plain_json(value: Any, encoder: Any) -> SafeString:
    """Give a JSON field that is only read."""
    text = json.dumps(value, sort_keys=True, indent=4, cls=encoder, ensure_ascii=False)
    return format_html('<pre class="whitespace-pre-wrap break-words">{}</pre>', visible(text))


fields.prettify_json = _plain_json  # where Pygments is installed, Unfold writes colours into the page


class AsksAgain(admin.ModelAdmin[Any]):
    """What here is changed, or offered for it, wants its person to have shown lately who he is."""

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """Ask before the form is filled in, so that nothing is lost, and when it is sent."""
        if request.method == "POST" or self.has_change_permission(request) or self.has_add_permission(request):
            confirming.require(request)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        """Ask before what is shown is deleted."""
        confirming.require(request)
        return super().delete_view(request, object_id, extra_context)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Ask before an action is run on what is chosen."""
        if request.method == "POST":
            confirming.require(request)
        return super().changelist_view(request, extra_context)


class ModelAdmin(UnfoldModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Unfold's own, of which everybody sees the rows of hosts in his scope.

    An empty `_to_field` in an address or form is none, which Django takes for a field's name.
    """

    # Leads to the host that a row is of; "" = rows are of no host. None: rows tell of hosts in a way that cannot be
    # narrowed, and who sees some hosts only does not see them.
    host_field: str | None = None

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Give the object, None = there is none."""
        return super().get_object(request, object_id, from_field or None)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave out rows of hosts that this person does not see."""
        found: QuerySet[Any] = super().get_queryset(request)
        if self.host_field is None:
            return found.none() if sight.is_limited(request.user) else found
        return sight.within(found, request.user, self.host_field) if self.host_field else found

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for the permission, and that the rows can be narrowed to what this person sees."""
        permitted = bool(super().has_view_permission(request, obj))
        return permitted and (self.host_field is not None or not sight.is_limited(request.user))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Show the list, with marks for what cannot be seen in texts of hosts and people."""
        return with_marks(super().changelist_view(request, extra_context))

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Save the rows beside the object, and let the audit tell which."""
        super().save_formset(request, form, formset, change)
        done: dict[str, Any] = {
            "added": [str(row) for row in formset.new_objects],
            "changed": [str(row) for row, _ in formset.changed_objects],
            "deleted": [str(row) for row in formset.deleted_objects],
        }
        if any(done.values()) and not kept.is_watched(formset.model):
            subject = f"{form.instance._meta.verbose_name} {form.instance.pk}"
            tell("admin.rows_changed", subject, rows=str(formset.model._meta.verbose_name_plural), **done)

    def _changeform_view(self, request: HttpRequest, object_id: Any, form_url: str, extra_context: Any) -> Any:
        """Show or save the form, which is one act: one line, in the transaction that Django saves it in."""
        with in_one_line():
            return super()._changeform_view(request, object_id, form_url, extra_context)

    def _delete_view(self, request: HttpRequest, object_id: str, extra_context: Any) -> Any:
        """Ask, or delete what is meant and what goes with it."""
        with in_one_line():
            return super()._delete_view(request, object_id, extra_context)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete what was chosen: of what the audit watches each with its own line, whatever goes with it."""
        if not kept.is_watched(self.model):
            super().delete_queryset(request, queryset)
            return
        with transaction.atomic():
            for row in queryset:
                with in_one_line():
                    self.delete_model(request, row)

    def response_action(self, request: HttpRequest, queryset: Any) -> Any:
        """Do what was chosen from the list of actions. What tells the audit nothing by itself is told here.

        A page in answer is a question: nothing was done yet.
        """
        self._check_numbers(request.POST.getlist(ACTION_CHECKBOX_NAME))
        before = lines_written()
        response = super().response_action(request, queryset)
        is_done = not isinstance(response, TemplateResponse) and lines_written() == before
        if is_done and (action := request.POST.get("action", "")):
            chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
            rows = "all" if request.POST.get("select_across") == "1" else chosen[:1_000]
            note("admin.action", subject=str(self.opts.verbose_name_plural), chosen=action[:100], rows=rows)
        return response

    def _check_numbers(self, chosen: list[str]) -> None:
        """Raise BadRequest for what is no number of a row, which Django looks for without a look at it."""
        for number in chosen:
            try:
                self.opts.pk.to_python(number)
            except ValidationError as error:
                raise BadRequest(f"{number[:100]!r} is no number of {self.opts.verbose_name_plural}") from error


class ReadOnlyAdmin(ModelAdmin):
    """Rows that the machine writes: to be looked at, never touched."""

    actions: list[str] | None = None
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes."""
        return False

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """Show the row, with marks for what cannot be seen."""
        return with_marks(super().changeform_view(request, object_id, form_url, extra_context))


def with_marks(page: HttpResponseBase) -> HttpResponseBase:
    """Let a page without fields to fill in, where marks would be kept, show what cannot be seen as marks."""
    if isinstance(page, TemplateResponse):
        page.add_post_render_callback(_mark)
    return page


def _mark(page: TemplateResponse) -> None:
    page.content = visible(page.content.decode()).encode()
