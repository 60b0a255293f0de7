"""The console's pages: who may see what, what the form refuses, what a campaign's page tells."""

import re
from collections.abc import Callable
from datetime import timedelta
from hashlib import md5
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agents.board.operator_verbs import RELEASED_ALL
from agents.models import Host, Presence
from campaigns.console import wording
from campaigns.launching import control, kill_switch
from campaigns.models import Campaign, Query, Result, Target
from campaigns.running.targeting import write_range
from campaigns.states import State, Status
from fleet.errors import ConflictError
from tests.factories import make_campaign, make_host, make_hosts, make_label, make_user
from tests.pages import text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board", "quick_passwords")]

ORDER = {"sql": "SELECT pid FROM processes", "kind": "all", "timeout": "600", "page": "p1"}


def answer(campaign: Campaign, host: Host, state: State, rows: list[dict[str, str]], error: str = "") -> None:
    """Store an answer as the collector leaves it."""
    campaign.refresh_from_db()
    campaign.move(State.WAITING, state)
    campaign.last_seq += 1
    campaign.count_rows += len(rows)
    campaign.columns = list(dict.fromkeys([*campaign.columns, *(name for row in rows for name in row)]))
    campaign.save_counts("last_seq", "columns")
    Target.objects.filter(campaign=campaign, host=host).update(state=state, error=error, row_count=len(rows))
    Result.objects.create(
        campaign=campaign,
        host=host,
        hostname=host.hostname,
        seq=campaign.last_seq,
        state=state,
        rows=rows,
        row_count=len(rows),
        error=error,
        received_at=timezone.now(),
    )


# --- who may ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/", "/ask/", "/hosts/", "/hosts/1/", "/campaigns/", "/campaigns/1/", "/campaigns/1/hosts/", "/campaigns/1/stop/"],
)
def test_nobody_looks_without_logging_in(client: Client, path: str) -> None:
    response = client.get(path)

    assert response.status_code == 302
    assert response["Location"] == f"/login/?next={path}"


def test_a_fragment_leaves_the_page_around_it_as_it_is(client: Client) -> None:
    response = client.get("/campaigns/7/hosts/", headers={"HX-Request": "true"})

    assert response.status_code == 401
    assert response.content == b"you are logged out: log in again"
    assert "HX-Redirect" not in response


def test_who_sends_a_form_without_a_session_comes_back_to_its_page(client: Client) -> None:
    for came_from, to in [("http://testserver/settings/?a=b", "/settings/%3Fa%3Db"), ("https://elsewhere/x/", "/")]:
        response = client.post("/settings/config/", headers={"Referer": came_from})

        assert response["Location"] == f"/login/?next={to}"


def test_a_stranger_is_told_the_missing_permission(as_: Callable[[User], Client], stranger: User) -> None:
    for path, permission in [("/ask/", "campaigns.add_campaign"), ("/campaigns/", "campaigns.view_campaign")]:
        response = as_(stranger).get(path)

        assert response.status_code == 403
        assert permission in text_of(response)


def test_an_observer_looks_but_does_not_ask(as_: Callable[[User], Client], observer: User) -> None:
    campaign = make_campaign(make_host())

    assert as_(observer).get("/campaigns/").status_code == 200
    assert as_(observer).get(f"/campaigns/{campaign.pk}/").status_code == 200
    assert as_(observer).get("/ask/").status_code == 403
    assert as_(observer).post("/ask/", ORDER).status_code == 403
    assert as_(observer).post("/ask/estimate/", ORDER).status_code == 403
    assert Campaign.objects.count() == 1


def test_an_observer_logs_in_to_what_there_is_to_see(client: Client, observer: User) -> None:
    observer.set_password("a long one")
    observer.save()

    response = client.post("/login/", {"username": "observer", "password": "a long one"})

    assert response["Location"] == "/"


def test_a_wrong_password_is_said(client: Client, operator: User) -> None:
    response = client.post("/login/", {"username": "operator", "password": "wrong"})

    assert "do not belong together" in text_of(response)


def test_pages_forbid_scripts_of_others(as_: Callable[[User], Client], operator: User, client: Client) -> None:
    pages = [client.get("/login/"), as_(operator).get("/ask/"), as_(operator).get("/campaigns/")]

    for response in pages:
        assert "script-src 'self'" in response["Content-Security-Policy"]
        assert "<script>" not in text_of(response)
        assert " style=" not in text_of(response)


# --- Ask -------------------------------------------------------------------------------------------------------


def test_asking_launches_and_goes_to_the_campaign(as_: Callable[[User], Client], operator: User) -> None:
    make_hosts(3)

    response = as_(operator).post("/ask/", {**ORDER, "name": "pids", "reason": "INC-1", "timeout": "60"})

    campaign = Campaign.objects.get()
    assert response["Location"] == f"/campaigns/{campaign.pk}/"
    assert (campaign.sql, campaign.name, campaign.reason) == ("SELECT pid FROM processes", "pids", "INC-1")
    assert (campaign.timeout, campaign.target, campaign.expected) == (60, {"all": True}, 3)
    assert campaign.created_by == operator


def test_a_second_click_asks_once(as_: Callable[[User], Client], operator: User) -> None:
    make_host()

    first = as_(operator).post("/ask/", ORDER)
    second = as_(operator).post("/ask/", ORDER)
    other = as_(operator).post("/ask/", {**ORDER, "sql": "SELECT 2"})

    assert first["Location"] == second["Location"] != other["Location"]
    assert Campaign.objects.count() == 2


def test_nobody_is_chosen_beforehand(as_: Callable[[User], Client], operator: User) -> None:
    make_label("web", make_host())

    assert "checked" not in text_of(as_(operator).get("/ask/"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": ""}, "Choose who to ask"),
        ({"sql": ""}, "The SQL is empty"),
        ({"sql": "SELEC 1"}, "near &quot;SELEC&quot;: syntax error"),
        ({"sql": "DELETE FROM processes"}, "does not only read"),
        ({"timeout": "custom", "seconds": "9"}, "timeout 9 is below the minimum of 10 seconds"),
        ({"timeout": "custom", "seconds": ""}, "Give the seconds to wait"),
        ({"timeout": "custom", "seconds": "soon"}, "Enter a whole number"),
        ({"kind": "labels", "labels": "nope"}, "unknown label: &#x27;nope&#x27;"),
        ({"kind": "labels"}, "Choose at least one label"),
        ({"kind": "hosts", "hosts": " , "}, "Name at least one host"),
        ({"kind": "platforms", "platforms": "windows"}, "selects no enrolled host"),
        ({"kind": "hosts", "hosts": "web-1, nowhere"}, "unknown host: &#x27;nowhere&#x27;"),
        ({"kind": "hosts", "hosts": "#999999"}, "unknown host: 999999"),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_stays(
    as_: Callable[[User], Client], operator: User, changes: dict[str, str], sentence: str
) -> None:
    make_host(hostname="web-1")

    response = as_(operator).post("/ask/", {**ORDER, "reason": "INC-77", **changes})

    assert response.status_code == 422
    assert sentence in text_of(response)
    assert "INC-77" in text_of(response)
    assert not Campaign.objects.exists()


def test_switched_off_is_said(as_: Callable[[User], Client], operator: User, settings: object) -> None:
    make_host()
    settings.LIVE_QUERIES_ENABLED = False  # type: ignore[attr-defined]

    assert "live queries are switched off" in text_of(as_(operator).post("/ask/", ORDER))


def test_hosts_are_named_in_any_way(as_: Callable[[User], Client], operator: User) -> None:
    one, two, three = make_host(hostname="web-1"), make_host(hardware_serial="VMware-56 4d"), make_host()

    as_(operator).post("/ask/", {**ORDER, "kind": "hosts", "hosts": f"web-1,\r\nVMware-56 4d\r\n#{three.pk}"})

    campaign = Campaign.objects.get()
    assert campaign.target == {"hosts": ["web-1", "VMware-56 4d", three.pk]}
    assert campaign.expected == len([one, two, three])


def test_labels_are_narrowed_by_platforms_and_presence(as_: Callable[[User], Client], operator: User) -> None:
    linux, windows = make_host(), make_host(platform="windows")
    make_label("web", linux, windows)
    Presence.objects.create(host=linux, last_seen=timezone.now())
    chosen = {**ORDER, "kind": "labels", "labels": ["web"], "platforms": ["linux"], "online": "on"}

    as_(operator).post("/ask/", chosen)

    campaign = Campaign.objects.get()
    assert campaign.target == {"labels": ["web"], "platforms": ["linux"], "online": True}
    assert campaign.expected == 1


def test_an_estimate_counts_before_anything_is_sent(as_: Callable[[User], Client], operator: User) -> None:
    linux, _windows = make_host(), make_host(platform="windows")
    Presence.objects.create(host=linux, last_seen=timezone.now())

    everybody = text_of(as_(operator).post("/ask/estimate/", {"kind": "all"}))
    nobody = text_of(as_(operator).post("/ask/estimate/", {"sql": "SELECT 1"}))
    no_label_yet = text_of(as_(operator).post("/ask/estimate/", {"kind": "labels"}))
    wrong = text_of(as_(operator).post("/ask/estimate/", {"kind": "hosts", "hosts": "nowhere"}))

    assert 'data-targeted="2"' in everybody
    assert "<b>1</b> online now" in everybody
    assert "Linux 1" in everybody
    assert "Choose who is asked" in nobody
    assert "Choose who is asked" in no_label_yet
    assert "unknown host" in wrong


def test_a_saved_query_is_taken_over_and_remembered(as_: Callable[[User], Client], operator: User) -> None:
    make_host()
    query = Query.objects.create(name="pids", sql="SELECT pid FROM processes")

    page = text_of(as_(operator).get(f"/ask/?query={query.pk}"))
    as_(operator).post("/ask/", {**ORDER, "query": query.pk})
    as_(operator).post("/ask/", {**ORDER, "query": query.pk, "sql": "SELECT 1"})

    assert "SELECT pid FROM processes</textarea>" in page
    changed, taken = Campaign.objects.all()
    assert (taken.query, changed.query) == (query, None)


# --- one campaign ----------------------------------------------------------------------------------------------


def test_a_campaign_is_readable_without_scripts(as_: Callable[[User], Client], observer: User) -> None:
    hosts = make_hosts(3)
    campaign = make_campaign(*hosts, sql="SELECT pid, name FROM processes", name="pids", reason="INC-1")
    answer(campaign, hosts[0], State.ANSWERED, [{"pid": "1", "name": "<b>init</b>"}])
    answer(campaign, hosts[1], State.FAILED, [], "no such table: processes")

    page = text_of(as_(observer).get(f"/campaigns/{campaign.pk}/"))

    assert "SELECT pid, name FROM processes" in page
    assert "&lt;b&gt;init&lt;/b&gt;" in page
    assert "INC-1" in page
    assert hosts[0].hostname in page
    assert f'href="/api/v1/campaigns/{campaign.pk}/export.csv"' in page
    for state, meaning in wording.MEANINGS.items():
        assert meaning in page
        assert f'data-live="{state}"' in page


def test_a_campaign_that_is_not_there_is_said(as_: Callable[[User], Client], observer: User) -> None:
    for path in ["/campaigns/404/", "/campaigns/404/hosts/", "/campaigns/404/stop/", f"/campaigns/{2**70}/"]:
        response = as_(observer).get(path)

        assert response.status_code == 404
        assert "There is no campaign" in text_of(response)


def test_hosts_are_narrowed_by_state_and_name(as_: Callable[[User], Client], observer: User) -> None:
    hosts = make_hosts(3)
    campaign = make_campaign(*hosts)
    answer(campaign, hosts[0], State.ANSWERED, [])
    answer(campaign, hosts[1], State.FAILED, [], "disk I/O error")
    address = f"/campaigns/{campaign.pk}/hosts/"

    everybody = text_of(as_(observer).get(address))
    failed = text_of(as_(observer).get(f"{address}?state=failed"))
    by_error = text_of(as_(observer).get(f"{address}?search=disk"))
    nonsense = text_of(as_(observer).get(f"{address}?state=nonsense&page=-7"))

    assert all(host.hostname in everybody for host in hosts)
    assert "disk I/O error" in failed
    assert hosts[0].hostname not in failed
    assert hosts[1].hostname in by_error
    assert hosts[2].hostname not in by_error
    assert "3 hosts" in nonsense


def test_hosts_of_a_large_campaign_come_in_pages(
    as_: Callable[[User], Client],
    observer: User,
    django_assert_max_num_queries: Callable[[int], object],
) -> None:
    campaign = make_campaign(*make_hosts(120))
    browser = as_(observer)
    browser.get("/campaigns/")

    with django_assert_max_num_queries(21):  # type: ignore[attr-defined]
        page = text_of(browser.get(f"/campaigns/{campaign.pk}/?tab=hosts&page=2"))

    assert "51 to 100 of 120 hosts" in page
    assert "page 2 of 3" in page
    assert page.count('<th scope="row">') == 50


def test_the_same_error_of_many_hosts_is_shown_once(as_: Callable[[User], Client], observer: User) -> None:
    hosts = make_hosts(4)
    campaign = make_campaign(*hosts)
    for host in hosts[:3]:
        answer(campaign, host, State.FAILED, [], "no such table: x & y")
    answer(campaign, hosts[3], State.DENYLISTED, [], "distributed query is denylisted")

    page = text_of(as_(observer).get(f"/campaigns/{campaign.pk}/?tab=errors"))

    assert page.count("no such table: x &amp; y") == 1
    assert f"state=failed&amp;error={md5(b'no such table: x & y', usedforsecurity=False).hexdigest()}" in page
    assert page.index("no such table") < page.index("distributed query is denylisted")


# --- Stop ------------------------------------------------------------------------------------------------------


def test_who_launched_may_stop(as_: Callable[[User], Client], operator: User) -> None:
    campaign = make_campaign(make_host(), by=operator)
    operator.user_permissions.remove(operator.user_permissions.get(codename="change_campaign"))

    question = text_of(as_(operator).get(f"/campaigns/{campaign.pk}/stop/"))
    as_(operator).post(f"/campaigns/{campaign.pk}/stop/", {"reason": "wrong table"})

    assert "It cannot be taken back" in question
    campaign.refresh_from_db()
    assert (campaign.ended_by, campaign.ended_reason) == ("operator", "wrong table")
    assert "Stopping by operator: wrong table." in text_of(as_(operator).get(f"/campaigns/{campaign.pk}/"))


def test_an_observer_may_not_stop(as_: Callable[[User], Client], observer: User) -> None:
    campaign = make_campaign(make_host())

    response = as_(observer).post(f"/campaigns/{campaign.pk}/stop/")

    assert response.status_code == 403
    assert "campaigns.change_campaign" in text_of(response)
    campaign.refresh_from_db()
    assert campaign.ended_by == ""
    assert "stop-dialog" not in text_of(as_(observer).get(f"/campaigns/{campaign.pk}/"))


def test_stopping_twice_goes_back_to_the_campaign(as_: Callable[[User], Client], operator: User) -> None:
    campaign = make_campaign(make_host(), by=operator)
    control.stop(campaign.pk, "somebody", "earlier")

    response = as_(operator).post(f"/campaigns/{campaign.pk}/stop/")

    assert response["Location"] == f"/campaigns/{campaign.pk}/"
    campaign.refresh_from_db()
    assert campaign.ended_by == "somebody"


def test_a_stop_that_comes_too_late_is_said(
    as_: Callable[[User], Client], operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = make_campaign(make_host(), by=operator)

    def too_late(*_: object) -> None:
        raise ConflictError(f"campaign {campaign.pk} is completed already")

    monkeypatch.setattr(control, "stop", too_late)

    response = as_(operator).post(f"/campaigns/{campaign.pk}/stop/")

    assert response.status_code == 409
    assert "is completed already" in text_of(response)


# --- Campaigns -------------------------------------------------------------------------------------------------


def test_the_history_is_searched_and_narrowed(as_: Callable[[User], Client], observer: User) -> None:
    host = make_host()
    pids, users = make_campaign(host, name="pids"), make_campaign(host, name="", sql="SELECT uid FROM users")
    Campaign.objects.filter(pk=pids.pk).update(status=Status.COMPLETED)

    def found(question: str) -> set[int]:
        page = text_of(as_(observer).get(f"/campaigns/?{question}"))
        return {campaign.pk for campaign in (pids, users) if f'href="/campaigns/{campaign.pk}/"' in page}

    assert found("") == {pids.pk, users.pk}
    assert found("search=PIDS") == {pids.pk}
    assert found("search=from users") == {users.pk}
    assert found(f"search=%23{users.pk}") >= {users.pk}
    assert found("status=completed") == {pids.pk}
    assert found("status=open") == {users.pk}
    assert found("search=nothing like it") == set()


def test_the_history_asks_the_database_the_same_however_long_it_is(
    as_: Callable[[User], Client], observer: User, django_assert_max_num_queries: Callable[[int], object]
) -> None:
    host = make_host()
    for _ in range(12):
        make_campaign(host)
    browser = as_(observer)

    with django_assert_max_num_queries(12):  # type: ignore[attr-defined]
        browser.get("/campaigns/")


# --- troubles, words -------------------------------------------------------------------------------------------


def test_troubles_of_the_server_are_shown(as_: Callable[[User], Client], observer: User) -> None:
    cache.delete("readiness")

    shown = text_of(as_(observer).get("/troubles/"))

    assert "nothing was swept yet" in shown  # no sweeper runs beside the tests
    cache.delete("readiness")


def test_a_bar_shows_one_host_in_a_hundred_thousand() -> None:
    assert wording.bar_widths([99_999, 1, 0]) == [994, 6, 0]
    assert wording.bar_widths([0, 0]) == [0, 0]
    assert sum(wording.bar_widths([1, 1, 1])) == 1000


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"all": True}, "all hosts"),
        ({"labels": ["web", "db"], "platforms": ["linux"]}, "hosts labelled web or db, on Linux"),
        ({"platforms": ["darwin"], "online": True}, "macOS hosts; only those online at launch"),
        ({"hosts": ["web-1"], "exclude_labels": ["vip"]}, "host web-1; without vip"),
        ({"hosts": ["web", 7]}, "2 host names: web or #7"),  # each of which several hosts may bear
        ({"hosts": [1, 2, 3, 4, 5, 6, 7]}, "7 hosts: #1, #2, #3, #4, #5 and 2 more"),
        ({"all": True, "sample": {"percent": 5}}, "all hosts; a sample of 5 %"),
        (
            {"campaign": {"id": 7, "states": ["missed", "no_answer"]}, "sample": {"count": 3}},
            "hosts of campaign 7 that are missed or no answer; a sample of 3",
        ),
        ({"labels": []}, "nobody"),
        ("garbage", "unknown"),
    ],
)
def test_a_target_is_said_in_words(target: object, words: str) -> None:
    assert wording.target_in_words(target) == words


def test_an_end_is_said_in_words() -> None:
    start = timezone.now()
    over = Campaign(status=Status.STOPPED, ended_by="alex", ended_reason="wrong table.", started_at=start)
    over.ended_at = start + timedelta(seconds=125)

    assert wording.ending(over) == "Stopped after 2 min 5 s by alex: wrong table."
    assert wording.ending(Campaign(status=Status.RUNNING)) == ""
    over.ended_by, over.ended_reason = "brake", "brake rows: 9 rows came in, the limit is 5"
    assert wording.ending(over) == "Stopped after 2 min 5 s by a brake: 9 rows came in, the limit is 5."
    assert wording.duration(90_061) == "1 d 1 h"


@pytest.mark.parametrize(
    ("by", "reason", "words"),
    [
        ("bob", "rejected: too many <b>hosts</b>.", "Rejected by bob: too many <b>hosts</b>."),
        ("ann", "withdrawn by ann before it began", "Withdrawn by ann before it began."),
        ("approval", "nobody approved it until Friday", "Stopped: nobody approved it until Friday."),
        ("schedule", "sql is wrong.", "It did not begin: sql is wrong."),
        ("ann", "withdrawn by bob", "Stopped by ann: withdrawn by bob."),
        ("ann", "", "Stopped by ann."),
    ],
)
def test_what_never_began_is_said_by_what_became_of_it_and_each_name_once(by: str, reason: str, words: str) -> None:
    never = Campaign(status=Status.STOPPED, ended_by=by, ended_reason=reason)

    assert wording.ending(never) == words
    assert wording.nothing_sent(never) == "Nobody was asked."
    never.count_targeted = never.count_unsupported = 3
    assert wording.nothing_sent(never).startswith("No host can run this SQL")


def test_lists_say_of_who_was_not_asked_that_nobody_was(as_: Callable[[User], Client], operator: User) -> None:
    query = Query.objects.create(name="one", sql="SELECT 1", created_by=operator)
    for status in (Status.SCHEDULED, Status.STOPPED):
        Campaign.objects.create(sql=query.sql, target={}, query=query, status=status, created_by=operator, timeout=60)

    for path in ("/campaigns/", f"/queries/{query.pk}/"):
        page = text_of(as_(operator).get(path))
        assert "nobody is asked yet" in page, path
        assert "nobody was asked" in page, path
        assert "0 of 0" not in page, path


def test_a_state_is_said_as_what_it_is() -> None:
    said = [
        wording.state_word(Campaign(status=Status.SCHEDULED, waits_for="approval")),
        wording.state_word(Campaign(status=Status.PAUSED, ended_by="ann")),
        wording.state_word(Campaign(status=Status.STOPPED, ended_by="ann")),
        wording.state_word(Campaign(status=Status.SCHEDULED)),
    ]

    assert said == ["waits for approval", "stopping", "stopped", "scheduled"]


def test_a_paused_campaign_says_how_long_it_goes_on_once_it_is_resumed(
    as_: Callable[[User], Client], admin_user: User
) -> None:
    campaign = make_campaign(make_host(), by=admin_user, timeout=600)
    control.pause(campaign.pk, "ann")
    Campaign.objects.update(left=timedelta(seconds=75))

    page = text_of(as_(admin_user).get(f"/campaigns/{campaign.pk}/"))
    told = as_(admin_user).get(f"/api/v1/campaigns/{campaign.pk}/").json()

    assert '<dd data-live="left"> 1 min 15 s </dd>' in page
    assert (told["left"], told["ends_at"]) == (75, None)


def ask(**more: Any) -> dict[str, Any]:
    return {"sql": "SELECT 1", "kind": "all", "timeout": "60", **more}


def test_a_canary_is_ordered_widened_and_paused_by_hand(as_: Callable[[User], Client], operator: User) -> None:
    make_hosts(6)
    page = as_(operator)
    page.post("/ask/", ask(canary="2", then="ask", failed_percent="30", answer_within="20"))
    campaign = Campaign.objects.get()
    assert campaign.rollout == {"canary": {"count": 2}, "then": "ask", "stop_if": {"failed_percent": 30}}
    assert campaign.answer_within == 20
    write_range(campaign.pk, 0)
    address = f"/campaigns/{campaign.pk}/"

    assert 'Released to <b data-live="released">2</b> of 6 hosts' in text_of(page.get(address))
    assert "1 host is not more than the 2" in text_of(page.post(f"{address}widen/", {"count": "1"}, follow=True))
    page.post(f"{address}widen/", {"count": "4"})
    campaign.refresh_from_db()
    assert campaign.release_goal == 4

    page.post(f"{address}pause/", {})
    assert "Paused by operator" in text_of(page.get(f"{address}control/"))
    assert "only a running one can be paused" in text_of(page.post(f"{address}pause/", {}, follow=True))
    page.post(f"{address}resume/", {})
    campaign.refresh_from_db()
    assert campaign.status == "running"


def test_all_are_released_after_a_question_whoever_has_no_scripts(
    as_: Callable[[User], Client], operator: User, observer: User
) -> None:
    campaign = make_campaign(*make_hosts(3), by=operator, rollout={"canary": {"count": 1}})
    address = f"/campaigns/{campaign.pk}/widen/"

    assert as_(observer).post(address, {"all": "true"}).status_code == 403
    page = as_(operator)
    question = page.post(address, {"all": "true"})
    campaign.refresh_from_db()
    assert campaign.release_goal == 1
    assert "to all 3 hosts?" in text_of(question)
    said = dict(re.findall(r'name="(all|agreed)" value="(\w+)"', question.content.decode()))
    answer = page.post(address, said, follow=True)

    assert "Released to all hosts." in text_of(answer)
    campaign.refresh_from_db()
    assert campaign.release_goal == RELEASED_ALL


def test_an_observer_may_not_pause_or_widen(as_: Callable[[User], Client], observer: User) -> None:
    campaign = make_campaign(make_host(), rollout={"canary": {"count": 1}})

    for verb in ("pause", "resume", "widen"):
        assert as_(observer).post(f"/campaigns/{campaign.pk}/{verb}/", {"count": "2"}).status_code == 403
    assert "Pause" not in text_of(as_(observer).get(f"/campaigns/{campaign.pk}/control/"))


def test_a_later_start_is_shown_until_it_comes(as_: Callable[[User], Client], operator: User) -> None:
    make_host()
    start = timezone.now() + timedelta(days=30)
    as_(operator).post("/ask/", ask(start_at=start.strftime("%Y-%m-%dT%H:%M")))

    campaign = Campaign.objects.get()
    shown = text_of(as_(operator).get(f"/campaigns/{campaign.pk}/"))
    assert "It begins at" in shown
    assert start.strftime("%Y-%m-%d %H:%M:00 UTC") in shown
    wrong = text_of(as_(operator).post("/ask/", ask(start_at="2020-01-01T00:00")))
    assert "is in the past" in wrong


def test_a_page_that_asks_about_an_ended_campaign_asks_no_more(as_: Callable[[User], Client], operator: User) -> None:
    campaign = make_campaign(make_host(), by=operator)
    Campaign.objects.update(status=Status.STOPPED)

    assert as_(operator).get(f"/campaigns/{campaign.pk}/control/").status_code == 286


def test_the_kill_switch_shows_on_every_page_that_asks_or_watches(
    as_: Callable[[User], Client], operator: User, settings: Any
) -> None:
    campaign = make_campaign(make_host())
    pages = [reverse("ask"), "/campaigns/", f"/campaigns/{campaign.pk}/", f"/campaigns/{campaign.pk}/stop/", "/switch/"]
    client = as_(operator)
    on = [client.get(page).content.decode() for page in pages]

    kill_switch.turn(make_user("boss", admin=True), "a <b>bad</b> query", on=False)

    for page, before in zip(pages, on, strict=True):
        assert "switched off" not in before, page
        shown = client.get(page).content.decode()
        assert "Live queries were switched off by boss: a &lt;b&gt;bad&lt;/b&gt; query." in shown, page
    assert re.search(r'id="run"[^>]*disabled', client.get(reverse("ask")).content.decode())
    host = client.get(f"/hosts/{campaign.targets.get().host_id}/").content.decode()
    for page in (host, client.get("/").content.decode()):
        buttons = re.findall(r"<button[^>]*data-launches[^>]*>", page)
        assert buttons
        assert all("disabled" in button for button in buttons)
    settings.LIVE_QUERIES_ENABLED = False
    assert "(LIVE_QUERIES_ENABLED)" in client.get("/campaigns/").content.decode()


def test_the_kill_switch_is_told_to_nobody_who_is_not_logged_in() -> None:
    answer = Client().get("/switch/", headers={"HX-Request": "true"})

    assert (answer.status_code, answer.content) == (401, b"you are logged out: log in again")
