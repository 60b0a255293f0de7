"""Every address that changes something or gives away what hosts answered leaves a line in the audit.

The addresses are those of `matrix.csv`, which has every one there is. What changes nothing stands in a table here, with
the reason; an address that is in neither, and leaves no line, fails.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import transaction
from django.test import RequestFactory
from django.utils import timezone

from agents.carving import store
from agents.carving.models import Carve, CarveBlock
from campaigns.answers.models import QueryView
from campaigns.hooks.models import Delivery, Hook
from campaigns.launching import control
from campaigns.launching.launch import Order, launch
from campaigns.launching.models import ApprovalRule, Quota
from campaigns.models import Query
from campaigns.people.scopes import Scope
from campaigns.recurring.models import Schedule
from fleet.audit.models import AuditEvent
from tests.campaigns.matrix import BODIES, World, lines
from tests.factories import make_campaign

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board", "carves_folder")]

SCHEDULE = {
    "how": "every", "many": "2", "unit": "60", "zone": "UTC", "whom": "all", "timeout": "60", "runs_kept": "3",
}  # fmt: skip
RULE = {"hosts_above": "7", "tables": "shadow", "hours": "sat 08:00 to 18:00", "many": "1", "unit": "86400"}
# What is asked of which address instead, so that it really happens: {line of the matrix: (address, body)}.
ACTS: dict[str, tuple[str, Any]] = {
    "DELETE /api/v1/campaigns/{campaign}/": ("/api/v1/campaigns/{ended}/", None),
    "POST /api/v1/campaigns/{campaign}/approve/": ("/api/v1/campaigns/{waiting}/approve/", {}),
    "POST /api/v1/campaigns/{campaign}/reject/": ("/api/v1/campaigns/{waiting}/reject/", {"reason": "too wide"}),
    "POST /api/v1/campaigns/{campaign}/withdraw/": ("/api/v1/campaigns/{own}/withdraw/", {}),
    "POST /api/v1/campaigns/{campaign}/resume/": ("/api/v1/campaigns/{paused}/resume/", {}),
    "POST /api/v1/campaigns/{campaign}/rerun/": ("/api/v1/campaigns/{ended}/rerun/", {"states": ["missed"]}),
    "POST /api/v1/campaigns/{ended}/rerun/": ("/api/v1/campaigns/{ended}/rerun/", {"states": ["missed"]}),
    "POST /api/v1/campaigns/{campaign}/widen/": ("/api/v1/campaigns/{narrow}/widen/", {"all": True}),
    "POST /api/v1/campaigns/{campaign}/sql/": ("/api/v1/campaigns/{campaign}/sql/", {"sql": "SELECT 1"}),
    "POST /api/v1/approval-rules/": ("/api/v1/approval-rules/", {"group": "Observer", "hosts_above": 5}),
    "PATCH /api/v1/approval-rules/{pk}/": ("/api/v1/approval-rules/{rule}/", {"hosts_above": 6}),
    "DELETE /api/v1/approval-rules/{pk}/": ("/api/v1/approval-rules/{rule}/", None),
    "POST /people/rules/": ("/people/rules/", {**RULE, "group": "{group}"}),
    "POST /people/rules/{pk}/": ("/people/rules/{rule}/", RULE),
    "POST /people/rules/{pk}/delete/": ("/people/rules/{rule}/delete/", {}),
    "POST /people/quotas/": ("/people/quotas/", {"group": "{group}", "open_campaigns": "5"}),
    "POST /people/quotas/{pk}/": ("/people/quotas/{quota}/", {"open_campaigns": "6"}),
    "POST /people/quotas/{pk}/delete/": ("/people/quotas/{quota}/delete/", {}),
    "POST /api/v1/quotas/": ("/api/v1/quotas/", {"group": "Observer", "open_campaigns": 5}),
    "PATCH /api/v1/quotas/{pk}/": ("/api/v1/quotas/{quota}/", {"open_campaigns": 6}),
    "DELETE /api/v1/quotas/{pk}/": ("/api/v1/quotas/{quota}/", None),
    "POST /api/v1/labels/{label}/hosts/": ("/api/v1/labels/{label}/hosts/", {"hosts": ["{outside}"]}),
    "POST /api/v1/queries/{query}/latest/sql/": ("/api/v1/queries/{query}/latest/sql/", {"sql": "SELECT 1"}),
    "POST /api/v1/queries/{query}/views/": ("/api/v1/queries/{query}/views/", {"name": "v", "sql": "SELECT 1"}),
    "DELETE /api/v1/queries/{query}/views/{query}/": ("/api/v1/queries/{query}/views/{view}/", None),
    "POST /ask/queries/save/": ("/ask/queries/save/", {"name": "new", "sql": "SELECT 1"}),
    "POST /hosts/{outside}/ask/": ("/hosts/{outside}/ask/", {"sql": "SELECT 1"}),
    "POST /hosts/{host}/trust/": ("/hosts/{outside}/trust/", {}),
    "POST /people/teams/{team}/delete/": ("/people/teams/{empty_team}/delete/", {}),
    "POST /settings/secrets/": ("/settings/secrets/", {"name": "new"}),
    "POST /settings/config/": ("/settings/config/", {"document": "{}"}),
    "POST /settings/live-queries/": ("/settings/live-queries/", {"to": "off", "reason": "a drill"}),
    "POST /approvals/{campaign}/approve/": ("/approvals/{waiting}/approve/", {}),
    "POST /approvals/{campaign}/reject/": ("/approvals/{waiting}/reject/", {"reason": "too wide"}),
    "POST /approvals/{campaign}/withdraw/": ("/approvals/{own}/withdraw/", {}),
    "POST /tokens/": ("/tokens/", {"name": "new", "days": 5, "access": "read"}),
    "POST /campaigns/{campaign}/hosts/again/": ("/campaigns/{ended}/hosts/again/", {"host": ["{host}"]}),
    "POST /campaigns/{campaign}/hosts/label/": (
        "/campaigns/{campaign}/hosts/label/",
        {"host": ["{outside}"], "label": "by hand"},
    ),
    "POST /campaigns/{campaign}/groups/{key}/use/": (
        "/campaigns/{campaign}/groups/{key}/use/",
        {"do": "label", "label": "another"},
    ),
    "POST /campaigns/{campaign}/rerun/": ("/campaigns/{ended}/rerun/", {"states": ["missed"]}),
    "POST /queries/{query}/views/1/delete/": ("/queries/{query}/views/{view}/delete/", {}),
    "PATCH /api/v1/hooks/{hook}/": ("/api/v1/hooks/{hook}/", {"name": "renamed"}),
    "POST /api/v1/hooks/{hook}/start/": ("/api/v1/hooks/{stopped_hook}/start/", None),
    "POST /settings/hooks/{hook}/": ("/settings/hooks/{hook}/", {"name": "renamed", "events": ["campaign.ended"]}),
    "POST /settings/hooks/{hook}/control/": ("/settings/hooks/{hook}/control/", {"to": "stop"}),
    "PATCH /api/v1/schedules/{schedule}/": ("/api/v1/schedules/{schedule}/", {"every": 120}),
    "POST /api/v1/schedules/{schedule}/enable/": ("/api/v1/schedules/{disabled_schedule}/enable/", None),
    "POST /queries/{query}/schedules/new/": ("/queries/{query}/schedules/new/", SCHEDULE),
    "POST /schedules/{schedule}/": ("/schedules/{schedule}/", SCHEDULE),
    "POST /schedules/{schedule}/control/": ("/schedules/{schedule}/control/", {"to": "disable"}),
    "POST /campaigns/{campaign}/resume/": ("/campaigns/{paused}/resume/", {}),
    "POST /campaigns/{campaign}/widen/": ("/campaigns/{narrow}/widen/", {"all": "1", "agreed": "1"}),
}
# Pages whose forms have no line of their own in the matrix.
FORMS: dict[str, tuple[str, Any]] = {
    "POST /people/{person}/": ("/people/{person}/", {"roles": ["Auditor"], "is_active": "on"}),
    "POST /people/teams/new/": ("/people/teams/new/", {"name": "new", "labels": ["{label}"]}),
    "POST /people/teams/{team}/": ("/people/teams/{team}/", {"name": "Berliners", "labels": ["{label}"]}),
}
NOTHING_CHANGED = {
    "POST /schedules/times/": "says back what is being filled in",
    "POST /api/v1/campaigns/estimate/": "counts, and asks nobody",
    "POST /api/v1/approval-rules/{pk}/grant/": "superusers alone; it is noted (launching/test_rule_wishes.py)",
    "POST /api/v1/approval-rules/{pk}/refuse/": "superusers alone; it is noted (launching/test_rule_wishes.py)",
    "POST /people/rules/{pk}/decide/": "superusers alone; it is noted (launching/test_rule_wishes.py)",
    "POST /preferences/": "how pages look to one person",
    "POST /ask/example/{number}/": "opens the editor with an example, or launches by the verb that is noted",
    "POST /ask/estimate/": "counts, and asks nobody",
    "POST /ask/check/": "reads the SQL, and asks nobody",
    "POST /ask/labels/": "finds labels by name",
    "POST /ask/queries/pin/": "what one person has on top of a list",
    "POST /livez": "says that the process lives",
    "POST /readyz": "says what is wrong",
    "POST /login/": "who is signed in is sent on; sign-ins are noted (tests/fleet/test_sign_in.py)",
    "POST /admin/login/": "the same door",
    "POST /confirm/": "without a right password it refuses; with one it is noted (tests/fleet/test_confirming.py)",
    "POST /login/second-factor/": "who is signed in is sent on; wrong codes are noted (test_second_factor.py)",
    "POST /account/password/": "there is none; changes are noted (tests/fleet/test_new_password.py)",
    "POST /admin/password_change/": "the same page",
    "POST /account/app/": "without a code it refuses; changes are noted (tests/fleet/test_second_factor.py)",
    "POST /account/app/remove/": "there is none; changes are noted (tests/fleet/test_second_factor.py)",
    "POST /account/codes/new/": "there is no factor yet; changes are noted (tests/fleet/test_second_factor.py)",
    "POST /account/passkeys/add/": "without a passkey it refuses; changes are noted (test_second_factor.py)",
    "POST /account/passkeys/{pk}/remove/": "there is none; changes are noted (tests/fleet/test_second_factor.py)",
}
# Reading by the API that gives nothing of what hosts answered.
QUIET = {
    "GET /api/v1/status/": "how the server is",
    "GET /api/v1/schema/": "which tables there are",
    "GET /api/v1/campaigns/": "what was asked, and counts",
    "GET /api/v1/campaigns/{campaign}/": "what was asked, and counts",
    "GET /api/v1/approvals/": "what waits",
    "GET /api/v1/approvals/{campaign}/": "what waits",
    "GET /api/v1/approval-rules/": "settings",
    "GET /api/v1/approval-rules/{pk}/": "settings",
    "GET /api/v1/quotas/": "settings",
    "GET /api/v1/quotas/{pk}/": "settings",
    "GET /api/v1/quotas/mine/": "one's own",
    "GET /api/v1/hosts/": "the inventory",
    "GET /api/v1/hosts/{host}/": "the inventory",
    "GET /api/v1/labels/": "the inventory",
    "GET /api/v1/labels/{label}/": "the inventory",
    "GET /api/v1/labels/{label}/hosts/": "the inventory",
    "GET /api/v1/queries/": "saved SQL",
    "GET /api/v1/queries/{query}/": "saved SQL",
    "GET /api/v1/queries/{query}/views/": "saved SQL",
    "GET /api/v1/enroll-secrets/": "names; the secrets themselves are not there",
    "GET /api/v1/enroll-secrets/{secret}/": "the name; the secret itself is not there",
    "GET /api/v1/tokens/": "names; the tokens themselves are not there",
    "GET /api/v1/hooks/": "where programs elsewhere are told",
    "GET /api/v1/hooks/{hook}/": "where a program elsewhere is told",
    "GET /api/v1/hooks/{hook}/deliveries/": "what it was told, which holds nothing of what hosts answered",
    "GET /api/v1/schedules/": "what is asked by itself",
    "GET /api/v1/schedules/{schedule}/": "what is asked by itself",
    "GET /api/schema/": "the document of the API",
    "GET /api/docs/": "the document of the API",
}
READS: dict[str, str] = {
    "GET /api/v1/carves/{carve}/file": "/api/v1/carves/{whole_carve}/file",
    **{
        f"GET {path}": f"{path}?with={{ended}}"
        for path in (
            f"/api/v1/campaigns/{{campaign}}/diff{ending}"
            for ending in ("/", ".csv", ".ndjson", ".json", ".parquet", ".xlsx")
        )
    },
}
PAGES_OF_ANSWERS = (
    "/campaigns/{campaign}/",
    "/campaigns/{campaign}/groups/",
    "/campaigns/{campaign}/groups/{key}/",
    "/campaigns/{campaign}/compare/",
    "/queries/{query}/latest/",
    "/schedules/{schedule}/",
)
WALKER = "administrator"


class Walk:
    """The world of the matrix, with what each act needs, and one who may do them all."""

    def __init__(self, here: World) -> None:
        self._world, self.walker = here, here.users[WALKER]
        boss, owner = here.users[WALKER], here.users["owner"]
        names, hosts = here.names, [here.inside, here.outside]
        query = Query.objects.get(pk=names["query"])
        names["narrow"] = make_campaign(*hosts, by=owner, rollout={"canary": {"count": 1}, "then": "ask"}).pk
        names["paused"] = make_campaign(*hosts, by=owner).pk
        control.pause(names["paused"], "owner", "")
        names["view"] = QueryView.objects.create(query=query, name="kept", sql="SELECT 1").pk
        names["quota"] = Quota.objects.create(person=here.users["observer"], open_campaigns=3).pk
        asking = Group.objects.create(name="asking")
        for person in (boss, owner):
            person.groups.add(asking)
        rule = ApprovalRule.objects.create(group=asking, hosts_above=0)
        order = Order(sql="SELECT 1", target={"hosts": [host.pk for host in hosts]}, timeout=60)
        names["waiting"], names["own"] = launch(order, owner).pk, launch(order, boss).pk
        boss.groups.remove(asking)
        names["rule"] = rule.pk
        names["session_id"] = UserSession.objects.get(user=owner).pk
        hooks = [
            Hook.objects.create(owner=boss, name=name, address="https://192.0.2.1/", secret="whsec_MDAw")
            for name in ("mine", "stopped")
        ]
        Hook.objects.filter(pk=hooks[1].pk).update(stopped_at=timezone.now(), stopped_reason="a test")
        names["hook"], names["stopped_hook"] = hooks[0].pk, hooks[1].pk
        sent_once = {"message_id": "mine", "kind": "hook.test", "body": "{}", "state": Delivery.State.DEAD}
        names["delivery"] = Delivery.objects.create(hook=hooks[0], **sent_once).pk
        schedules = [
            Schedule.objects.create(
                query=query, owner=boss, every=60, target={"all": True}, sql=query.sql, enabled=enabled, timeout=60
            )
            for enabled in (True, False)
        ]
        names["schedule"], names["disabled_schedule"] = (schedule.pk for schedule in schedules)
        names["empty_team"] = self._empty_team().pk
        whole = Carve.objects.create(
            host=here.inside, carve_id="e" * 32, campaign_id=names["campaign"], block_count=1, received_blocks=1,
            received_bytes=4, carve_size=4, request_id="r", completed_at=timezone.now(),
        )  # fmt: skip
        store.write(whole, 0, b"data")
        CarveBlock.objects.create(carve=whole, number=0, size=4)
        names["whole_carve"] = whole.pk

    @staticmethod
    def _empty_team() -> Group:
        team = Group.objects.create(name="nobody's")
        Scope.objects.create(group=team)
        return team

    def does(self, method: str, address: str, body: Any) -> tuple[Any, list[AuditEvent]]:
        """Do it, and forget it; give what was told and the lines that it left."""
        with transaction.atomic():
            before = AuditEvent.objects.order_by("-id").values_list("id", flat=True).first() or 0
            told = self._world.send(WALKER, method, address, body)
            left = list(AuditEvent.objects.filter(id__gt=before))
            transaction.set_rollback(True)
        return told, left


@pytest.fixture
def walk(world: World, settings: Any) -> Walk:
    """Give it, with everybody having shown lately who he is."""
    settings.CONFIRM_MINUTES = 0
    settings.HOOKS_ALLOWED_NETWORKS = ["192.0.2.0/24"]
    return Walk(world)


def changing() -> Iterator[tuple[str, str, Any]]:
    """Give every act: the line of the matrix, the address, and what is sent."""
    for line in lines():
        name = f"{line['method']} {line['address']}"
        if line["method"] != "GET" and name not in NOTHING_CHANGED:
            yield (name, *ACTS.get(name, (line["address"], BODIES.get(name))))
    for name, act in FORMS.items():
        yield (name, *act)


def test_whatever_changes_something_leaves_a_line(walk: Walk) -> None:
    silent, failed = [], []

    for name, address, body in changing():
        told, left = walk.does(name.split()[0], address, body)
        if told.status_code == 405:
            continue
        if told.status_code >= 400:
            failed.append((name, told.status_code, told.body[-300:]))
        elif not left:
            silent.append(name)

    assert failed == []
    assert silent == []


def test_a_page_that_takes_forms_is_walked_too(walk: Walk) -> None:
    posted = {line["address"] for line in lines() if line["method"] == "POST"}
    pages = {line["address"] for line in lines() if line["method"] == "GET" and "?" not in line["address"]}
    unknown = []

    for address in sorted(pages - posted):
        if address.startswith("/api/") or (address.startswith("/admin/") and address != "/admin/login/"):
            continue  # methods of the API are the matrix's, forms of the admin have a walk of their own
        told, _ = walk.does("POST", address, None)
        if told.status_code != 405 and f"POST {address}" not in {*NOTHING_CHANGED, *FORMS}:
            unknown.append(address)

    assert unknown == []


def test_whoever_reads_what_hosts_answered_leaves_a_line(walk: Walk) -> None:
    reads = [f"GET {line['address']}" for line in lines() if line["method"] == "GET"]
    wrong = []

    for name in reads:
        plain = name.partition("?")[0].replace("{alone}", "{campaign}").replace("{outside}", "{host}")
        if not name.startswith("GET /api/") or plain in QUIET:
            continue
        told, left = walk.does("GET", READS.get(name, name.removeprefix("GET ")), None)
        if told.status_code != 404 and (told.status_code != 200 or not left) and "hidden" not in name:
            wrong.append((name, told.status_code, told.body[:200]))
    for address in PAGES_OF_ANSWERS:
        told, left = walk.does("GET", address, None)
        if [line.action for line in left] != ["results.read"]:
            wrong.append((address, told.status_code, left))

    assert wrong == []


# --- the admin -------------------------------------------------------------------------------------------------

# Every form of the admin that this person may send: {address: what is changed in it}. Deleting says "yes".
ADMIN: dict[str, dict[str, Any]] = {
    "/admin/agents/enrollsecret/add/": {"name": "by admin"},
    "/admin/agents/enrollsecret/{secret}/change/": {"name": "renamed"},
    "/admin/agents/configdocument/1/change/": {"document": '{"schedule": {}}'},
    "/admin/agents/host/{host}/change/": {"labelmembership_set-0-DELETE": "on"},
    "/admin/agents/label/add/": {"name": "by admin"},
    "/admin/agents/label/{label}/change/": {"name": "renamed"},
    "/admin/agents/label/{label}/delete/": {"post": "yes"},
    "/admin/campaigns/apitoken/{token}/delete/": {"post": "yes"},
    "/admin/auth/user/add/": {"username": "new", "password1": "a long phrase 1", "password2": "a long phrase 1"},
    "/admin/auth/user/{person}/change/": {"email": "new@example.org", "groups": ["{group}"], "is_staff": "on"},
    "/admin/auth/user/{person}/delete/": {"post": "yes"},
    "/admin/auth/user/{person}/password/": {"password1": "a long phrase 1", "password2": "a long phrase 1"},
    "/admin/auth/group/add/": {"name": "new", "scope-0-labels": ["{label}"]},
    "/admin/auth/group/{group}/change/": {"name": "renamed", "scope-0-labels": ["{label}"]},
    "/admin/auth/group/{empty_team}/delete/": {"post": "yes"},
    "/admin/campaigns/approvalrule/add/": {"hosts_above": "7"},
    "/admin/campaigns/approvalrule/{rule}/change/": {"hosts_above": "7"},
    "/admin/campaigns/approvalrule/{rule}/delete/": {"post": "yes"},
    "/admin/campaigns/quota/add/": {"person": "{person}", "rows_kept": "7"},
    "/admin/campaigns/quota/{quota}/change/": {"rows_kept": "7"},
    "/admin/campaigns/quota/{quota}/delete/": {"post": "yes"},
    "/admin/campaigns/livequeries/1/change/": {"enabled": None, "reason": "a drill"},
    "/admin/campaigns/query/add/": {"name": "by admin", "sql": "SELECT 1"},
    "/admin/campaigns/query/{query}/change/": {"name": "renamed"},
    "/admin/campaigns/query/{query}/delete/": {"post": "yes"},
    "/admin/campaigns/campaign/{campaign}/change/": {"name": "renamed"},
}
# Of people, groups and scopes: one act is one line.
ONE_LINE = ("/admin/auth/", "/people/", "/admin/campaigns/approvalrule/", "/admin/campaigns/quota/", "/api/v1/quotas/")
SENT_ON = "/admin/campaigns/campaign/"  # whoever adds one there is sent on to the page Ask
ACTIONS = {
    "/admin/agents/host/": [("revoke_hosts", "{host}"), ("clear_doubts", "{outside}"), ("learn_again", "{host}")],
    "/admin/auth/user/": [("remove_second_factors", "{person}"), ("delete_selected", "{person}")],
    "/admin/auth/group/": [("delete_selected", "{empty_team}")],
    "/admin/campaigns/apitoken/": [("delete_selected", "{token}")],
    "/admin/campaigns/campaign/": [("stop", "{campaign}")],
}


def sent(page: Any) -> dict[str, Any]:
    """Give what a browser would send of a page's forms as they stand."""
    formsets = [inline.formset for inline in page.context["inline_admin_formsets"]]
    forms = [page.context["adminform"].form, *(form for one in formsets for form in (one.management_form, *one.forms))]
    given: dict[str, Any] = {}
    for field in (field for form in forms for field in form):
        value = field.value()
        if isinstance(value, datetime):
            given |= {f"{field.html_name}_0": value.date(), f"{field.html_name}_1": value.time()}
        elif value is not None and value is not False:
            given[field.html_name] = _as_sent(value)
    return given


def _as_sent(value: Any) -> Any:
    if isinstance(value, list):
        return [getattr(one, "pk", one) for one in value]
    return "on" if value is True else value


def test_every_form_of_the_admin_leaves_a_line_and_one_over_people_exactly_one(walk: Walk) -> None:
    wrong = []

    for address, changes in ADMIN.items():
        page, _ = walk.does("GET", address, None)
        as_it_stands = sent(page) if "adminform" in (page.context or {}) and "password" not in address else {}
        given = {name: value for name, value in {**as_it_stands, **changes}.items() if value is not None}
        told, left = walk.does("POST", address, given)
        if told.status_code != 302 or not left or (len(left) > 1 and address.startswith(ONE_LINE)):
            wrong.append((address, told.status_code, [str(line) for line in left], _errors(told)))

    assert wrong == []


def test_every_form_that_the_admin_offers_is_walked(walk: Walk) -> None:
    request = RequestFactory().get("/admin/")
    request.user = walk.walker

    offered = {
        f"/admin/{model._meta.app_label}/{model._meta.model_name}/ {verb}"
        for model, page in admin.site._registry.items()
        for verb in ("add", "change", "delete")
        if getattr(page, f"has_{verb}_permission")(request)
    }

    walked = {re.sub(r"(/admin/\w+/\w+/).*?(\w+)/$", r"\1 \2", address) for address in ADMIN}
    assert offered - walked == {f"{SENT_ON} add"}


def _errors(told: Any) -> Any:
    return (told.context or {}).get("errors") if told.status_code == 200 else ""


def test_every_action_of_the_admin_leaves_a_line(walk: Walk) -> None:
    wrong = []

    for address, actions in ACTIONS.items():
        for action, chosen in actions:
            given = {"action": action, "_selected_action": [chosen], "index": "0", "post": "yes"}
            told, left = walk.does("POST", address, given)
            if told.status_code != 302 or not left or (len(left) > 1 and address.startswith(ONE_LINE)):
                wrong.append((address, action, told.status_code, [str(line) for line in left]))

    assert wrong == []
