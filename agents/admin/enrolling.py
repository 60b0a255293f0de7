"""The admin of what machines need to come: enroll secrets, and the config that agents are served."""

import json
import secrets
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest

from agents.enrolling import config_document
from agents.inventory import labels
from agents.models import (
    ConfigDocument,
    EnrollSecret,
    Host,
    digest_of,
)
from fleet import sight
from fleet.admin import AsksAgain, ModelAdmin
from fleet.audit import note
from fleet.errors import BadInputError


@admin.register(EnrollSecret)
class EnrollSecretAdmin(AsksAgain, ModelAdmin):
    """What hosts offer to enroll. The secret itself is shown once, when it is made."""

    host_field = ""

    list_display = ["name", "hosts", "quota", "valid_from", "valid_until", "created_at", "revoked_at"]
    search_fields = ["name"]
    fields = ["name", "valid_from", "valid_until", "quota", "labels", "revoked_at"]
    filter_horizontal = ["labels"]
    readonly_fields = ["revoked_at"]
    actions = ["revoke_secrets"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Secrets are revoked: hosts remember which one they came with."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: EnrollSecret | None = None) -> list[str]:
        """Let those choose labels who may change them: hosts that enroll with the secret are put in."""
        return [*self.readonly_fields, *([] if request.user.has_perm(labels.CHANGE) else ["labels"])]

    def save_model(self, request: HttpRequest, obj: EnrollSecret, form: Any, change: bool) -> None:
        """Make the secret of a new one, and tell it this once."""
        if change:
            super().save_model(request, obj, form, change)
            return
        secret = secrets.token_urlsafe(32)
        obj.digest = digest_of(secret)
        super().save_model(request, obj, form, change)
        note("enroll_secret.shown", subject=f"enroll_secret {obj.pk}", name=obj.name)
        messages.warning(request, f"The secret is {secret} and is not shown again. Copy it now.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[EnrollSecret]:
        """Count the hosts along."""
        found: QuerySet[EnrollSecret] = super().get_queryset(request)
        visible = sight.within(Host.objects.all(), request.user, "pk")
        seen = Q(host__in=visible) if sight.is_limited(request.user) else None
        return found.annotate(host_count=Count("host", filter=seen))

    @admin.display(description="hosts", ordering="host_count")
    def hosts(self, secret: Any) -> int:
        """Give how many enrolled with it."""
        return int(secret.host_count)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer the labels that are kept by hand."""
        return super().formfield_for_manytomany(db_field, request, queryset=labels.by_hand_for(request.user), **kwargs)

    @admin.action(description="Revoke: nobody enrolls with them any more", permissions=["change"])
    def revoke_secrets(self, request: HttpRequest, chosen: QuerySet[EnrollSecret]) -> None:
        """Make the chosen ones invalid; hosts that enrolled with them stay."""
        number = sum(secret.revoke() for secret in chosen)
        messages.success(request, f"Revoked {number} enroll secrets. Hosts that enrolled with them stay.")


class _PatientDecoder(json.JSONDecoder):
    """Reads JSON; for what is nested or numbered beyond Python's limits it raises as for what is none."""

    def decode(self, s: str, *args: Any, **more: Any) -> Any:
        """Give the value. Raise JSONDecodeError."""
        try:
            return super().decode(s, *args, **more)
        except json.JSONDecodeError:
            raise
        except (RecursionError, ValueError) as error:
            raise json.JSONDecodeError(str(error), s, 0) from None


class _ConfigField(forms.JSONField):
    """JSON that is shown again as it was typed: what was refused may have no text at all."""

    default_error_messages = {"invalid": "This is no JSON, or is nested or has numbers beyond what can be read."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "decoder": _PatientDecoder})

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Give what was typed."""
        return InvalidJSONInput("" if data is None else data)


class ConfigDocumentForm(forms.ModelForm[ConfigDocument]):
    """The document, checked as agents will."""

    class Meta:
        model = ConfigDocument
        fields = ["document"]
        field_classes = {"document": _ConfigField}

    def clean_document(self) -> Any:
        """Refuse what agents would refuse."""
        document = self.cleaned_data["document"]
        try:
            config_document.check(document)
        except BadInputError as error:
            raise forms.ValidationError(error.sentence) from error
        return document


@admin.register(ConfigDocument)
class ConfigDocumentAdmin(ModelAdmin):
    """The config that agents are served: options, schedule, packs, decorators … as one JSON object."""

    host_field = ""
    form = ConfigDocumentForm
    list_display = ["__str__", "changed_by", "changed_at"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow the first one only."""
        may = bool(super().has_add_permission(request)) and not config_document.objection_to(request.user)
        return may and not ConfigDocument.objects.exists()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask that this person sees every host: all of them are served it."""
        return bool(super().has_change_permission(request, obj)) and not config_document.objection_to(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let it be emptied, not deleted."""
        return False

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **more: Any) -> Any:
        """Say what becomes of what agents send, before somebody writes a schedule for nothing."""
        for warning in config_document.warnings_of_server():
            messages.warning(request, warning)
        return super().render_change_form(request, context, *args, **more)

    def save_model(self, request: HttpRequest, obj: ConfigDocument, form: Any, change: bool) -> None:
        """Keep it, and say what agents will not do as it says."""
        obj.pk = config_document.keep(obj.document, by=request.user.get_username()).pk
        for warning in (*config_document.warnings_of(obj.document), *config_document.unknown_options(obj.document)):
            messages.warning(request, warning)
