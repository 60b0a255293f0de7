"""The admin's menu: every model in one of four groups, each shown to those who may look at it."""

from typing import Any, NamedTuple

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from agents.carving.models import Carve
from agents.inventory.models import LabelSqlRecord
from agents.models import ConfigDocument, EnrollSecret, Host, HousekeepingQuery, Label, Presence, TableSchema
from campaigns.answers.models import AuditRecord
from campaigns.collecting.models import DeadLetter, StreamCursor
from campaigns.console.preferences import preference
from campaigns.hooks.models import Delivery, Hook
from campaigns.launching.models import Approval, ApprovalRule, LiveQueries, Quota
from campaigns.models import Campaign, IdempotencyKey, Query, Result, Target, TargetRange
from campaigns.recurring.models import Schedule, ScheduledRun
from campaigns.tokens import ApiToken
from fleet.audit.models import AuditEvent


class Entry(NamedTuple):
    """One line of the menu."""

    model: type[Model]
    name: str
    icon: str  # of Material Symbols, which the admin brings


GROUPS = {
    "Fleet": (
        Entry(Host, "Hosts", "dns"),
        Entry(Label, "Labels", "sell"),
        Entry(Presence, "Presence", "sensors"),
        Entry(Carve, "Carves", "folder_zip"),
        Entry(ConfigDocument, "Config of agents", "tune"),
    ),
    "Questions": (
        Entry(Campaign, "Campaigns", "radar"),
        Entry(Query, "Saved queries", "bookmark"),
        Entry(Schedule, "Schedules", "schedule"),
        Entry(ScheduledRun, "Runs of schedules", "event_repeat"),
        Entry(Target, "Targets", "adjust"),
        Entry(Result, "Results", "table_rows"),
        Entry(LiveQueries, "Kill switch", "power_settings_new"),
        Entry(Approval, "Approvals", "how_to_reg"),
        Entry(AuditRecord, "Audit records", "receipt_long"),
    ),
    "Access": (
        Entry(User, "People", "person"),
        Entry(Group, "Groups", "group"),
        Entry(ApprovalRule, "Rules of approval", "rule_folder"),
        Entry(Quota, "Quotas", "speed"),
        Entry(ApiToken, "Tokens of the API", "key"),
        Entry(Hook, "Hooks", "webhook"),
        Entry(EnrollSecret, "Enroll secrets", "lock"),
        Entry(AuditEvent, "Audit", "history"),
    ),
    "Inner workings": (
        Entry(HousekeepingQuery, "Housekeeping queries", "handyman"),
        Entry(TableSchema, "Tables of osquery", "schema"),
        Entry(LabelSqlRecord, "Audit of labels' SQL", "rule"),
        Entry(TargetRange, "Target ranges", "view_week"),
        Entry(StreamCursor, "Stream cursors", "moving"),
        Entry(Delivery, "Messages to hooks", "outgoing_mail"),
        Entry(DeadLetter, "Dead letters", "unsubscribe"),
        Entry(IdempotencyKey, "Idempotency keys", "fingerprint"),
    ),
}


def address_of(model: type[Model]) -> str:
    """Give where a model's list is."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def may_look(request: HttpRequest, model: type[Model]) -> bool:
    """Say whether the model's list is for this person."""
    return bool(admin.site._registry[model].has_view_permission(request))


def groups(request: HttpRequest) -> list[dict[str, Any]]:
    """Give the groups in Unfold's form; what one may not look at is left out, and so is a group without any."""
    shown = [
        {"title": title, "items": [_item(entry) for entry in entries if may_look(request, entry.model)]}
        for title, entries in GROUPS.items()
    ]
    start = {"title": "", "items": [{"title": "Start", "icon": "home", "link": reverse("admin:index")}]}
    return [start, *(group for group in shown if group["items"])]


def _item(entry: Entry) -> dict[str, Any]:
    return {"title": entry.name, "icon": entry.icon, "link": address_of(entry.model)}


def no_colors(request: HttpRequest) -> dict[str, dict[str, str]]:
    """Name no colours: Unfold would write them into a style element, which no policy of ours lets in.

    They are in `admin_look.css`.
    """
    return {}


def theme(request: HttpRequest) -> str:
    """Give the colours that this browser chose for the console, in Unfold's word."""
    chosen = preference(request, "theme")
    return "auto" if chosen == "system" else chosen
