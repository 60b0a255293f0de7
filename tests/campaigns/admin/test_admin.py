"""The admin: adding a campaign launches it, machine-written rows stay as they are, hosts and secrets are revoked."""

import re
from collections.abc import Callable

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.utils import timezone

from agents.board import keyspace, redis_client
from agents.enrolling.revocation import revoke
from agents.models import EnrollSecret, Host, HousekeepingQuery, Label, LabelMembership, Presence
from campaigns.collecting.models import DeadLetter, StreamCursor
from campaigns.models import Campaign, IdempotencyKey, Query, Result, Target, TargetRange
from campaigns.people.scopes import Scope
from campaigns.states import State
from campaigns.tokens import ApiToken
from tests.factories import make_campaign, make_host, make_hosts, make_label, make_user, usable_secret
from tests.pages import text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board", "plain_pages")]

MODELS = [
    ApiToken,
    Campaign,
    DeadLetter,
    EnrollSecret,
    Host,
    IdempotencyKey,
    Label,
    Presence,
    Query,
    Result,
    StreamCursor,
    Target,
    TargetRange,
]
MACHINE_WRITTEN = [DeadLetter, IdempotencyKey, Presence, Result, StreamCursor, Target, TargetRange]
LAUNCH = {"sql": "SELECT 1", "kind": "all", "timeout": "60", "name": "", "reason": "", "hosts": ""}
ADD, LIST = "/admin/campaigns/campaign/add/", "/admin/campaigns/campaign/"


ADDRESSES = (
    "abc/change/",
    "abc/delete/",
    "abc/history/",
    "99999999999999999999/change/",
    "%00/change/",
    "abc/stop/",
    "1_00/stop/",
)
QUESTIONS = ("?q=%00", "?q=abc", "?q=99999999999999999999", "?id=abc", "?id__exact=%00", "?p=abc", "?o=abc", "?all=%00")


@pytest.fixture
def boss(client: Client) -> Client:
    """Give a browser in which an administrator is logged in."""
    client.force_login(make_user("boss", admin=True))
    return client


@pytest.fixture
def things() -> Campaign:
    """Give at least two rows of every model."""
    hosts = make_hosts(2)
    make_label("web", *hosts)
    user = make_user("somebody")
    for number, host in enumerate(hosts):
        Presence.objects.create(host=host, last_seen=timezone.now())
        campaign = make_campaign(host, by=user)
        Result.objects.create(
            campaign=campaign,
            host=host,
            hostname=host.hostname,
            seq=1,
            state=State.ANSWERED,
            rows=[{"a": "<i>1</i>"}] * 30,
            row_count=30,
            received_at=timezone.now(),
        )
        StreamCursor.objects.create(stream=f"stream {number}")
        DeadLetter.objects.create(stream="s", entry=f"1-{number}", reason="broken", fields=b'{"r": "x"}')
        IdempotencyKey.objects.create(user=user, key=str(number), body_digest="d", campaign=campaign)
        Query.objects.create(name=f"q{number}", sql="SELECT 1", created_by=user)
        EnrollSecret.objects.offer(f"s{number}", f"secret of number {number}")
        ApiToken.objects.create(user=user)
    return campaign


# --- every model -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_lists_ask_the_database_the_same_however_long_they_are(
    boss: Client, things: Campaign, model: type, django_assert_max_num_queries: Callable[[int], object]
) -> None:
    address = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"  # type: ignore[attr-defined]
    boss.get(address)

    with django_assert_max_num_queries(12) as seen:  # type: ignore[attr-defined]
        assert boss.get(address).status_code == 200
    many = len(seen)
    model.objects.filter(pk=model.objects.first().pk).delete()  # type: ignore[attr-defined]
    with django_assert_max_num_queries(many):  # type: ignore[attr-defined]
        boss.get(address)


@pytest.mark.parametrize("model", MODELS)
def test_every_row_has_a_page_and_can_be_searched(boss: Client, things: Campaign, model: type) -> None:
    address = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"  # type: ignore[attr-defined]
    row = model.objects.first()  # type: ignore[attr-defined]

    assert boss.get(f"{address}?q=1").status_code == 200
    page = boss.get(f"{address}{row.pk}/change/")
    assert page.status_code == 200
    assert "<i>1</i>" not in text_of(page)
    assert re.findall(r"<style\b|\sstyle=", text_of(page)) == []  # the policy lets none in


@pytest.mark.parametrize("model", MACHINE_WRITTEN)
def test_what_the_machine_writes_nobody_touches(boss: Client, things: Campaign, model: type) -> None:
    address = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"  # type: ignore[attr-defined]
    row = model.objects.first()  # type: ignore[attr-defined]

    assert boss.get(f"{address}add/").status_code == 403
    assert boss.post(f"{address}{row.pk}/change/", {}).status_code == 403
    assert boss.post(f"{address}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin.site._registry[model].show_full_result_count is False


def test_facts_of_hosts_are_read_only(boss: Client) -> None:
    host = make_host(hostname="true-name")
    memberships = {"labelmembership_set-TOTAL_FORMS": "0", "labelmembership_set-INITIAL_FORMS": "0"}

    boss.post(f"/admin/agents/host/{host.pk}/change/", {"hostname": "other", **memberships})

    host.refresh_from_db()
    assert host.hostname == "true-name"
    assert boss.get("/admin/agents/host/add/").status_code == 403
    assert boss.post(f"/admin/agents/host/{host.pk}/delete/", {"post": "yes"}).status_code == 403


def test_users_and_groups_are_kept_here(boss: Client) -> None:
    for path in ["auth/user/", "auth/user/add/", "auth/group/", "auth/group/add/", ""]:
        assert boss.get(f"/admin/{path}").status_code == 200


# --- campaigns -------------------------------------------------------------------------------------------------


def test_adding_a_campaign_launches_it(boss: Client) -> None:
    make_host(), make_host(platform="windows")

    response = boss.post(ADD, {**LAUNCH, "kind": "platforms", "platforms": ["windows"], "name": "pids"})

    campaign = Campaign.objects.get()
    assert response["Location"] == f"/admin/campaigns/campaign/{campaign.pk}/change/"
    assert (campaign.target, campaign.expected, campaign.name) == ({"platforms": ["windows"]}, 1, "pids")
    assert campaign.created_by == User.objects.get(username="boss")
    assert campaign.ranges.count() == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sql": "SELEC"}, "syntax error"),
        ({"kind": ""}, "Choose who to ask"),
        ({"kind": "labels", "labels": ["nope"]}, "unknown label"),
        ({"kind": "hosts", "hosts": "nowhere"}, "unknown host"),
        ({"timeout": "3"}, "timeout 3 is below the minimum of 10 seconds"),
    ],
)
def test_what_the_launch_refuses_is_an_error_of_the_form(
    boss: Client, changes: dict[str, object], sentence: str
) -> None:
    make_host()

    response = boss.post(ADD, {**LAUNCH, **changes})

    assert response.status_code == 200
    assert sentence in text_of(response)
    assert not Campaign.objects.exists()


def test_only_the_name_and_the_pin_change_afterwards(boss: Client) -> None:
    campaign = make_campaign(make_host(), sql="SELECT 1")

    boss.post(f"{LIST}{campaign.pk}/change/", {"name": "other", "pinned": "on", "sql": "SELECT 2", "timeout": "99"})

    campaign.refresh_from_db()
    assert (campaign.name, campaign.pinned, campaign.sql, campaign.timeout) == ("other", True, "SELECT 1", 60)
    assert boss.post(f"{LIST}{campaign.pk}/delete/", {"post": "yes"}).status_code == 403


def test_a_campaigns_page_follows_it_live(boss: Client) -> None:
    campaign = make_campaign(make_host())

    page = text_of(boss.get(f"{LIST}{campaign.pk}/change/"))

    assert f'data-campaign="{campaign.pk}"' in page
    assert "campaigns/built/campaign.js" in page
    assert 'data-live="answered"' in page
    assert boss.get(f"{LIST}{campaign.pk}/stop/")["Location"] == f"/campaigns/{campaign.pk}/stop/"


def test_the_stop_action_stops_and_names_what_is_over(boss: Client) -> None:
    running, over = make_campaign(make_host()), make_campaign(make_host())
    Campaign.objects.filter(pk=over.pk).update(status="completed")

    response = boss.post(LIST, {"action": "stop_campaigns", "_selected_action": [running.pk, over.pk]}, follow=True)

    running.refresh_from_db()
    assert running.ended_by == "boss"
    assert f"campaign {over.pk} is completed already" in text_of(response)


def test_who_may_only_look_does_not_stop(client: Client) -> None:
    viewer = make_user("viewer")
    viewer.is_staff = True
    viewer.save()
    viewer.user_permissions.set(Permission.objects.filter(codename="view_campaign"))
    client.force_login(viewer)
    campaign = make_campaign(make_host())

    client.post(LIST, {"action": "stop_campaigns", "_selected_action": [campaign.pk]})

    campaign.refresh_from_db()
    assert campaign.ended_by == ""
    assert client.get(ADD).status_code == 403


# --- hosts, labels, secrets ------------------------------------------------------------------------------------


def test_revoking_refuses_the_hosts_keys_at_once(boss: Client) -> None:
    host, other = make_host(epoch=3), make_host()

    boss.post("/admin/agents/host/", {"action": "revoke_hosts", "_selected_action": [host.pk]}, follow=True)

    host.refresh_from_db()
    other.refresh_from_db()
    assert host.revoked_at is not None
    assert host.epoch_floor == 4
    assert redis_client.client().hgetall(keyspace.FLOORS) == {str(host.pk).encode(): b"4"}
    assert other.revoked_at is None
    assert host.hostname not in text_of(boss.get("/admin/agents/host/"))
    assert host.hostname in text_of(boss.get("/admin/agents/host/?enrolled=no"))


def test_revoking_twice_keeps_the_first_time() -> None:
    host = make_host()
    first = revoke(host).revoked_at

    again = revoke(host)

    assert again.revoked_at == first
    assert again.epoch_floor == host.epoch + 1


def test_hosts_are_put_into_a_label_by_any_of_their_names(boss: Client) -> None:
    by_name, by_serial, by_id = make_host(hostname="web-1"), make_host(hardware_serial="S 1"), make_host()
    label = make_label("web", by_name)
    body = {
        "name": "web",
        "description": "",
        "add_hosts": f"web-1\nS 1, #{by_id.pk}",
        "labelmembership_set-TOTAL_FORMS": "0",
        "labelmembership_set-INITIAL_FORMS": "0",
    }

    boss.post(f"/admin/agents/label/{label.pk}/change/", body)
    refused = boss.post(f"/admin/agents/label/{label.pk}/change/", {**body, "add_hosts": "nowhere"})

    assert set(label.hosts.all()) == {by_name, by_serial, by_id}
    assert "unknown host: &#x27;nowhere&#x27;" in text_of(refused)


def test_a_label_with_many_hosts_is_shown_in_pages(boss: Client) -> None:
    label = make_label("all", *make_hosts(60))

    page = text_of(boss.get(f"/admin/agents/label/{label.pk}/change/"))

    assert page.count('name="labelmembership_set-') < 120
    assert LabelMembership.objects.filter(label=label).count() == 60


def test_who_deletes_labels_is_told_how_many_hosts_leave_and_of_none_outside_his_scope(
    boss: Client, client: Client
) -> None:
    inside, outside = make_hosts(2), make_hosts(3)
    team, both = make_label("team", *inside), make_label("both", *inside, *outside)
    page = f"/admin/agents/label/{both.pk}/delete/"
    chosen = {"action": "delete_selected", "_selected_action": [both.pk]}
    assert "label both (5 hosts leave it)" in text_of(boss.get(page))

    clerk = make_user("clerk")
    User.objects.filter(pk=clerk.pk).update(is_staff=True)
    team_of_clerk = Group.objects.create(name="clerks")
    clerk.groups.set([team_of_clerk, Group.objects.get(name="Administrator")])
    Scope.objects.create(group=team_of_clerk).labels.set([team])
    client.force_login(clerk)

    for shown in (client.get(page), client.post("/admin/agents/label/", chosen)):
        text = text_of(shown)
        assert "has hosts outside of your scope" in text
        assert not any(f"host {host.pk} " in text or host.hostname in text for host in outside)
    client.post(page, {"post": "yes"})
    client.post("/admin/agents/label/", {**chosen, "post": "yes"})
    assert Label.objects.filter(pk=both.pk).exists()


def test_a_new_enroll_secret_is_shown_once(boss: Client) -> None:
    response = boss.post("/admin/agents/enrollsecret/add/", {"name": "laptops"}, follow=True)

    secret = text_of(response).split("The secret is ")[1].split(" ")[0]
    assert usable_secret(secret) == EnrollSecret.objects.get(name="laptops")
    assert secret not in text_of(boss.get("/admin/agents/enrollsecret/"))


def test_a_revoked_secret_lets_nobody_in(boss: Client) -> None:
    offered = EnrollSecret.objects.offer("laptops", "s3cret-of-16-characters")

    boss.post("/admin/agents/enrollsecret/", {"action": "revoke_secrets", "_selected_action": [offered.pk]})

    assert usable_secret("s3cret-of-16-characters") is None
    assert boss.post(f"/admin/agents/enrollsecret/{offered.pk}/delete/", {"post": "yes"}).status_code == 403


def test_tokens_are_taken_away_and_never_made_here(boss: Client) -> None:
    token, _ = ApiToken.objects.create(user=make_user("bot"))

    assert boss.get("/admin/campaigns/apitoken/add/").status_code == 403
    boss.post(
        "/admin/campaigns/apitoken/", {"action": "delete_selected", "_selected_action": [token.pk], "post": "yes"}
    )
    assert not ApiToken.objects.exists()


def test_a_label_is_given_sql_that_is_checked_and_asked(boss: Client) -> None:
    members = {"labelmembership_set-TOTAL_FORMS": "0", "labelmembership_set-INITIAL_FORMS": "0"}
    address = "/admin/agents/label/add/"
    wrong = boss.post(address, {**members, "name": "web", "sql_linux": "SELEC 1"})
    assert "syntax error" in text_of(wrong)
    assert not Label.objects.filter(name="web").exists()

    boss.post(address, {**members, "name": "web", "sql_linux": "SELECT 1"})

    label = Label.objects.get(name="web")
    assert [(query.platform, query.sql) for query in label.queries.all()] == [("linux", "SELECT 1")]
    assert "SELECT 1" in text_of(boss.get(f"/admin/agents/label/{label.pk}/change/"))
    boss.post(f"/admin/agents/label/{label.pk}/delete/", {"post": "yes"})
    assert not HousekeepingQuery.objects.filter(kind="label").exists()


@pytest.mark.parametrize("model", admin.site._registry)
def test_an_address_that_makes_no_sense_is_missing(boss: Client, model: type) -> None:
    page = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"

    for address in ADDRESSES + QUESTIONS:
        assert boss.get(f"{page}{address}").status_code < 500, address
