"""What an installation is set to: enroll secrets and how machines join, the config of agents, the kill switch."""

import json
import secrets
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings as installation
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from agents.enrolling import config_document
from agents.enrolling.flagfile import Joining
from agents.models import EnrollSecret, digest_of
from agents.protocol.endpoints import QUICK_INTERVAL, SLOW_INTERVAL
from campaigns.console.access import confirmed, needs, needs_one_of, user_of
from campaigns.console.forms import ConfigForm, SecretForm, SwitchForm
from campaigns.console.in_place import asks_first
from campaigns.launching import control, kill_switch
from campaigns.people import scopes
from campaigns.people.roles import KEEP_HOOKS, SEE_CONFIG, SEE_SECRETS, SWITCH
from fleet import confirming
from fleet.audit import note
from fleet.counting import counted, plural
from fleet.errors import BadInputError, FleetError

ADD_SECRET, CHANGE_SECRET, CHANGE_CONFIG = (
    "agents.add_enrollsecret",
    "agents.change_enrollsecret",
    "agents.change_configdocument",
)
FRESH_SECRET = "fresh_enroll_secret"  # in the session, until it was shown once  # noqa: S105 - a name, not a secret


class Platform(NamedTuple):
    """How machines of one platform join: where their files lie, and what is typed there."""

    name: str
    slug: str
    flagfile: str
    ca: str
    secret_file: str
    commands: str


PLATFORMS = (
    Platform(
        "Linux",
        "linux",
        "/etc/osquery/osquery.flags",
        "/etc/osquery/fleet-ca.pem",
        "/etc/osquery/fleet-secret",
        "sudo install -m 600 fleet-secret /etc/osquery/fleet-secret\n"
        "sudo install -m 644 fleet-ca.pem osquery.flags /etc/osquery/\n"
        "sudo systemctl enable --now osqueryd && sudo systemctl restart osqueryd",
    ),
    Platform(
        "macOS",
        "macos",
        "/private/var/osquery/osquery.flags",
        "/private/var/osquery/fleet-ca.pem",
        "/private/var/osquery/fleet-secret",
        "sudo install -m 600 fleet-secret /private/var/osquery/fleet-secret\n"
        "sudo install -m 644 fleet-ca.pem osquery.flags /private/var/osquery/\n"
        "sudo launchctl kickstart -k system/io.osquery.agent",
    ),
    Platform(
        "Windows",
        "windows",
        r"C:\Program Files\osquery\osquery.flags",
        r"C:\Program Files\osquery\certs\fleet-ca.pem",
        r"C:\Program Files\osquery\fleet-secret",
        "Copy-Item fleet-ca.pem 'C:\\Program Files\\osquery\\certs\\'\n"
        "Copy-Item fleet-secret, osquery.flags 'C:\\Program Files\\osquery\\'\n"
        "Restart-Service osqueryd",
    ),
)


@needs_one_of(SEE_SECRETS, SEE_CONFIG, SWITCH, KEEP_HOOKS)
@require_GET
def settings(request: HttpRequest) -> HttpResponse:
    """Show what this person may look at."""
    return render(request, "campaigns/settings.html", _context(request))


def _context(request: HttpRequest, **forms: Any) -> dict[str, Any]:
    user = user_of(request)
    context: dict[str, Any] = {"switched_off": kill_switch.sentence(), **forms}
    context["asks_again"] = not confirming.is_recent(request)
    if user.has_perm(SEE_SECRETS) and not context["asks_again"]:
        context |= {
            "secrets": EnrollSecret.objects.annotate(host_count=_count_for(user)).order_by("revoked_at", "name"),
            "fresh": _fresh_secret(request),
            "platforms": [(platform, _flags(request, platform)) for platform in PLATFORMS],
            "secret_form": forms.get("secret_form") or SecretForm(),
        }
    if user.has_perm(SEE_CONFIG):
        kept = config_document.current()
        form = forms.get("config_form") or ConfigForm(
            initial={"document": json.dumps(kept, indent=2, ensure_ascii=False)}
        )
        context |= {
            "config_form": form,
            "config_objection": config_document.objection_to(user),
            "config_warnings": [*config_document.warnings_of(kept), *config_document.warnings_of_server()],
        }
    if user.has_perm(SWITCH):
        objection = kill_switch.objection_to(user)
        context |= {"switch_form": forms.get("switch_form") or SwitchForm(), "switch_objection": objection}
    return context


def _count_for(user: User) -> Count:
    seen = Q(host__in=scopes.hosts_for(user)) if scopes.is_limited(user) else None
    return Count("host", filter=seen)


def _fresh_secret(request: HttpRequest) -> dict[str, str] | None:
    """Give the secret that was just made, this once."""
    fresh: dict[str, str] | None = request.session.pop(FRESH_SECRET, None)
    if fresh is not None:
        secret = EnrollSecret.objects.filter(name=fresh["name"]).first()
        note("enroll_secret.shown", subject=f"enroll_secret {secret.pk if secret else ''}", name=fresh["name"])
    return fresh


def _flags(request: HttpRequest, platform: Platform) -> str:
    """Write the flagfile for machines of a platform; the sentence that speaks against it, when one does."""
    joining = Joining(
        hostname=urlsplit(installation.PUBLIC_URL).netloc or request.get_host(),
        ca=platform.ca,
        secret_file=platform.secret_file,
        interval=QUICK_INTERVAL if installation.HOLD_SECONDS else SLOW_INTERVAL,
        max_block_bytes=installation.CARVE_MAX_BLOCK_BYTES,
        keeps_logs=bool(installation.LOG_SINK),
    )
    try:
        joining.check()
    except BadInputError as error:
        return f"# {error.sentence}\n"
    return joining.text()


@needs(ADD_SECRET)
@require_POST
@confirmed
def new_secret(request: HttpRequest) -> HttpResponse:
    """Make an enroll secret; it is shown on the next page, once."""
    form = SecretForm(request.POST)
    form.by = user_of(request)
    if not form.is_valid():
        return render(request, "campaigns/settings.html", _context(request, secret_form=form), status=422)
    secret = secrets.token_urlsafe(32)
    made = form.save(commit=False)
    made.digest = digest_of(secret)
    made.save()
    form.save_m2m()
    request.session[FRESH_SECRET] = {"name": made.name, "secret": secret}
    return redirect("settings")


@needs(CHANGE_SECRET)
@require_POST
@confirmed
@asks_first
def revoke_secret(request: HttpRequest, secret_id: int) -> HttpResponse:
    """Let nobody enroll with it any more; hosts that did stay."""
    secret = get_object_or_404(EnrollSecret, pk=secret_id)
    secret.revoke()
    messages.success(request, f"Revoked the enroll secret {secret.name}. Hosts that enrolled with it stay.")
    return redirect("settings")


@needs(CHANGE_CONFIG)
@require_POST
def keep_config(request: HttpRequest) -> HttpResponse:
    """Serve another config from now on."""
    if objection := config_document.objection_to(user_of(request)):
        raise PermissionDenied(objection)
    form = ConfigForm(request.POST)
    if not form.is_valid():
        return render(request, "campaigns/settings.html", _context(request, config_form=form), status=422)
    config_document.keep(form.cleaned_data["document"], by=user_of(request).get_username())
    messages.success(request, "The config is kept. Agents fetch it within their config_refresh.")
    return redirect("settings")


@needs(SWITCH)
@require_POST
@confirmed
def switch(request: HttpRequest) -> HttpResponse:
    """Throw the kill switch, or lift it."""
    user, form = user_of(request), SwitchForm(request.POST)
    if objection := kill_switch.objection_to(user):
        raise PermissionDenied(objection)
    if not form.is_valid():
        return render(request, "campaigns/settings.html", _context(request, switch_form=form), status=422)
    try:
        if form.cleaned_data["to"] == "on":
            control.enable_live_queries(user)
            messages.success(request, "Live queries are on. Campaigns that were stopped stay so.")
        else:
            stopped = control.disable_live_queries(user, form.cleaned_data["reason"])
            were_stopped = f"{counted(stopped, 'campaign')} {plural(stopped, 'was', 'were')} stopped"
            messages.warning(request, f"Live queries are off: {were_stopped}, none can be launched.")
    except FleetError as error:
        messages.error(request, error.sentence)
    return redirect("settings")
