"""The page to ask from: what it begins with, whom it can mean, what it says while one types, what it keeps."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from agents.models import Label, Presence
from campaigns.console.target_form import FullTargetForm
from campaigns.models import Campaign, PinnedQuery, Query
from tests.factories import learn, make_campaign, make_host, make_hosts, make_label, make_user
from tests.pages import words_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]

As = Callable[[User], Client]
ORDER = {"sql": "SELECT pid FROM processes", "kind": "all", "timeout": "600", "page": "a page"}
DIGEST = "0" * 32
BY_NAME = f"WyJuYW1lIl0.{DIGEST}"  # the key of a group made by name


# --- who is meant ----------------------------------------------------------------------------------------------

EVERY_KIND: list[dict[str, Any]] = [
    {"all": True},
    {"all": True, "online": True, "exclude_labels": ["web"], "sample": {"percent": 12.5}},
    {"labels": ["web", "db; or so"], "sample": {"count": 3}},
    {"labels": ["web"], "platforms": ["linux", "darwin"]},
    {"platforms": ["windows"]},
    {"hosts": ["web-1", 42, "a serial with blanks"]},
    {"campaign": {"id": 7, "states": ["failed", "missed"]}},
    {"campaign": {"id": 7, "group": BY_NAME}},
    {"campaign": {"id": 7, "states": ["answered"], "group": BY_NAME}, "online": True},
]
MIXED: list[dict[str, Any]] = [
    {"labels": ["web"], "hosts": ["web-1"]},
    {"all": True, "platforms": ["linux"]},
    {"hosts": [42], "campaign": {"id": 7, "states": ["failed"]}, "exclude_labels": ["web"], "online": True},
    {"hosts": ["one, two"]},
    {"hosts": ["#42"]},
    {"labels": []},
    {"platforms": ["linux"], "sample": {"count": 2}, "labels": [], "online": True},
]


@pytest.mark.parametrize("target", EVERY_KIND + MIXED)
def test_what_was_meant_is_meant_again(target: dict[str, Any]) -> None:
    form = FullTargetForm(FullTargetForm.as_typed(target))

    assert form.is_valid(), form.errors
    assert form.target() == target
    assert (form.cleaned_data["kind"] == "kept") == (target in MIXED)


@pytest.mark.parametrize("target", EVERY_KIND + MIXED)
def test_ask_again_shows_whom_an_earlier_campaign_meant(as_: As, operator: User, target: dict[str, Any]) -> None:
    campaign = make_campaign(make_host(), by=operator, sql="SELECT 42")
    Campaign.objects.filter(pk=campaign.pk).update(target={"online": False, **target})

    response = as_(operator).get(f"/ask/?campaign={campaign.pk}")

    form = response.context["form"]
    assert form["sql"].value() == "SELECT 42"
    shown = {name: form[name].value() for name in FullTargetForm.base_fields if form[name].value() is not None}
    again = FullTargetForm(shown)
    assert again.is_valid(), again.errors
    assert again.target() == target


def test_a_selection_that_no_kind_expresses_is_said_and_launched_as_it_is(as_: As, operator: User) -> None:
    one, _two = make_host(hostname="web-1"), make_host()
    make_label("db", make_host())
    campaign = make_campaign(one, by=operator, target={"labels": ["db"], "hosts": ["web-1"]})

    page = as_(operator).get(f"/ask/?campaign={campaign.pk}")
    kept = page.context["form"]["kept"].value()
    as_(operator).post("/ask/", {**ORDER, "kind": "kept", "kept": kept})

    assert "hosts labelled db and host web-1" in words_of(page)
    again = Campaign.objects.latest("pk")
    assert again.target == {"labels": ["db"], "hosts": ["web-1"]}
    assert again.expected == 2


@pytest.mark.parametrize("kept", ["", "{", "[]", "{}", '{"sample": {"count": 1}}', '"x"', "[" * 5000, '{"labels": 1}'])
def test_what_was_kept_is_checked_like_any_selection(as_: As, operator: User, kept: str) -> None:
    make_host()

    response = as_(operator).post("/ask/", {**ORDER, "kind": "kept", "kept": kept})

    assert response.status_code == 422
    assert not Campaign.objects.exists()


def test_ask_again_takes_over_how_it_was_asked(as_: As, operator: User) -> None:
    rollout = {
        "canary": {"percent": 12.5},
        "then": "auto",
        "per_second": 7,
        "stop_if": {"failed_percent": 5, "silent_percent": 50, "median_wall_ms": 100, "rows": 9, "denylisted": 1},
    }
    campaign = make_campaign(make_host(), by=operator, rollout=rollout, timeout=77, answer_within=30)

    page = as_(operator).get(f"/ask/?campaign={campaign.pk}").context["form"]
    typed = {name: page[name].value() for name in page.fields if page[name].value() not in (None, False)}
    as_(operator).post("/ask/", typed)

    again = Campaign.objects.latest("pk")
    assert again.pk != campaign.pk
    assert (again.rollout, again.timeout, again.answer_within) == (rollout, 77, 30)


def test_ask_again_of_a_campaign_one_may_not_see_takes_nothing_over(as_: As, operator: User) -> None:
    stranger = make_user("somebody else")
    stranger.user_permissions.add(Permission.objects.get(codename="add_campaign"))
    campaign = make_campaign(make_host(), by=operator, sql="SELECT 'secret'")

    assert "secret" not in words_of(as_(stranger).get(f"/ask/?campaign={campaign.pk}"))


def test_a_question_and_whom_it_is_for_come_from_two_places(as_: As, operator: User) -> None:
    query = Query.objects.create(name="pids", sql="SELECT pid FROM processes")
    one, two = make_hosts(2)

    form = as_(operator).get(f"/ask/?query={query.pk}&host={one.pk}&host={two.pk}").context["form"]

    assert form["sql"].value() == query.sql
    assert form["hosts"].value() == f"#{one.pk}\n#{two.pk}\n"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sample": "0"}, "0 percent is not above 0, up to 100"),
        ({"sample": "101"}, "101 percent is not above 0, up to 100"),
        ({"sample": "1.5", "sample_unit": "count"}, "1.5 is not a number of hosts"),
        ({"sample": "some"}, "Enter a number"),
        ({"exclude_labels": "nope"}, "unknown label: 'nope'"),
        ({"kind": "campaign"}, "Give the number of the campaign"),
        ({"kind": "campaign", "earlier": "7"}, "Choose at least one state"),
        ({"kind": "campaign", "earlier": "7", "states": "failed"}, "unknown campaign: 7"),
        ({"kind": "campaign", "earlier": "7", "group": "none"}, "group 'none' is not a key"),
        ({"canary": "150", "canary_unit": "percent"}, "150 percent is not above 0, up to 100"),
        ({"canary": "2.5"}, "2.5 is not a number of hosts"),
        ({"per_second": "0"}, "greater than or equal to 1"),
        ({"failed_percent": "101"}, "less than or equal to 100"),
        ({"median_wall_ms": "-1"}, "greater than or equal to 0"),
    ],
)
def test_what_is_wrong_with_target_or_rollout_is_said(
    as_: As, operator: User, changes: dict[str, str], sentence: str
) -> None:
    make_host()

    response = as_(operator).post("/ask/", {**ORDER, **changes})

    assert response.status_code == 422
    assert sentence in words_of(response)
    assert not Campaign.objects.exists()


def test_a_sample_without_some_labels_is_asked(as_: As, operator: User) -> None:
    make_label("canary", make_host())
    make_hosts(3)

    as_(operator).post(
        "/ask/", {**ORDER, "exclude_labels": ["canary"], "sample": "2", "sample_unit": "count", "canary": "1"}
    )

    campaign = Campaign.objects.get()
    assert campaign.target == {"all": True, "exclude_labels": ["canary"], "sample": {"count": 2}}
    assert campaign.rollout == {"canary": {"count": 1}, "then": "ask"}
    assert campaign.expected == 2


def test_thousands_of_hosts_are_pasted(as_: As, operator: User) -> None:
    names = [host.hostname for host in make_hosts(3000)]

    counted = words_of(as_(operator).post("/ask/estimate/", {"kind": "hosts", "hosts": "\r\n".join(names * 2)}))
    unknown = words_of(
        as_(operator).post("/ask/estimate/", {"kind": "hosts", "hosts": ",".join(f"no-{n}" for n in range(3000))})
    )

    assert 'data-targeted="3000"' in counted
    assert "and 2990 more" in unknown
    assert len(unknown) < 1_000


def test_hundreds_of_labels_are_found_not_listed(as_: As, operator: User) -> None:
    make_label("zebra", make_host(), make_host(revoked_at="2026-01-01T00:00Z"))
    for number in range(300):
        make_label(f"label {number:03}")

    page = words_of(as_(operator).get("/ask/"))
    found = words_of(as_(operator).post("/ask/labels/?for=labels", {"find_labels": "ZEB", "labels": ["label 299"]}))

    assert page.count('name="labels"') == 40
    assert f"{Label.objects.count() - 40} more: type a part of the name" in page
    assert '<bdi>zebra</bdi> <span class="dim">1</span>' in found
    assert 'value="label 299" checked' in found
    assert found.count('name="labels"') == 2


def test_the_search_finds_platforms_labels_and_hosts_with_their_counts(as_: As, operator: User) -> None:
    make_label("linux servers", *make_hosts(2, platform="linux"))
    one, two = make_host(hostname="linux-1", os_name="Debian"), make_host(hostname="LINUX-1")
    alone = make_host(hostname="linux-2")
    gone = make_host(hostname="linux-gone", revoked_at="2026-01-01T00:00Z")

    found = words_of(as_(operator).get("/ask/find/?find=LinuX"))

    assert "platform, 5 hosts" in found
    assert "label, 2 hosts" in found
    for host in (one, two):
        assert f'data-value="#{host.pk}"' in found
    assert 'data-value="linux-2"' in found
    assert "Debian" in found
    assert "never seen" in found
    assert gone.hostname not in found
    assert alone.hostname in found
    assert "No host, label or platform is like" in words_of(as_(operator).get("/ask/find/?find=nothing+like+it"))


def test_hosts_are_found_by_those_alone_who_may_see_them(as_: As) -> None:
    make_host(hostname="web-1")
    user = make_user("launcher")
    user.user_permissions.add(Permission.objects.get(codename="add_campaign"))

    assert "web-1" not in words_of(as_(user).get("/ask/find/?find=web"))
    assert "web-1" not in words_of(as_(user).post("/ask/estimate/", {"kind": "hosts", "hosts": "web-1"}))


def test_two_hosts_of_one_name_are_told_apart(as_: As, operator: User) -> None:
    one, two = make_host(hostname="twin", os_name="Debian"), make_host(hostname="TWIN", os_name="Fedora")
    Presence.objects.create(host=one, last_seen="2026-01-02T03:04:05Z")

    page = words_of(as_(operator).post("/ask/estimate/", {"kind": "hosts", "hosts": "twin"}))

    assert 'data-targeted="2"' in page
    for words in (f"#{one.pk}, Debian", f"#{two.pk}, Fedora", "2026-01-02 03:04:05 UTC", "never seen"):
        assert words in page


def test_odd_names_are_shown_as_marks(as_: As, operator: User) -> None:
    odd = "a\u202egnp<b>"
    make_label(odd, make_host(hostname=odd))

    for page in (as_(operator).get("/ask/"), as_(operator).get("/ask/find/?find=a")):
        content = page.content.decode()
        assert "a⟨U+202E⟩gnp&lt;b&gt;" in content
        assert "gnp<b>" not in content


def test_what_a_question_costs_and_who_lacks_it_follows_the_sql(as_: As, operator: User) -> None:
    make_hosts(2, osquery_version="5.23.0")
    learn("linux", "processes")
    asked = {"kind": "all", "sql": "SELECT 1 FROM nowhere"}

    refused = words_of(as_(operator).post("/ask/estimate/", asked))
    forced = words_of(as_(operator).post("/ask/estimate/", {**asked, "force": "on"}))
    launched = as_(operator).post("/ask/", {**ORDER, **asked, "force": "on"})

    assert "no such table: nowhere" in refused
    assert "tick “Ask all the same”" in refused
    assert "will be asked in spite of the check" in forced
    assert launched.status_code == 302
    assert Campaign.objects.get().is_forced


# --- checked while one types -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "severity", "sentence", "line", "column"),
    [
        ("SELEC 1", "error", 'near "SELEC": syntax error', 1, 1),
        ("\r\n\r\n  SELEC 1", "error", 'near "SELEC": syntax error', 3, 3),
        ("SELECT 1 FROM\nprocesses WHERE", "error", "incomplete input", 2, 16),
        ("SELECT 'ü' frm processes", "error", 'near "processes": syntax error', 1, 16),
        ("SELECT 1; SELECT 2", "error", "a second statement begins here: send one statement", 1, 11),
        ("SELECT nope FROM processes", "error", "no such column: nope", 1, 8),
        ("SELECT 1\nFROM nope", "error", "no such table: nope", None, None),
        ("SELECT 1 FROM services", "warning", "no such table: services (on Linux, not on every host)", None, None),
        ("DELETE FROM processes", "error", "DELETE is for tables of extensions: processes is one of", None, None),
        ("PRAGMA foo", "error", "sql 'PRAGMA foo' does not only read", None, None),
    ],
)
def test_sql_is_checked_with_its_place(
    as_: As, operator: User, sql: str, severity: str, sentence: str, line: int | None, column: int | None
) -> None:
    make_host(osquery_version="5.23.0")
    make_host(osquery_version="5.23.0", platform="windows")
    learn("linux", "processes")
    learn("windows", "processes", "services")
    if sql.startswith("DELETE"):
        make_host(platform="darwin")  # which told nothing of its tables

    said = as_(operator).post("/ask/check/", {"sql": sql}).json()

    assert (said["ok"], said["severity"]) == (False, severity)
    assert said["sentence"].startswith(sentence)
    if line is not None:
        assert (said["line"], said["column"]) == (line, column)


@pytest.mark.parametrize("sql", ["", "  \n", "SELECT name FROM processes", "SELECT 1 -- a\n"])
def test_sql_that_is_fine_is_said_to_be(as_: As, operator: User, sql: str) -> None:
    make_host(osquery_version="5.23.0")
    learn("linux", "processes")

    said = as_(operator).post("/ask/check/", {"sql": sql}).json()

    assert said == {"ok": True, "severity": "", "sentence": "", "line": None, "column": None}


def test_sql_is_checked_for_those_who_may_launch(as_: As, observer: User) -> None:
    assert as_(observer).post("/ask/check/", {"sql": "SELECT 1"}).status_code == 403


# --- beside the form -------------------------------------------------------------------------------------------


def test_a_query_is_pinned_for_oneself(as_: As, operator: User) -> None:
    first, last = Query.objects.create(name="a", sql="SELECT 1"), Query.objects.create(name="z", sql="SELECT 2")
    other = make_user("other", admin=True)

    as_(operator).post("/ask/queries/pin/", {"pin": last.pk})
    as_(operator).post("/ask/queries/pin/", {"pin": last.pk})
    mine = list(as_(operator).get("/ask/").context["queries"])
    others = list(as_(other).get("/ask/").context["queries"])
    as_(operator).post("/ask/queries/pin/", {"unpin": last.pk})

    assert mine == [last, first]
    assert others == [first, last]
    assert not PinnedQuery.objects.exists()
    assert as_(operator).post("/ask/queries/pin/", {"pin": 999}).status_code == 404


def test_sql_is_saved_from_the_page(as_: As) -> None:
    boss = make_user("boss", admin=True)
    nameless = as_(boss).post("/ask/queries/save/", {"sql": "SELECT 1", "name": ""})
    wrong = as_(boss).post("/ask/queries/save/", {"sql": "SELEC 1", "name": "x"})
    saved = as_(boss).post("/ask/queries/save/", {"sql": "SELECT 1", "name": "one", "description": "the first"})
    again = as_(boss).post("/ask/queries/save/", {"sql": "SELECT 2", "name": "one"})

    query = Query.objects.get()
    assert (query.name, query.sql, query.description, query.created_by) == ("one", "SELECT 1", "the first", boss)
    assert "This field is required" in words_of(nameless)
    assert "syntax error" in words_of(wrong)
    assert f"/queries/{query.pk}/" in words_of(saved)
    assert saved["HX-Trigger"] == "query-saved"
    assert "already exists" in words_of(again)


def test_saving_needs_the_permission(as_: As, observer: User) -> None:
    response = as_(observer).post("/ask/queries/save/", {"sql": "SELECT 1", "name": "one"})

    assert response.status_code == 403
    assert not Query.objects.exists()


def test_queries_and_questions_are_found(as_: As, operator: User) -> None:
    Query.objects.create(name="Ports", sql="SELECT 1", description="what listens")
    for number in range(3):
        make_campaign(make_host(), by=operator, sql=("SELECT 0", "SELECT 1")[number % 2])
    make_campaign(make_host(), by=make_user("other"), sql="SELECT 'of another'")

    everything = words_of(as_(operator).get("/ask/history/"))

    assert "Ports" in words_of(as_(operator).get("/ask/queries/?find=LISTENS"))
    assert "No query is like" in words_of(as_(operator).get("/ask/queries/?find=zzz"))
    assert everything.count("data-pick-query") == 2
    assert "of another" not in everything
    assert "SELECT 1" not in words_of(as_(operator).get("/ask/history/?find=select+0"))
    assert "You asked nothing like" in words_of(as_(operator).get("/ask/history/?find=zzz"))


def test_the_page_asks_the_database_as_often_for_many_as_for_few(
    as_: As, operator: User, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    for number in range(30):
        make_label(f"label {number}", make_host())
        Query.objects.create(name=f"query {number}", sql="SELECT 1")

    with django_assert_max_num_queries(40):
        as_(operator).get("/ask/")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("query=999", "There is no saved query 999 that you may ask."),
        ("campaign=%3Cb%3E", "There is no campaign <b> that you may look at."),
        ("campaign={there}&label=999", "There is no label 999 that you may look at."),
        ("campaign={there}&host=999", "There is no enrolled host 999 that you may look at."),
        ("campaign={there}&host=" + "&host=".join(map(str, range(990, 999))), "Nor are there 4 more of the hosts"),
        ("campaign={there}&of={there}&group=gone", "no state and no group of answers of campaign {there}"),
        ("campaign={there}&of=999&states=failed", "There is no campaign 999 that you may look at."),
    ],
)
def test_what_an_address_names_and_is_gone_is_said_and_means_nobody(
    as_: As, operator: User, asked: str, says: str
) -> None:
    """Taken over without a word, the whole target of the earlier campaign would be asked in the place of a part."""
    there = make_campaign(make_host(), by=operator, target={"all": True}).pk

    page = as_(operator).get(f"/ask/?{asked.format(there=there)}")

    assert says.format(there=there) in words_of(page)
    assert not page.context["form"]["kind"].value()


def test_hosts_that_are_there_are_meant_beside_those_that_are_gone(as_: As, operator: User) -> None:
    one = make_host()
    gone = make_host(revoked_at=timezone.now())

    page = as_(operator).get(f"/ask/?host={one.pk}&host={gone.pk}")

    assert page.context["form"]["hosts"].value() == f"#{one.pk}\n"
    assert f"There is no enrolled host {gone.pk} that you may look at." in words_of(page)
