"""The second person: what a rule catches waits, and only somebody else's yes to exactly that lets it begin."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Barrier, Thread
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from agents.models import ConfigDocument, Host
from campaigns.answers.models import AuditRecord
from campaigns.launching import approvals, control
from campaigns.launching.approval_diff import diff
from campaigns.launching.launch import Order, launch
from campaigns.launching.models import Approval, ApprovalRule
from campaigns.launching.windows import read
from campaigns.models import Campaign, Query, TargetRange
from campaigns.people import roles
from campaigns.people.scopes import Scope
from campaigns.running.joining import add_late_joiners
from campaigns.running.sweeps import sweep
from campaigns.running.targeting import write_range
from campaigns.states import Status
from fleet.audit.models import AuditEvent
from fleet.errors import FleetError
from tests.factories import end, make_campaign, make_host, make_hosts, make_label, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Api = Callable[[User | None], APIClient]
ORDER = {"sql": "SELECT 1", "target": {"all": True}}
EVERY_HOUR = [{"from": "00:00", "to": "24:00"}]


def approver(name: str) -> User:
    made = make_user(name)
    made.user_permissions.set(Permission.objects.filter(codename__in=["approve_campaign", "view_campaign"]))
    return made


@pytest.fixture
def bob(db: None) -> User:
    """Give a person who may approve, and may not launch."""
    return approver("bob")


@pytest.fixture
def rule(operator: User) -> ApprovalRule:
    """Give the rule of the operator's group: more than two hosts need a second person."""
    group = Group.objects.create(name="helpdesk")
    operator.groups.add(group)
    return ApprovalRule.objects.create(group=group, hosts_above=2)


def post(client: APIClient, path: str, body: Any = None) -> Any:
    return client.post(f"/api/v1/campaigns/{path}", body or {}, format="json")


def waiting(by: User, **more: Any) -> Campaign:
    """Launch what waits."""
    campaign = launch(Order(**{**ORDER, **more}), by)
    assert (campaign.status, campaign.waits_for) == ("scheduled", "approval")
    return campaign


def write_all(campaign: Campaign) -> Campaign:
    for number in list(campaign.ranges.values_list("number", flat=True)):
        write_range(campaign.pk, number)
    campaign.refresh_from_db()
    return campaign


def asked_hosts(campaign: Campaign) -> set[int]:
    return set(write_all(campaign).targets.values_list("host_id", flat=True))


# --- what waits ------------------------------------------------------------------------------------------------


def test_a_launch_over_as_many_hosts_as_the_rule_says_begins_at_once(operator: User, rule: ApprovalRule) -> None:
    make_hosts(2)

    assert launch(Order(**ORDER), operator).status == Status.TARGETING


def test_a_launch_over_more_hosts_than_the_rule_says_waits_and_the_frozen_hosts_are_asked_once_approved(
    api: Api, operator: User, bob: User, rule: ApprovalRule
) -> None:
    hosts = make_hosts(3)
    said = post(api(operator), "estimate/", ORDER).json()["approval"]
    launched = post(api(operator), "", ORDER).json()
    make_host()  # enrolled later: not approved

    assert said == {"why": ["more than 2 hosts"], "expires_after": 86_400}
    assert (launched["status"], launched["waits_for"], launched["expected"]) == ("scheduled", "approval", 3)
    sweep()
    campaign = Campaign.objects.get(pk=launched["id"])
    assert campaign.status == Status.SCHEDULED
    assert api(operator).get("/api/v1/campaigns/").json()["results"][0]["waits_for"] == "approval"

    told = post(api(bob), f"{campaign.pk}/approve/")

    assert (told.status_code, told.json()["status"], told.json()["waits_for"]) == (200, "targeting", None)
    assert asked_hosts(campaign) == {host.pk for host in hosts}
    assert campaign.approval.why == ["more than 2 hosts"]
    record = AuditRecord.objects.get(campaign_id=campaign.pk)
    assert [(said["what"], said["by"]) for said in record.approvals] == [("asked", "operator"), ("approved", "bob")]
    lines = (
        AuditEvent.objects.filter(action__startswith="approval.").order_by("pk").values_list("action", "who", "subject")
    )
    subject = f"campaign {campaign.pk}"
    assert list(lines) == [("approval.asked", "operator", subject), ("approval.approved", "bob", subject)]


CATCHES: list[tuple[dict[str, Any], str, bool]] = [
    ({"hosts_above": 3}, "SELECT 1", False),
    ({"hosts_above": 2}, "SELECT 1", True),
    ({"hosts_above": 0}, "SELECT 1", True),
    ({"tables": ["Users"]}, "SELECT * FROM users", True),
    ({"tables": [" users\t"]}, "SELECT * FROM users", True),
    ({"tables": ["users"]}, 'SELECT 1 FROM "USERS" AS x', True),
    ({"tables": ["users"]}, "WITH a AS (SELECT uid FROM main.[uSers]) SELECT 1 WHERE 0 IN (SELECT * FROM a)", True),
    ({"tables": ["users"]}, "SELECT (SELECT max(uid) FROM 'USERS')", True),
    ({"tables": ["users"]}, "SELECT * FROM `people of ours`", True),
    ({"tables": ["users"]}, "SELECT 'users' AS word", False),
    ({"tables": ["users"]}, "SELECT * FROM uptime", False),
    ({"hours": EVERY_HOUR}, "SELECT 1", True),
    ({}, "SELECT 1", False),
]


def test_a_rule_catches_hosts_tables_and_hours(operator: User, rule: ApprovalRule) -> None:
    make_hosts(3)
    ConfigDocument.objects.create(pk=1, document={"views": {"People of Ours": "SELECT uid FROM Users"}})
    found = []

    for changes, sql, _ in CATCHES:
        kept = {"hosts_above": None, "tables": [], "hours": [], **changes}
        ApprovalRule.objects.filter(pk=rule.pk).update(**kept)
        campaign = launch(Order(sql, {"all": True}), operator)
        assert (campaign.status == Status.SCHEDULED) == bool(campaign.waits_for)
        found.append((changes, sql, campaign.waits_for == "approval"))

    assert found == CATCHES


def test_the_strictest_of_all_groups_decides_and_the_rule_of_everybody_holds_for_superusers(
    operator: User, rule: ApprovalRule
) -> None:
    make_hosts(3)
    lenient = Group.objects.create(name="lenient")
    operator.groups.add(lenient)
    ApprovalRule.objects.create(group=lenient, hosts_above=1000, expires_after=600)
    boss = make_user("boss", admin=True)

    assert waiting(operator).approval.wait == 86_400
    assert launch(Order(**ORDER), boss).status == Status.TARGETING
    ApprovalRule.objects.create(group=None, hosts_above=2, expires_after=60)
    assert waiting(boss).approval.wait == 60
    assert waiting(operator).approval.wait == 60


def test_windows_know_their_days_their_zone_and_midnight() -> None:
    night = read([{"days": ["fri"], "from": "20:00", "to": "06:00", "zone": "Europe/Berlin"}])[0]
    whole = read([{"days": ["sun", "sat"], "from": "00:00", "to": "24:00"}])[0]

    def at(day: int, hour: int, minute: int = 0) -> datetime:
        return datetime(2026, 11, day, hour, minute, tzinfo=UTC)  # the 27th is a Friday; Berlin is an hour ahead

    assert [night.holds(at(27, 18, 59)), night.holds(at(27, 19)), night.holds(at(28, 4, 59))] == [False, True, True]
    assert [night.holds(at(28, 5)), night.holds(at(28, 20)), night.holds(at(27, 4))] == [False, False, False]
    assert [whole.holds(at(28, 0)), whole.holds(at(29, 23, 59)), whole.holds(at(27, 23, 59))] == [True, True, False]
    assert str(whole) == "sat, sun 00:00 to 24:00 UTC"


def test_a_rerun_and_a_one_host_console_are_launches_too(api: Api, operator: User, rule: ApprovalRule) -> None:
    hosts = make_hosts(3)
    ended = end(make_campaign(*hosts, by=make_user("boss", admin=True)))

    again = post(api(operator), f"{ended.pk}/rerun/", {"states": ["missed"]}).json()

    assert (again["waits_for"], again["parent"]) == ("approval", ended.pk)


def test_a_scheduled_start_is_looked_at_again_when_its_time_comes(
    operator: User, bob: User, rule: ApprovalRule
) -> None:
    label = make_label("web", *make_hosts(2))
    soon = timezone.now() + timedelta(hours=1)
    campaign = launch(Order("SELECT 1", {"labels": ["web"]}, start_at=soon), operator)
    assert (campaign.status, campaign.waits_for) == ("scheduled", "")
    label.hosts.add(make_host())

    Campaign.objects.filter(pk=campaign.pk).update(start_at=timezone.now())
    sweep()

    campaign.refresh_from_db()
    assert (campaign.status, campaign.waits_for, campaign.expected) == ("scheduled", "approval", 3)
    approvals.approve(campaign.pk, bob)
    assert len(asked_hosts(campaign)) == 3


def test_what_is_approved_before_its_time_begins_at_its_time_over_the_frozen_hosts(
    operator: User, bob: User, rule: ApprovalRule
) -> None:
    label = make_label("web", *make_hosts(3))
    later = timezone.now() + timedelta(hours=1)
    campaign = waiting(operator, target={"labels": ["web"]}, start_at=later)
    label.hosts.add(make_host())

    approvals.approve(campaign.pk, bob)
    sweep()
    campaign.refresh_from_db()
    assert (campaign.status, campaign.waits_for) == ("scheduled", "")

    let_its_time_come(campaign)
    sweep()
    assert len(asked_hosts(campaign)) == 3


def lose_scope(user: User) -> None:
    team = Group.objects.create(name="team")
    Scope.objects.create(group=team)
    user.groups.add(team)


LOSSES: dict[str, Callable[[User], object]] = {
    "is deactivated": lambda user: User.objects.filter(pk=user.pk).update(is_active=False),
    "may not launch campaigns any more": lambda user: user.user_permissions.clear(),
    "does not see all of its hosts any more": lose_scope,
}


@pytest.mark.parametrize("said", LOSSES)
def test_nothing_begins_for_who_may_launch_it_no_more(operator: User, bob: User, rule: ApprovalRule, said: str) -> None:
    make_hosts(3)
    soon = timezone.now() + timedelta(hours=1)
    asked, promised = waiting(operator), waiting(operator, start_at=soon)
    approvals.approve(promised.pk, bob)
    let_its_time_come(promised)
    rule.delete()
    planned = launch(Order(**ORDER, start_at=soon), operator)
    let_its_time_come(planned)

    LOSSES[said](operator)
    sweep()

    with pytest.raises(FleetError, match=f"campaign {asked.pk} cannot begin: operator, who launched it, {said}"):
        approvals.approve(asked.pk, bob)
    outcomes = Campaign.objects.in_bulk()
    assert outcomes[asked.pk].waits_for == "approval"
    assert [outcomes[one.pk].status for one in (promised, planned)] == ["stopped", "stopped"]
    assert said in outcomes[promised.pk].ended_reason
    assert outcomes[planned.pk].ended_reason in (
        f"operator, who launched it, {said}",
        'target {"all": true} selects no enrolled host',  # all that he still sees
    )


# --- who decides -----------------------------------------------------------------------------------------------


def test_only_a_second_person_with_the_permission_and_sight_of_all_hosts_decides(
    api: Api, operator: User, bob: User, observer: User, rule: ApprovalRule
) -> None:
    hosts = make_hosts(3)
    team = Group.objects.create(name="team")
    Scope.objects.create(group=team).labels.add(make_label("some", *hosts[:2]))
    limited = approver("limited")
    limited.groups.add(team)
    operator.user_permissions.add(Permission.objects.get(codename="approve_campaign"))
    operator = User.objects.get(pk=operator.pk)
    campaign = waiting(operator)

    said = {
        name: [post(api(user), f"{campaign.pk}/{verb}/", body) for verb, body in VERBS]
        for name, user in {"self": operator, "observer": observer, "limited": limited, "nobody": None}.items()
    }

    assert {name: [one.status_code for one in answers] for name, answers in said.items()} == {
        "self": [403, 403],
        "observer": [403, 403],
        "limited": [403, 403],
        "nobody": [403, 403] if said["nobody"][0].status_code == 403 else [401, 401],
    }
    assert said["self"][0].json()["error"] == (
        f"campaign {campaign.pk} was launched by you: a second person has to decide"
    )
    assert "beyond your scope" in said["limited"][0].json()["error"]
    campaign.refresh_from_db()
    assert campaign.waits_for == "approval"
    listed = {user.username: shown(api(user), "waiting=me") for user in (operator, limited, bob)}
    assert listed == {"operator": [], "limited": [], "bob": [campaign.pk]}


def test_who_sees_a_part_of_a_request_is_told_nothing_that_counts_the_others(
    api: Api, operator: User, bob: User, rule: ApprovalRule, client: Client
) -> None:
    hosts = make_hosts(4)
    limited = approver("limited")
    limited.groups.add(Group.objects.create(name="team"))
    Scope.objects.create(group=limited.groups.get()).labels.add(make_label("some", hosts[0]))
    earlier, campaign = (waiting(operator, rollout={"canary": {"count": n}, "then": "ask"}) for n in (2, 3))
    approvals.approve(earlier.pk, bob)
    write_all(earlier)
    Campaign.objects.filter(pk=campaign.pk).update(warnings=["4 hosts are slow"])
    client.force_login(limited)

    listed = api(limited).get("/api/v1/approvals/?state=waiting").json()["results"]
    told = api(limited).get(f"/api/v1/approvals/{campaign.pk}/").json()
    whole = api(bob).get(f"/api/v1/approvals/{campaign.pk}/").json()
    page = client.get(f"/approvals/{campaign.pk}/").content.decode()

    for one in (*listed, told):
        assert (one["hosts"], one["more_hosts"], one["digest"], one["why"]) == (1, True, "", [])
        assert one["limits"]["rollout"] == {"then": "ask"}
    assert (len(listed), told["diff"]["limits"], told["diff"]["same_hosts"]) == (1, {}, 1)
    assert whole["digest"]
    assert whole["diff"]["limits"]["rollout"]["now"]["canary"] == {"count": 3}
    assert "there are more" in page
    assert not {"4 hosts", "3 hosts", "2 hosts"} & {page[at : at + 7] for at in range(len(page))}


VERBS: list[tuple[str, Any]] = [("approve", None), ("reject", {"reason": "no"})]


def shown(client: APIClient, question: str) -> list[int]:
    return [one["campaign"] for one in client.get(f"/api/v1/approvals/?{question}").json()["results"]]


def test_a_rejection_needs_a_reason_and_stops_the_campaign(
    api: Api, operator: User, bob: User, rule: ApprovalRule
) -> None:
    make_hosts(3)
    campaign = waiting(operator)

    for body in ({}, {"reason": " "}, {"reason": "x" * 2001}, {"why": "no"}):
        assert post(api(bob), f"{campaign.pk}/reject/", body).status_code == 400
    told = post(api(bob), f"{campaign.pk}/reject/", {"reason": "ask the lab first"}).json()

    assert (told["status"], told["ended_by"], told["waits_for"]) == ("stopped", "bob", None)
    assert told["ended_reason"] == "rejected: ask the lab first"
    late = post(api(approver("carol")), f"{campaign.pk}/approve/")
    assert late.status_code == 409
    assert late.json()["error"] == f"campaign {campaign.pk} was rejected by bob: rejected: ask the lab first"
    assert shown(api(bob), "by=me") == shown(api(operator), "by=me") == [campaign.pk]


def test_the_approver_takes_the_yes_back_until_the_start_and_who_asked_the_whole_launch(
    api: Api, operator: User, bob: User, rule: ApprovalRule
) -> None:
    make_hosts(3)
    carol, later = approver("carol"), timezone.now() + timedelta(hours=1)
    campaign = waiting(operator, start_at=later)
    approvals.approve(campaign.pk, bob)

    assert post(api(carol), f"{campaign.pk}/withdraw/").status_code == 403
    assert post(api(bob), f"{campaign.pk}/withdraw/").json()["waits_for"] == "approval"
    assert post(api(bob), f"{campaign.pk}/withdraw/").status_code == 403
    assert post(api(carol), f"{campaign.pk}/approve/").status_code == 200
    told = post(api(operator), f"{campaign.pk}/withdraw/").json()

    assert (told["status"], told["ended_reason"]) == ("stopped", "withdrawn by operator before it began")
    record = AuditRecord.objects.get(campaign_id=campaign.pk)
    assert [said["what"] for said in record.approvals] == ["asked", "approved", "withdrawn", "approved", "withdrawn"]
    begun = waiting(operator)
    approvals.approve(begun.pk, bob)
    assert post(api(bob), f"{begun.pk}/withdraw/").status_code == 409


def test_a_sweeper_whose_clock_jumped_ends_no_request(operator: User, rule: ApprovalRule) -> None:
    make_hosts(3)
    campaign = waiting(operator)

    with time_machine.travel(timezone.now() + timedelta(days=400)):
        sweep()

    campaign.refresh_from_db()
    assert campaign.waits_for == "approval"


def test_nobody_s_yes_in_time_stops_it(api: Api, operator: User, bob: User, rule: ApprovalRule) -> None:
    make_hosts(3)
    campaign, in_time = waiting(operator), waiting(operator)
    Approval.objects.filter(campaign=campaign).update(expires_at=timezone.now())

    late = post(api(bob), f"{campaign.pk}/approve/")
    sweep()

    assert late.status_code == 409
    assert "its request expired on" in late.json()["error"]
    campaign.refresh_from_db()
    assert (campaign.status, campaign.ended_by, campaign.waits_for) == ("stopped", "approval", "")
    assert campaign.ended_reason.startswith("nobody approved it until ")
    assert post(api(bob), f"{in_time.pk}/approve/").status_code == 200


def test_a_yes_that_is_taken_back_after_the_time_to_give_it_leaves_nobody_waiting(
    operator: User, bob: User, rule: ApprovalRule
) -> None:
    make_hosts(3)
    campaign = waiting(operator, start_at=timezone.now() + timedelta(days=2))
    approvals.approve(campaign.pk, bob)
    Approval.objects.update(expires_at=timezone.now())

    approvals.withdraw(campaign.pk, bob)

    campaign.refresh_from_db()
    assert (campaign.status, campaign.ended_by, campaign.waits_for) == ("stopped", "approval", "")


# --- what the yes is bound to ----------------------------------------------------------------------------------

DIFFERENCES: dict[str, Callable[[Campaign], Any]] = {
    "sql": lambda campaign: Campaign.objects.filter(pk=campaign.pk).update(sql="SELECT 2"),
    "timeout": lambda campaign: Campaign.objects.filter(pk=campaign.pk).update(timeout=9999),
    "answer_within": lambda campaign: Campaign.objects.filter(pk=campaign.pk).update(answer_within=20),
    "rollout": lambda campaign: Campaign.objects.filter(pk=campaign.pk).update(rollout={"per_second": 5}),
    "force": lambda campaign: Campaign.objects.filter(pk=campaign.pk).update(is_forced=True),
    "late": lambda campaign: Campaign.objects.filter(pk=campaign.pk).update(include_late_joiners=True),
    "person": lambda campaign: Campaign.objects.filter(pk=campaign.pk).update(created_by=None),
    "hosts": lambda campaign: TargetRange.objects.filter(campaign=campaign).update(hosts=b"\xff" * 8192),
}


def test_whatever_differs_at_the_start_voids_the_approval(operator: User, bob: User, rule: ApprovalRule) -> None:
    make_hosts(3)
    said = {}

    for name in ("nothing", *DIFFERENCES):
        campaign = waiting(operator, start_at=timezone.now() + timedelta(hours=1))
        approvals.approve(campaign.pk, bob)
        let_its_time_come(campaign)
        if name in DIFFERENCES:
            DIFFERENCES[name](campaign)
        sweep()
        campaign.refresh_from_db()
        said[name] = campaign.ended_reason if campaign.status == Status.STOPPED else campaign.status

    assert said.pop("nothing") == "targeting"
    assert [name for name, reason in said.items() if "differs from what was approved" not in reason] == []


def let_its_time_come(campaign: Campaign) -> None:
    """Turn the clock for an approved campaign, as if it had been approved for this moment."""
    campaign.start_at = timezone.now() - timedelta(seconds=1)
    campaign.save(update_fields=["start_at"])
    Approval.objects.filter(campaign=campaign).update(digest=approvals.digest_of(campaign))


def test_a_yes_to_something_else_than_was_looked_at_is_refused(
    api: Api, operator: User, bob: User, rule: ApprovalRule
) -> None:
    make_hosts(3)
    campaign = waiting(operator)

    other = post(api(bob), f"{campaign.pk}/approve/", {"digest": "f" * 64})
    seen = api(bob).get(f"/api/v1/approvals/{campaign.pk}/").json()

    assert other.status_code == 409
    assert post(api(bob), f"{campaign.pk}/approve/", {"digest": seen["digest"]}).status_code == 200


def test_nobody_joins_beyond_what_was_approved_or_needs_no_approval(
    operator: User, bob: User, rule: ApprovalRule
) -> None:
    make_hosts(2)
    alone = write_all(launch(Order(**ORDER, include_late_joiners=True), operator))
    assert alone.status == Status.RUNNING
    make_host()
    approved = waiting(operator, include_late_joiners=True)
    approvals.approve(approved.pk, bob)
    write_all(approved)
    make_host()

    assert [add_late_joiners(alone.pk), add_late_joiners(approved.pk)] == [0, 0]

    for campaign, hosts in ((alone, 2), (approved, 3)):
        campaign.refresh_from_db()
        assert campaign.count_targeted == hosts
        assert any("nobody joins" in warning for warning in campaign.warnings)


# --- races -----------------------------------------------------------------------------------------------------


def test_of_several_who_decide_at_once_one_is_heard_and_the_others_are_told(
    operator: User, bob: User, rule: ApprovalRule
) -> None:
    make_hosts(3)
    carol = approver("carol")
    for _ in range(4):
        campaign = waiting(operator)
        verbs: list[Callable[[], Any]] = [
            partial(approvals.approve, campaign.pk, bob),
            partial(approvals.approve, campaign.pk, carol),
            partial(approvals.reject, campaign.pk, carol, "no"),
            partial(approvals.withdraw, campaign.pk, operator),
            partial(control.stop, campaign.pk, "boss", "stopped by boss"),
        ]

        heard, told = at_once(verbs)

        campaign.refresh_from_db()
        record = AuditRecord.objects.get(campaign_id=campaign.pk)
        decided = [said["what"] for said in record.approvals[1:]]
        assert len(decided) <= 1
        assert all(error.status in (403, 409) for error in told)
        if "approved" in decided:
            assert campaign.approval.state == "approved"  # and then it may have been stopped while it ran
        else:
            assert (heard, campaign.status, campaign.waits_for) == (1, "stopped", "")
        assert not Approval.objects.waiting().exists()


def at_once(verbs: list[Callable[[], Any]]) -> tuple[int, list[FleetError]]:
    """Do all at once; give how many were done, and what the others heard."""
    start, done, told = Barrier(len(verbs)), [], []

    def one(verb: Callable[[], Any]) -> None:
        start.wait()
        try:
            done.append(verb())
        except FleetError as error:
            told.append(error)
        finally:
            connection.close()

    threads = [Thread(target=one, args=[verb]) for verb in verbs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(done), told


def test_the_kill_switch_stops_what_waits_and_nothing_is_approved_while_it_is_thrown(
    api: Api, operator: User, bob: User, rule: ApprovalRule
) -> None:
    make_hosts(3)
    waits = waiting(operator)
    control.disable_live_queries(make_user("boss", admin=True), "drill")

    late = post(api(bob), f"{waits.pk}/approve/")

    assert late.status_code == 409
    waits.refresh_from_db()
    assert (waits.status, waits.waits_for, waits.approval.state) == ("stopped", "", "stopped")


# --- what the second person sees -------------------------------------------------------------------------------


def test_the_approver_sees_the_estimate_and_what_differs_from_the_last_approved_run(
    api: Api, operator: User, bob: User, rule: ApprovalRule
) -> None:
    hosts = make_hosts(4)
    first = waiting(operator, target={"hosts": [host.pk for host in hosts[:3]]}, timeout=60)
    assert api(bob).get(f"/api/v1/approvals/{first.pk}/").json()["diff"] is None
    approvals.approve(first.pk, bob)
    write_all(first)
    second = waiting(operator, target={"hosts": [host.pk for host in hosts[1:]]}, timeout=90)

    seen = api(bob).get(f"/api/v1/approvals/{second.pk}/").json()

    assert seen["estimate"]["targeted"] == seen["hosts"] == 3
    assert seen["diff"] == {
        "campaign": first.pk,
        "sql": [],
        "more_hosts": 1,
        "less_hosts": 1,
        "same_hosts": 2,
        "limits": {"timeout": {"then": 60, "now": 90}},
    }
    assert (seen["may_decide"], seen["asked_by"], seen["why"]) == (True, "operator", ["more than 2 hosts"])


def test_a_saved_query_that_was_changed_is_compared_with_what_it_was(operator: User, bob: User, rule: Any) -> None:
    make_hosts(3)
    query = Query.objects.create(name="one", sql="SELECT 1\nAS one")
    first = waiting(operator, sql=query.sql, query=query)
    approvals.approve(first.pk, bob)
    write_all(first)

    second = waiting(operator, sql="SELECT 2\nAS one", query=query)

    found = diff(second, bob)
    assert found is not None
    assert (found.campaign, found.more_hosts, found.less_hosts) == (first, 0, 0)
    assert [line for line in found.sql if line[0] in "+-"] == ["-SELECT 1", "+SELECT 2"]


# --- rules -----------------------------------------------------------------------------------------------------


def test_rules_are_kept_by_who_may_and_refused_with_a_sentence(api: Api, operator: User) -> None:
    boss, path = api(make_user("boss", admin=True)), "/api/v1/approval-rules/"
    Group.objects.create(name="helpdesk")

    made = boss.post(path, {"group": "helpdesk", "hosts_above": 5, "tables": [" Shadow "]}, format="json")

    assert made.status_code == 201
    assert (made.json()["changed_by"], made.json()["tables"]) == ("boss", ["Shadow"])
    assert api(operator).post(path, {"group": None}, format="json").status_code == 403
    assert api(operator).get(path).status_code == 403
    for body, words in [
        ({"group": "helpdesk"}, 'group "helpdesk": there is a rule for this group already'),
        ({"group": "nobody"}, "nobody"),
        ({"group": None, "hosts_above": -1}, "hosts_above"),
        ({"group": None, "tables": "shadow"}, "tables 'shadow' is not a list"),
        ({"group": None, "tables": [""]}, "which is not the name of a table"),
        ({"group": None, "hours": [{"from": "25:00", "to": "06:00"}]}, "'25:00'"),
        ({"group": None, "hours": [{"from": "05:00", "to": "06:00", "zone": "Mars/Base"}]}, "'Mars/Base'"),
        ({"group": None, "hours": [{"from": "05:00", "to": "05:00"}]}, "which is no time"),
        ({"group": None, "hours": [{"days": ["monday"], "from": "05:00", "to": "06:00"}]}, "'monday'"),
        ({"group": None, "expires_after": 5}, "expires_after"),
    ]:
        refused = boss.post(path, body, format="json")
        assert (refused.status_code, words in refused.json()["error"]) == (400, True), refused.json()
    changed = boss.patch(f"{path}{made.json()['id']}/", {"hosts_above": None}, format="json")
    assert (changed.status_code, changed.json()["hosts_above"]) == (200, None)
    assert boss.delete(f"{path}{made.json()['id']}/").status_code == 204
    lines = AuditEvent.objects.filter(action__startswith="approval_rule.").order_by("pk").values_list("action", "who")
    assert [*lines] == [(f"approval_rule.{done}", "boss") for done in ("kept", "kept", "deleted")]


@pytest.mark.parametrize(
    "looser",
    [{"hosts_above": 3}, {"hosts_above": None}, {"tables": []}, {"hours": []}, {"group": None}, {"group": "other"}, {}],
)
def test_nobody_loosens_a_rule_that_binds_himself(api: Api, rule: ApprovalRule, looser: dict[str, Any]) -> None:
    bound, free = make_user("bound", admin=True), make_user("free", admin=True)
    assert rule.group is not None
    bound.groups.add(rule.group)
    Group.objects.create(name="other")
    rule.tables, rule.hours = ["shadow"], [{"days": ["sat"], "zone": "UTC", **EVERY_HOUR[0]}]
    rule.save()
    path = f"/api/v1/approval-rules/{rule.pk}/"

    def loosen(by: User) -> Any:
        return api(by).patch(path, looser, format="json") if looser else api(by).delete(path)

    refused = loosen(bound)
    tightened = api(bound).patch(path, {"hosts_above": 1, "tables": ["shadow", "users"]}, format="json")

    assert refused.status_code == 403
    assert "binds you as well: who is not in that group loosens it" in refused.json()["error"]
    assert tightened.status_code == 200
    assert loosen(free).status_code in (200, 204)


def test_the_rule_of_everybody_is_loosened_by_superusers_alone(api: Api) -> None:
    administrator = make_user("administrator")
    administrator.groups.add(Group.objects.get(name=roles.ADMINISTRATOR))
    rule = ApprovalRule.objects.create(hosts_above=2)
    path = f"/api/v1/approval-rules/{rule.pk}/"

    assert api(administrator).delete(path).status_code == 403
    assert api(administrator).patch(path, {"hosts_above": 1}, format="json").status_code == 200
    assert api(make_user("root", admin=True)).delete(path).status_code == 204


def test_what_a_rule_caught_waits_whatever_becomes_of_the_rule_and_of_the_groups(
    api: Api, client: Client, operator: User, bob: User, rule: ApprovalRule
) -> None:
    make_hosts(3)
    campaign, root = waiting(operator), make_user("root", admin=True)
    assert rule.group is not None
    operator.groups.remove(rule.group)
    client.force_login(root)

    kept = client.post(f"/admin/auth/group/{rule.group.pk}/delete/", {"post": "yes"})
    api(root).delete(f"/api/v1/approval-rules/{rule.pk}/")
    sweep()

    assert kept.status_code == 403
    campaign.refresh_from_db()
    assert (campaign.status, campaign.waits_for) == ("scheduled", "approval")
    assert post(api(operator), f"{campaign.pk}/approve/").status_code == 403
    assert post(api(bob), f"{campaign.pk}/approve/").status_code == 200


def test_hosts_that_left_between_the_yes_and_the_start_are_not_asked(
    operator: User, bob: User, rule: ApprovalRule
) -> None:
    hosts = make_hosts(3)
    campaign = waiting(operator)
    Host.objects.filter(pk=hosts[0].pk).update(revoked_at=timezone.now())

    approvals.approve(campaign.pk, bob)

    assert asked_hosts(campaign) == {host.pk for host in hosts[1:]}
