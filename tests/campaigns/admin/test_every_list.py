"""Every list and page of the admin, walked by what is registered: a new model is looked at by itself."""

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.carving.models import Carve
from agents.inventory.models import LabelSqlRecord
from agents.models import EnrollSecret, Host, HousekeepingQuery, Presence, TableSchema
from campaigns.admin.menu import GROUPS
from campaigns.collecting.models import DeadLetter, StreamCursor
from campaigns.hooks.models import Delivery, Hook
from campaigns.launching import kill_switch
from campaigns.launching.models import Approval, ApprovalRule, Quota
from campaigns.models import IdempotencyKey, Query
from campaigns.recurring.models import Schedule, ScheduledRun
from campaigns.tokens import ApiToken
from fleet.admin import ReadOnlyAdmin
from tests.factories import answer, make_campaign, make_host, make_label, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]

# Of one list: session, person, rights, the switch, counts, rows, filters.
MOST_QUERIES = 12
LISTED = sorted(admin.site._registry, key=lambda model: model._meta.label)
MACHINE_WRITTEN = [model for model, page in admin.site._registry.items() if isinstance(page, ReadOnlyAdmin)]


def list_of(model: Any) -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


def add_one(number: int) -> None:
    """Add a row to every model that may have more than one, each with others around it as a real one has."""
    host, user, at = make_host(hostname=f"db-{number}"), make_user(f"person {number}"), timezone.now()
    label = make_label(f"label {number}", host)
    hourly = Schedule.objects.create(
        query=Query.objects.create(name=f"hourly {number}", sql="SELECT 1"), owner=user, every=60, target={"all": True}
    )
    hook = Hook.objects.create(owner=user, name=f"hook {number}", address="https://192.0.2.1/")
    Delivery.objects.create(hook=hook, message_id=f"msg_{number}", kind="hook.test", body="{}")
    group = Group.objects.create(name=f"group {number}")
    group.permissions.set(Permission.objects.all()[:2])
    user.groups.add(group)
    Presence.objects.create(host=host, last_seen=at)
    campaign = make_campaign(host, by=user)
    answer(campaign, host, {"a": "1"})
    ScheduledRun.objects.create(schedule=hourly, campaign=campaign)
    ApprovalRule.objects.create(group=group, hosts_above=number)
    Quota.objects.create(person=user, rows_kept=number)
    Approval.objects.create(campaign=campaign, digest="d", expires_at=at)
    query = HousekeepingQuery.objects.create(kind="label", label=label, platform="linux", sql="SELECT 1")
    LabelSqlRecord.objects.create(label=label.name, platform=query.platform, action="written", by="x", sql="SELECT 1")
    TableSchema.objects.create(platform="linux", osquery_version=f"5.{number}.0", tables={}, learned_at=at)
    StreamCursor.objects.create(stream=f"stream {number}")
    DeadLetter.objects.create(stream="s", entry=f"1-{number}", reason="broken", fields=b"{}")
    IdempotencyKey.objects.create(user=user, key=str(number), body_digest="d", campaign=campaign)
    Query.objects.create(name=f"q{number}", sql="SELECT 1", created_by=user)
    EnrollSecret.objects.offer(f"s{number}", f"secret of number {number:04}").labels.add(label)
    ApiToken.objects.create(user=user)
    Carve.objects.create(host=host, campaign_id=campaign.pk, carve_id=f"guid {number}", announced_at=at)


@pytest.fixture
def boss(client: Client) -> Client:
    """Give a browser in which an administrator is logged in."""
    client.force_login(make_user("boss", admin=True))
    return client


@pytest.fixture
def few() -> None:
    """Make two rows of everything."""
    kill_switch.turn(make_user("switcher", admin=True), "", on=True)
    for number in range(2):
        add_one(number)


def queries_of(browser: Client, model: Any) -> int:
    with CaptureQueriesContext(connection) as seen:
        assert browser.get(list_of(model)).status_code == 200
    return len(seen)


def test_every_list_asks_the_database_the_same_however_long_it_is(boss: Client, few: None) -> None:
    boss.get(list_of(Host))
    of_few = {model: queries_of(boss, model) for model in LISTED}

    for number in range(2, 8):
        add_one(number)

    of_many = {model: queries_of(boss, model) for model in LISTED}
    assert {model.__name__: many for model, many in of_many.items() if many > min(of_few[model], MOST_QUERIES)} == {}


def test_what_the_machine_writes_has_a_page_to_read_and_no_save(boss: Client, few: None) -> None:
    saves = {}
    field = re.compile(r"<(?:input|textarea|select|button)[^>]*name=\"(?!csrf|theme|next|s\")(\w+)")
    for model in MACHINE_WRITTEN:
        page = boss.get(f"{list_of(model)}{model._default_manager.first().pk}/change/").content.decode()
        saves[model.__name__] = field.findall(page)

    assert len(saves) >= 10
    assert {name: found for name, found in saves.items() if found} == {}


def test_an_action_on_what_is_no_row_is_refused_in_a_sentence(boss: Client, few: None) -> None:
    forms = {model: boss.get(list_of(model)).context["action_form"] for model in LISTED}
    actions = {
        model: [name for name, _ in form.fields["action"].choices if name] for model, form in forms.items() if form
    }

    answers = {
        (model.__name__, action, number): boss.post(list_of(model), {"action": action, "_selected_action": number})
        for model, found in actions.items()
        for action in found
        for number in ("x", "1.5", "")
    }

    assert {told: answer.status_code for told, answer in answers.items() if answer.status_code != 400} == {}
    assert "&#x27;x&#x27; is no number of labels" in answers["Label", "delete_selected", "x"].content.decode()


def test_no_is_a_grey_dash_and_yes_a_tick(boss: Client) -> None:
    host = make_host(hostname="db-01")

    offline = boss.get(list_of(Host)).content.decode()
    Presence.objects.create(host=host, last_seen=timezone.now())
    online = boss.get(list_of(Host)).content.decode()
    people = boss.get(list_of(User)).content.decode()

    assert offline.count('aria-label="no"') == 2
    assert online.count('aria-label="yes"') == 1
    assert "close_small" not in offline + online + people


@pytest.mark.parametrize("name", ["db-01", "mac mini", "ÉCLAIR", "x\u202egnp.exe"])
def test_a_host_is_named_as_it_is(boss: Client, name: str) -> None:
    host = make_host(hostname=name)

    page = boss.get(f"{list_of(Host)}{host.pk}/change/").content.decode()

    assert f"<bdi>{name.replace(chr(0x202E), '⟨U+202E⟩')}</bdi>" in page


def test_lists_and_pages_to_read_show_marks_for_what_cannot_be_seen(boss: Client) -> None:
    hidden = "\u202egnp\u200b<b>"
    host, by = make_host(hostname=hidden), make_user(hidden, admin=True)
    campaign = make_campaign(host, by=by, name=hidden)
    answer(campaign, host, {hidden: hidden})
    make_label(hidden, host)
    Query.objects.create(name=hidden, sql=f"SELECT '{hidden}'", created_by=by)
    DeadLetter.objects.create(stream="s", entry="1-1", reason=hidden, fields=b"{}")

    pages = {model.__name__: boss.get(list_of(model)).content.decode() for model in LISTED}
    for model in MACHINE_WRITTEN:
        if row := model._default_manager.first():
            pages[f"a {model.__name__}"] = boss.get(f"{list_of(model)}{row.pk}/change/").content.decode()

    assert {name for name, page in pages.items() if "\u202e" in page or "\u200b" in page or "gnp<b>" in page} == set()
    assert sum("⟨U+202E⟩gnp⟨U+200B⟩&lt;b&gt;" in page for page in pages.values()) >= 8


def test_fields_of_every_form_wear_the_look_of_the_others(boss: Client) -> None:
    pages = {model.__name__: boss.get(f"{list_of(model)}add/") for model in admin.site._registry}
    forms = {name: page.content.decode() for name, page in pages.items() if page.status_code == 200}
    bare = [
        f"{name}: {field}"
        for name, form in forms.items()
        for field in re.findall(r"<(?:textarea|select|input)\b[^>]*>", form)
        if 'type="hidden"' not in field and "class=" not in field
    ]

    assert {"Label", "Query", "Campaign"} <= forms.keys()
    assert bare == []


def test_hosts_are_saved_by_those_alone_who_may_give_labels(client: Client) -> None:
    user, host = make_user(), make_host()
    client.force_login(user)
    User.objects.filter(pk=user.pk).update(is_staff=True)

    def page_with(*codenames: str) -> str:
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        return client.get(f"{list_of(Host)}{host.pk}/change/").content.decode()

    assert 'name="_save"' not in page_with("view_host", "change_host", "view_label")
    assert 'name="_save"' in page_with("view_host", "change_host", "view_label", "change_label")


# --- menu and start page -----------------------------------------------------------------------------------------


def test_every_model_is_in_one_of_four_groups() -> None:
    grouped = [entry.model for entries in GROUPS.values() for entry in entries]

    assert list(GROUPS) == ["Fleet", "Questions", "Access", "Inner workings"]
    assert sorted(grouped, key=str) == sorted(admin.site._registry, key=str)


def test_the_start_page_has_figures_and_the_menu_of_each(boss: Client, client: Client, few: None) -> None:
    page = boss.get("/admin/").content.decode()
    assert "Site administration" not in page
    figures = dict(re.findall(r"<span>([^<]+)</span>\s*<b>([^<]+)</b>", page))
    assert figures["Hosts online"] == "2"
    assert figures["Campaigns under way"] == "2"
    assert figures["Dead letters"] == "2"

    observer = make_user("staff")
    User.objects.filter(pk=observer.pk).update(is_staff=True)
    observer.user_permissions.set(Permission.objects.filter(codename="view_host"))
    client.force_login(observer)
    own = client.get("/admin/").content.decode()

    assert "Hosts online" in own
    assert not any(other in own for other in ("Dead letters", "Campaigns under way", "People", "Inner workings"))


def test_the_kill_switch_is_a_banner_on_every_page_of_the_admin(boss: Client, few: None) -> None:
    kill_switch.turn(make_user("chief", admin=True), "a bad query", on=False)

    for address in ("/admin/", list_of(Host), f"{list_of(Host)}{Host.objects.first().pk}/change/", "/admin/auth/"):
        page = boss.get(address).content.decode()
        assert page.count("Live queries were switched off by chief: a bad query.") == 1, address


@pytest.mark.parametrize(("chosen", "shown"), [("dark", "dark"), ("light", "light"), ("", "auto")])
def test_the_admin_has_the_theme_of_the_console(boss: Client, chosen: str, shown: str) -> None:
    boss.cookies["fleet_theme"] = chosen

    assert f'class="{shown}"' in boss.get("/admin/").content.decode()
