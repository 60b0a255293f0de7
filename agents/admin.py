"""The admin of hosts: facts that hosts told are read-only; people keep labels and enroll secrets, and revoke."""

import json
import re
import secrets
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin, TabularInline
from unfold.widgets import UnfoldAdminTextareaWidget

from agents.carving import carves
from agents.carving.models import Carve
from agents.enrolling import config_document
from agents.enrolling.revocation import revoke
from agents.inventory import labels, sql
from agents.models import (
    ConfigDocument,
    EnrollSecret,
    Host,
    HousekeepingQuery,
    Label,
    LabelMembership,
    Platform,
    Presence,
    TableSchema,
    digest_of,
)
from fleet.errors import BadInputError

MEMBERS_A_PAGE = 25
PLATFORMS_WITH_SQL = (Platform.LINUX, Platform.DARWIN, Platform.WINDOWS, Platform.FREEBSD)
_BETWEEN_HOSTS = re.compile(r"[\n\r\t,;]+")


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
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


class OnlineFilter(admin.SimpleListFilter):
    """Hosts that asked within ONLINE_SECONDS."""

    title = "online"
    parameter_name = "online"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer both."""
        return [("yes", "online"), ("no", "offline")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Host]) -> QuerySet[Host]:
        """Narrow by presence."""
        online = Presence.objects.online(timezone.now()).values("host_id")
        if self.value() == "yes":
            return queryset.filter(pk__in=online)
        if self.value() == "no":
            return queryset.exclude(pk__in=online)
        return queryset


class RevokedFilter(admin.SimpleListFilter):
    """Revoked hosts are hidden until they are asked for."""

    title = "enrolled"
    parameter_name = "enrolled"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the revoked ones, and all."""
        return [("no", "revoked"), ("all", "all")]

    def choices(self, changelist: Any) -> Any:
        """Name the default for what it is."""
        choices = list(super().choices(changelist))
        return [{**choices[0], "display": "enrolled"}, *choices[1:]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Host]) -> QuerySet[Host]:
        """Narrow to enrolled hosts unless asked otherwise."""
        if self.value() == "all":
            return queryset
        return queryset.filter(revoked_at__isnull=self.value() != "no")


class LabelsOfHost(TabularInline):  # type: ignore[misc]  # unfold has no types
    """The labels of one host."""

    model = LabelMembership
    extra = 0
    autocomplete_fields = ["label"]


@admin.register(Host)
class HostAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Hosts: facts to read, labels to give, and Revoke."""

    list_display = [
        "hostname",
        "online",
        "last_seen_at",
        "platform",
        "os_version",
        "osquery_version",
        "address",
        "in_doubt",
    ]
    list_filter = [RevokedFilter, OnlineFilter, "platform", ("in_doubt_since", admin.EmptyFieldListFilter), "labels"]
    search_fields = ["hostname", "uuid", "hardware_serial", "host_identifier"]
    list_select_related = ["presence"]
    show_full_result_count = False
    inlines = [LabelsOfHost]
    actions = ["revoke_hosts", "clear_doubts"]
    readonly_fields = [
        *(field.name for field in Host._meta.concrete_fields if field.name != "id"),
        "last_seen_at",
    ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Hosts enroll themselves."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Hosts are revoked, never deleted."""
        return False

    @admin.display(boolean=True)
    def online(self, host: Host) -> bool:
        """Say whether it asked lately."""
        return host.is_online(timezone.now())

    @admin.display(description="last seen", ordering="presence__last_seen")
    def last_seen_at(self, host: Host) -> Any:
        """Give when it last asked."""
        return host.last_seen

    @admin.display(boolean=True, description="in doubt", ordering="in_doubt_since")
    def in_doubt(self, host: Host) -> bool:
        """Say whether a second machine uses its key."""
        return host.in_doubt_since is not None

    @admin.action(description="Clear the mark: identity in doubt", permissions=["change"])
    def clear_doubts(self, request: HttpRequest, hosts: QuerySet[Host]) -> None:
        """Trust the chosen hosts again, until a second machine is noticed again."""
        for host in hosts.exclude(in_doubt_since=None):
            self.log_change(request, host, f"cleared the mark: {host.in_doubt_reason}")
        number = hosts.update(in_doubt_since=None, in_doubt_reason="")
        messages.success(request, f"Cleared the mark of {number} hosts.")

    @admin.action(description="Revoke: refuse their keys at once", permissions=["change"])
    def revoke_hosts(self, request: HttpRequest, hosts: QuerySet[Host]) -> None:
        """Send the chosen hosts away."""
        names = [revoke(host).hostname for host in hosts]
        shown = ", ".join(names[:10]) + (" …" if len(names) > 10 else "")
        messages.success(request, f"Revoked {len(names)} hosts: {shown}. Gateways refuse them within a second.")


def _sql_field(platform: Platform) -> forms.CharField:
    return forms.CharField(
        label=f"SQL on {platform.label}",
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 2}),
        help_text="A host that answers a row is a member. Asked hourly, and when it changes.",
    )


class LabelForm(forms.ModelForm[Label]):
    """A label, its SQL, and hosts to put into it by name: hundreds are pasted, not picked."""

    sql_linux = _sql_field(Platform.LINUX)
    sql_darwin = _sql_field(Platform.DARWIN)
    sql_windows = _sql_field(Platform.WINDOWS)
    sql_freebsd = _sql_field(Platform.FREEBSD)
    add_hosts = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 4}),
        help_text="Hostnames, UUIDs, serials or host identifiers, one a line or with commas between. #42 is an id.",
    )

    class Meta:
        model = Label
        fields = ["name", "description"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin with the SQL that is kept."""
        super().__init__(*args, **kwargs)
        for query in self.instance.queries.all() if self.instance.pk else ():
            self.fields[f"sql_{query.platform}"].initial = query.sql

    def clean(self) -> dict[str, Any]:
        """Check the SQL as that of a campaign is; hosts are put in by hand or by SQL, not both."""
        cleaned = super().clean() or self.cleaned_data
        cleaned["queries"] = {}
        for platform in PLATFORMS_WITH_SQL:
            if text := cleaned.get(f"sql_{platform}"):
                try:
                    cleaned["queries"][platform] = sql.check_reading(text)
                except BadInputError as error:
                    self.add_error(f"sql_{platform}", error.sentence)
        if cleaned["queries"] and cleaned.get("add_hosts"):
            self.add_error("add_hosts", "hosts enter a label with SQL by their answers")
        return cleaned

    def clean_add_hosts(self) -> set[int]:
        """Find the hosts. Refuse names that nobody bears."""
        words = {word.strip() for word in _BETWEEN_HOSTS.split(self.cleaned_data["add_hosts"])} - {""}
        found: set[int] = set()
        known: set[str] = set()
        ids = [int(word[1:]) for word in words if re.fullmatch(r"#\d{1,18}", word)]
        names = ["hostname", "uuid", "hardware_serial", "host_identifier"]
        named = Q(pk__in=ids)
        for name in names:
            named |= Q(**{f"{name}__in": words})
        for pk, *borne in Host.objects.enrolled().filter(named).values_list("pk", *names):
            found.add(pk)
            known |= {f"#{pk}", *borne}
        if missing := sorted(words - known):
            raise forms.ValidationError(f"unknown host: {', '.join(repr(word) for word in missing[:10])}")
        return found


class MembersOfLabel(TabularInline):  # type: ignore[misc]  # unfold has no types
    """The hosts of one label, in pages."""

    model = LabelMembership
    extra = 0
    per_page = MEMBERS_A_PAGE
    autocomplete_fields = ["host"]
    ordering = ["host_id"]


@admin.register(Label)
class LabelAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Groups of hosts: by hand, by SQL, or built in."""

    form = LabelForm
    list_display = ["name", "description", "kind", "members", "created_at"]
    search_fields = ["name", "description"]
    inlines = [MembersOfLabel]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Label]:
        """Count the members along."""
        found: QuerySet[Label] = super().get_queryset(request)
        return found.prefetch_related("queries").annotate(member_count=Count("hosts"))

    def has_change_permission(self, request: HttpRequest, obj: Label | None = None) -> bool:
        """Built-in labels are the machine's."""
        return (obj is None or not obj.built_in) and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Label | None = None) -> bool:
        """Built-in labels stay."""
        return (obj is None or not obj.built_in) and bool(super().has_delete_permission(request, obj))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Let the label's SQL go with it, which nobody may delete by itself."""
        shown, counts, needed, protected = super().get_deleted_objects(objs, request)
        return shown, counts, needed - {HousekeepingQuery._meta.verbose_name}, protected

    def delete_model(self, request: HttpRequest, obj: Label) -> None:
        """Delete one, its SQL first."""
        labels.forget(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Label]) -> None:
        """Delete several; built-in ones stay."""
        for label in queryset.filter(built_in=""):
            labels.forget(label)

    @admin.display(description="members come")
    def kind(self, label: Label) -> str:
        """Say how hosts get in."""
        if label.built_in:
            return "by platform"
        return "by SQL" if label.queries.all() else "by hand"

    @admin.display(description="hosts", ordering="member_count")
    def members(self, label: Any) -> int:
        """Give how many hosts are in it."""
        return int(label.member_count)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Put the pasted hosts in, those that are in it already stay; and ask hosts the SQL."""
        super().save_related(request, form, formsets, change)
        labels.set_queries(form.instance, form.cleaned_data["queries"])
        chosen = form.cleaned_data.get("add_hosts") or set()
        LabelMembership.objects.bulk_create(
            [LabelMembership(label=form.instance, host_id=pk) for pk in sorted(chosen)], ignore_conflicts=True
        )


@admin.register(EnrollSecret)
class EnrollSecretAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """What hosts offer to enroll. The secret itself is shown once, when it is made."""

    list_display = ["name", "hosts", "quota", "valid_from", "valid_until", "created_at", "revoked_at"]
    search_fields = ["name"]
    fields = ["name", "valid_from", "valid_until", "quota", "labels", "revoked_at"]
    filter_horizontal = ["labels"]
    readonly_fields = ["revoked_at"]
    actions = ["revoke_secrets"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Secrets are revoked: hosts remember which one they came with."""
        return False

    def save_model(self, request: HttpRequest, obj: EnrollSecret, form: Any, change: bool) -> None:
        """Make the secret of a new one, and tell it this once."""
        if change:
            super().save_model(request, obj, form, change)
            return
        secret = secrets.token_urlsafe(32)
        obj.digest = digest_of(secret)
        super().save_model(request, obj, form, change)
        messages.warning(request, f"The secret is {secret} and is not shown again. Copy it now.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[EnrollSecret]:
        """Count the hosts along."""
        found: QuerySet[EnrollSecret] = super().get_queryset(request)
        return found.annotate(host_count=Count("host"))

    @admin.display(description="hosts", ordering="host_count")
    def hosts(self, secret: Any) -> int:
        """Give how many enrolled with it."""
        return int(secret.host_count)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer the labels that are kept by hand."""
        return super().formfield_for_manytomany(
            db_field, request, queryset=Label.objects.filter(built_in="", queries=None), **kwargs
        )

    @admin.action(description="Revoke: nobody enrolls with them any more", permissions=["change"])
    def revoke_secrets(self, request: HttpRequest, chosen: QuerySet[EnrollSecret]) -> None:
        """Make the chosen ones invalid; hosts that enrolled with them stay."""
        number = chosen.filter(revoked_at=None).update(revoked_at=timezone.now())
        messages.success(request, f"Revoked {number} enroll secrets. Hosts that enrolled with them stay.")


@admin.register(Presence)
class PresenceAdmin(ReadOnlyAdmin):
    """When each host last asked."""

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


@admin.register(TableSchema)
class TableSchemaAdmin(ReadOnlyAdmin):
    """The tables of each kind of osquery, as hosts told of them."""

    list_display = ["platform", "osquery_version", "extensions", "learned_at", "asked_at"]
    list_filter = ["platform"]
    search_fields = ["osquery_version", "extensions"]


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
class ConfigDocumentAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """The config that agents are served: options, schedule, packs, decorators … as one JSON object."""

    form = ConfigDocumentForm
    list_display = ["__str__", "changed_by", "changed_at"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow the first one only."""
        return not ConfigDocument.objects.exists() and bool(super().has_add_permission(request))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let it be emptied, not deleted."""
        return False

    def save_model(self, request: HttpRequest, obj: ConfigDocument, form: Any, change: bool) -> None:
        """Keep it, and say what agents will not do as it says."""
        obj.pk = config_document.keep(obj.document, by=request.user.get_username()).pk
        for warning in config_document.warnings_of(obj.document):
            messages.warning(request, warning)


@admin.register(Carve)
class CarveAdmin(ReadOnlyAdmin):
    """What hosts carved; those that no answer named (yet) stand here alone."""

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
        return f"{carve.state.label}, {carve.received_blocks:,} of {carve.block_count:,} blocks"

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
        return format_html('<a href="{}">Download</a>', address) if carve.completed_at else ""

    @admin.action(description="Delete with their files", permissions=["purge"])
    def purge_carves(self, request: HttpRequest, chosen: QuerySet[Carve]) -> None:
        """Delete the chosen ones."""
        for carve in chosen:
            carves.purge(carve)
        messages.success(request, "The chosen carves are deleted, with their files.")

    def has_purge_permission(self, request: HttpRequest) -> bool:
        """Deleting takes Django's permission to."""
        return bool(request.user.has_perm("agents.delete_carve"))
