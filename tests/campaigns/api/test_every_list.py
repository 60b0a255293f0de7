"""Every list: pages of one item give what one page gives, also while the list grows, and each filter narrows it."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django.contrib.auth.models import Group
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from fleet_live_queries import Client
from rest_framework.test import APIClient

from agents.carving.models import EMPTY_ARCHIVE, Carve, CarveState
from agents.models import EnrollSecret
from campaigns.hooks import keeping
from campaigns.hooks.models import Event, Hook
from campaigns.launching.models import ApprovalRule, Quota
from campaigns.models import Campaign, Query, Result, Target
from campaigns.recurring.models import ScheduledRun
from campaigns.states import State
from campaigns.tokens import ApiToken, Wanted
from fleet.api.paging import Place
from tests.campaigns.api.world import OPERATIONS, World, place, schedule
from tests.factories import answer, make_campaign, make_host, make_hosts, make_label, make_person

LISTS = [
    name
    for name, (method, _, operation) in OPERATIONS.items()
    if method == "get" and any(one["name"] == "limit" for one in operation.get("parameters", []))
]
PAGING = {"limit", "offset", "cursor", "up_to"}
WHOLE = {  # not in pages, and why
    "schema_retrieve": "tables of osquery, some hundreds",
    "queries_views_list": "analyses that people kept with one query",
    "quotas_mine_list": "one's own quotas, a handful",
    "campaigns_export.json_retrieve": "a file",
    "campaigns_diff.json_retrieve": "a file",
}


def get(world: World, address: str) -> dict[str, Any]:
    answered = world.client.get(address)
    assert answered.status_code == 200, (address, answered.json())
    page: dict[str, Any] = answered.json()
    return page


def of_list(world: World, name: str) -> str:
    """Give the address of a list, with what it cannot do without."""
    address = place(world, name, OPERATIONS[name][1])
    return f"{address}?with={world.before.pk}&" if "diff" in name else f"{address}?"


def pages(world: World, address: str, between: Callable[[], Any] = lambda: None) -> list[Any]:
    """Follow a list to its end, doing something after each page."""
    items, following = [], address
    while following:
        page = get(world, following)
        items += page["results"]
        following = page["next"]
        between()
    return items


def without_age(items: list[Any]) -> list[Any]:
    """Leave out what grows from one look to the next."""
    return [{member: value for member, value in item.items() if member not in ("age", "use_count")} for item in items]


def parameters(name: str) -> set[str]:
    return {one["name"] for one in OPERATIONS[name][2].get("parameters", []) if one["in"] == "query"}


# --- pages ------------------------------------------------------------------------------------------------------


def test_every_list_has_pages_and_names_what_it_does_not_take(world: World) -> None:
    for name in LISTS:
        assert parameters(name) & {"cursor", "after", "offset"}, name
        for wrong, said in {"nonsense=1": "nonsense", "limit=0": "limit", "limit=1001": "1001"}.items():
            refused = world.client.get(f"{of_list(world, name)}{wrong}")
            assert (refused.status_code, said in refused.json()["error"]) == (400, True), (name, wrong)


def test_what_is_not_in_pages_is_known() -> None:
    arrays = {
        name
        for name, (method, _, operation) in OPERATIONS.items()
        for content in operation["responses"].get("200", {}).get("content", {}).values()
        if method == "get" and (content["schema"].get("type") == "array" or "Page" in content["schema"].get("$ref", ""))
    }

    assert arrays - set(LISTS) == set(WHOLE)


def test_every_list_is_walked_item_by_item_without_a_gap_or_a_repetition(world: World) -> None:
    for name in LISTS:
        if name.startswith("audit"):  # to read it is to add to it
            continue
        address = of_list(world, name)

        whole = get(world, address)["results"]

        assert without_age(pages(world, f"{address}limit=1")) == without_age(whole), name


def test_the_client_gives_every_item_of_every_list_of_the_document(world: World, live_server: Any) -> None:
    _, token = ApiToken.objects.make(world.boss, Wanted(days=1))

    with Client(live_server.url, token) as client:
        for name in [*LISTS, *WHOLE]:
            if name.startswith("audit"):
                continue
            path, _, query = of_list(world, name).removesuffix("&").removesuffix("?").partition("?")
            asked = dict(parse_qsl(query))
            whole = world.client.get(path, asked)
            content = (whole.getvalue() if whole.streaming else whole.content).decode()
            body = json.loads(content.replace("http://testserver/", f"{live_server.url}/"))

            items = list(client.list(path.removeprefix("/api/v1/"), **asked))

            assert without_age(items) == without_age(body["results"] if isinstance(body, dict) else body), name
            first = list(client.list(path.removeprefix("/api/v1/"), most=1, **asked))
            assert without_age(first) == without_age(items[:1]), name


def carve(world: World, **facts: Any) -> Carve:
    number = f"{Carve.objects.count():032}"
    return Carve.objects.create(
        **{"host": world.hosts[0], "carve_id": number, "campaign_id": world.ended_now.pk, **facts}
    )


def one_more_answer(world: World) -> None:
    """Let one more host answer the campaign that the lists are of."""
    silent = Target.objects.filter(campaign=world.ended_now.pk, state=State.WAITING).order_by("host_id")[0]
    answer(world.ended_now, silent.host, {"pid": "0", "port": "1"}, {"pid": str(silent.host_id), "port": "22"})
    world.ended_now.refresh_from_db()


GROWS: dict[str, Callable[[World], Any]] = {
    "campaigns_list": lambda world: world.running(),
    "carves_list": carve,
    "hooks_list": lambda world: keeping.make(Hook(name="a", address="https://1.1.1.1/"), world.boss),
    "hooks_deliveries_list": lambda world: [keeping.test(hook, world.boss) for hook in Hook.objects.all()],
    "approvals_list": lambda world: world.waiting(),
    "hosts_list": lambda world: make_host(),
    "hosts_results_retrieve": lambda world: world.ended({"pid": "1"}),
    "labels_list": lambda world: make_label(f"a{Query.objects.count()}-{timezone.now().timestamp()}"),
    "queries_list": lambda world: Query.objects.create(name=f"a{timezone.now().timestamp()}", sql="SELECT 1"),
    "enroll_secrets_list": lambda world: EnrollSecret.objects.offer(
        f"a{timezone.now().timestamp()}", f"long enough for a secret {timezone.now().timestamp()}"
    ),
    "tokens_list": lambda world: ApiToken.objects.create(user=world.boss),
    "schedules_runs_list": lambda world: ScheduledRun.objects.create(
        schedule=schedule(world), campaign=world.running()
    ),
    "campaigns_rows_retrieve": one_more_answer,
    "campaigns_groups_retrieve": one_more_answer,
    "campaigns_results_retrieve": one_more_answer,
}
SORTED = {"campaigns_rows_retrieve": "order=-port&", "campaigns_groups_retrieve": "by=port&"}


def test_a_list_that_grows_is_walked_without_a_gap_or_a_repetition(world: World) -> None:
    world.ended_now = make_campaign(*make_hosts(20), by=world.boss)
    for name, grow in GROWS.items():
        for _ in range(3):
            grow(world)
        address = f"{of_list(world, name)}{SORTED.get(name, '')}"
        before, left = without_age(get(world, address)["results"]), [3]

        def once_more(left: list[int] = left, grow: Callable[[World], Any] = grow) -> None:
            if left[0]:
                left[0] -= 1
                grow(world)

        walked = without_age(pages(world, f"{address}limit=1", once_more))

        assert [item for item in walked if item in before] == before, name
        assert len(walked) == len({repr(item) for item in walked}), name


def numbers_in(found: Any) -> set[Any]:
    """Give every value that stands in it, and moments as microseconds too."""
    if isinstance(found, dict | list):
        return {one for inner in (found.values() if isinstance(found, dict) else found) for one in numbers_in(inner)}
    return {found, *microseconds_of(found)}


def microseconds_of(found: Any) -> set[int]:
    moment = parse_datetime(found) if isinstance(found, str) and found.endswith("Z") else None
    return {round(moment.timestamp() * 1000) * 1000} if moment is not None else set()


def test_no_link_tells_more_than_the_page_that_bears_it(world: World) -> None:
    rich(world)
    others = make_campaign(*make_hosts(30), by=world.bob)  # whose rows shift the keys of all that comes after
    for target in others.targets.select_related("host"):
        answer(others, target.host, {"pid": "1"})
    world.ended_now, told, seen = world.ended({"pid": "1", "port": "22"}, {"pid": "2", "port": "4444"}), [], set()
    whole_milliseconds = timezone.now().replace(microsecond=0)  # as collected answers are
    Result.objects.filter(host=world.hosts[0]).update(received_at=whole_milliseconds)

    for name in LISTS:
        page = get(world, f"{of_list(world, name)}{SORTED.get(name, '')}limit=1")
        link = dict(parse_qsl(urlsplit(page["next"] or "").query))
        places = [*Place.read(link["cursor"]).values] if "cursor" in link else []
        places += [int(value) for member, value in link.items() if member in ("up_to", "after", "before")]
        shown = numbers_in(page["results"]) | {world.ended_now.pk, world.ended_now.last_seq}
        told += [f"{name} tells {one}" for one in places if one not in shown]
        seen |= {name} if places else set()

    assert told == []
    assert {"campaigns_targets_list", "hosts_results_retrieve", "carves_list", "campaigns_groups_retrieve"} <= seen


def test_links_lead_there_and_back(world: World) -> None:
    make_host()
    first = get(world, "/api/v1/hosts/?limit=2&platform=linux")
    second = get(world, first["next"])
    back = get(world, second["previous"])
    beyond = get(world, "/api/v1/hosts/?limit=2&offset=1000")

    assert (back["results"], back["previous"], second["next"]) == (first["results"], None, None)
    assert dict(parse_qsl(urlsplit(back["next"]).query))["platform"] == "linux"
    assert (beyond["results"], beyond["next"]) == ([], None)
    assert get(world, beyond["previous"])["results"] == []


def test_a_place_that_no_link_gave_is_named(world: World) -> None:
    for wrong in ("nonsense", "W10", "WyJhZnRlciJd", "WyJhZnRlciIsIngiXQ", "WyJhZnRlciIsMSwyLDNd", "é"):
        refused = world.client.get("/api/v1/hosts/", {"cursor": wrong})

        assert (refused.status_code, wrong in refused.json()["error"]) == (400, True), refused.json()


def test_a_place_in_one_list_is_none_in_another(world: World) -> None:
    rich(world)
    one, two = (f"/api/v1/campaigns/{world.ended({'pid': '1'}, {'pid': '2'}).pk}/targets/" for _ in range(2))
    lists = [*(of_list(world, name) for name in LISTS), f"{one}?", f"{two}?"]
    links = {}
    for address in dict.fromkeys(lists):
        query = dict(parse_qsl(urlsplit(get(world, f"{address}limit=1")["next"] or "").query))
        if "cursor" in query:
            links[urlsplit(address).path] = query["cursor"]

    taken = [
        (path, other)
        for path in links
        for other, cursor in links.items()
        if world.client.get(path, {"cursor": cursor}).status_code != (200 if path == other else 400)
    ]

    assert taken == []
    assert {"/api/v1/hosts/", "/api/v1/campaigns/", one, two} <= set(links)


def test_a_place_and_an_offset_are_not_both_taken(world: World) -> None:
    following = get(world, "/api/v1/hosts/?limit=1")["next"]

    refused = world.client.get(f"{following}&offset=1")

    assert (refused.status_code, "allowed is one of them" in refused.json()["error"]) == (400, True)


# --- filters ----------------------------------------------------------------------------------------------------


def rich(world: World) -> None:
    """Add what the filters tell apart."""
    boss, bob = world.boss, world.bob
    tables, hours = ["shadow"], [{"days": ["sat"], "from": "00:00", "to": "24:00", "zone": "UTC"}]
    people, others = Group.objects.create(name="people"), Group.objects.create(name="others")
    ApprovalRule.objects.create(group=people, hosts_above=5)
    ApprovalRule.objects.create(group=others, tables=tables, hours=hours)
    Quota.objects.create(group=people, rows_kept=0), Quota.objects.create(person=bob, open_campaigns=1)
    world.waiting(), world.waiting(boss)
    waiting = world.waiting()
    assert world.client.post(f"/api/v1/campaigns/{waiting.pk}/reject/", {"reason": "no"}, format="json").json()
    made = Hook(name="b", address="https://1.1.1.1/", events=[Event.ENDED])
    keeping.make(Hook(name="a", address="https://1.1.1.1/"), boss), keeping.make(made, bob)
    Hook.objects.create(owner=boss, name="c", kind=Hook.Kind.NOTIFICATION, address="json://1.1.1.1")
    keeping.stop(made, boss)
    carves_of_each_state(world)
    Campaign.objects.filter(pk=world.ended_now.pk).update(sql="SELECT * FROM carves WHERE carve = 1")
    make_campaign(make_host(platform="windows", hostname="other", uuid="u-1", hardware_serial="s-1"), by=bob)
    ApiToken.objects.make(boss, Wanted(days=1, name="model", tools_may_launch=True))
    ApiToken.objects.make(bob, Wanted(days=1, name="reads", access="read"))
    one = schedule(world)
    ScheduledRun.objects.create(schedule=one, campaign=world.before, changes=["1 host newly gave port=1"])
    ScheduledRun.objects.create(schedule=one, campaign=world.running())
    EnrollSecret.objects.offer("laptops", "long enough for a secret")
    EnrollSecret.objects.offer("servers", "another that is long enough")
    Query.objects.create(name="other", sql="SELECT 2"), make_label("empty")


def carves_of_each_state(world: World) -> None:
    now = timezone.now()
    carve(world, path="/etc/passwd")
    carve(world, trouble="too large")
    carve(world, session_id="1", begun_at=now)
    carve(world, session_id="2", begun_at=now - timedelta(days=2))
    carve(world, session_id="3", begun_at=now - timedelta(days=2), heard_at=now)
    carve(world, session_id="4", completed_at=now)
    carve(world, session_id="5", completed_at=now, trouble=EMPTY_ARCHIVE)
    carve(world, host=world.hosts[1], campaign_id=world.before.pk)


HOSTS = {
    "search=other": 1, "online=true": 0, "platform=windows": 1, "label=servers": 2, "in_doubt=true": 0, "seen=60": 0,
    "hostname=OTHER": 1, "uuid=u-1": 1, "hardware_serial=s-1": 1, "host_identifier=nobody": 0,
}  # fmt: skip
CARVES = {"host={host}": None, "search=passwd": 1, **{f"state={state}": None for state in CarveState.values}}
# list -> question -> how many are found; None = some, and not all
FILTERED: dict[str, dict[str, int | None]] = {
    "approval_rules_list": {"group=people": 1, "table=SHADOW": 1, "table=none": 0},
    "approvals_list": {"by=me": 2, "waiting=me": 1, "state=rejected": 1},
    "campaigns_list": {
        "created_by=bob": None, "label=servers": 0, "search=carve": 1, "since=3600": None, "status=running": None,
    },
    "campaigns_carves_list": {**CARVES, "host={host}": 7},
    "carves_list": {**CARVES, "campaign={before}": 1, "host={host}": 7},
    "campaigns_diff_retrieve": {"groups=true": 1, "ignore=port&ignore=pid": 1},
    "campaigns_groups_retrieve": {"by=port": 3, "search=4444": 1, "order=rows": 2},
    "campaigns_groups_hosts_retrieve": {"search=nobody": 0},
    "campaigns_results_retrieve": {"after=1": 1},
    "campaigns_rows_retrieve": {
        "search=4444": 1, "where=port:80": 1, "contains=port:44": 1, "order=host": 3, "cut=1": 3,
        "host={host}": 2, "host={host}&host=0": 2, "host=0": 0,
    },
    "campaigns_targets_list": {"state=answered": 2, "delivered=true": 0, "search=nobody": 0},
    "enroll_secrets_list": {"search=lapt": 1},
    "hooks_list": {
        "kind=notification": 1, f"event={Event.ENDED}": None, "stopped=true": 1, "stopped=false": 2, "owner=bob": 1,
    },
    "hooks_deliveries_list": {"state=waiting": 1, "state=dead": 0, "event=hook.test": 1, f"event={Event.ENDED}": 0},
    "hosts_list": HOSTS,
    "labels_hosts_list": {**HOSTS, "search=other": 0, "platform=windows": 0, "hostname=OTHER": 0, "uuid=u-1": 0,
                          "hardware_serial=s-1": 0},
    "hosts_results_retrieve": {"since=3600": 2, "state=failed": 0},
    "labels_list": {"search=empty": 1},
    "queries_list": {"search=other": 1},
    "queries_latest": {"by=port": 3, "order=-host": 2, "search=4444": 1, "where=port:80": 1},
    "quotas_list": {"group=people": 1, "person=bob": 1, "sets=rows_kept": 1, "sets=hosts_per_hour": 0},
    "schedules_list": {"enabled=false": 0, "mine=false": 0, "query={query}": 1},
    "schedules_runs_list": {"changed=true": 1, "changed=false": 1, "status=running": 1},
    "tokens_list": {
        "everybodys=true": None, "owner=boss": None, "everybodys=true&owner=bob": 1, "search=mod": 1,
        "everybodys=true&access=read": 1, "tools_may_launch=true": 1,
    },
    "audit_retrieve": {
        "who=bob": None, "action=hook": None, "subject=nothing": 0, "text=nowhere": 0, "since=0": 0,
        "until=2001-01-01T00:00:00Z": 0, "before=2": 1, "after=1": None,
    },
}  # fmt: skip


def test_every_filter_of_every_list_narrows_it(world: World) -> None:
    rich(world)
    wrong = []

    for name in LISTS:
        address, asked = of_list(world, name), FILTERED[name]
        places = {"host": world.hosts[0].pk, "before": world.before.pk, "query": world.query.pk}
        every = len(get(world, f"{address}limit=1000")["results"])
        for question, expected in asked.items():
            found = len(get(world, f"{address}limit=1000&{question.format(**places)}")["results"])
            if found != expected if expected is not None else not found > 0:
                wrong.append(f"{name} {question}: {found} of {every}, not {expected}")
        tried = {pair.partition("=")[0] for question in asked for pair in question.split("&")}
        wrong += [f"{name} {one}: never tried" for one in parameters(name) - PAGING - tried - {"with"}]

    assert wrong == []


def test_carves_are_found_in_the_state_that_each_shows(world: World) -> None:
    carves_of_each_state(world)
    shown = {item["id"]: item["state"] for item in get(world, "/api/v1/carves/")["results"]}

    for state in CarveState.values:
        found = get(world, f"/api/v1/carves/?state={state}")["results"]
        assert {item["id"] for item in found} == {number for number, of in shown.items() if of == state}, state
        assert found, state


WRONG = {
    "hooks/?owner=nobody": "'nobody' is unknown",
    "hooks/?event=odd": "allowed are campaign.started",
    "quotas/?group=nobody": "'nobody' is unknown",
    "quotas/?sets=all": "allowed are open_campaigns",
    "approval-rules/?group=nobody": "'nobody' is unknown",
    "carves/?state=gone": "allowed are announced",
    "carves/?host=web": "'web' is not a number",
    "tokens/?access=all": "allowed are",
}


def test_a_wrong_value_of_a_filter_is_named(world: World) -> None:
    for asked, said in WRONG.items():
        refused = world.client.get(f"/api/v1/{asked}")

        assert (refused.status_code, said in refused.json()["error"]) == (400, True), refused.json()


def test_who_looks_at_his_own_hooks_alone_is_told_of_no_other_person(world: World) -> None:
    somebody, client = make_person("campaigns.add_hook"), APIClient()
    client.force_authenticate(somebody)

    mine, theirs, nobodys = (
        client.get(f"/api/v1/hooks/?owner={name}") for name in (somebody.username, "bob", "nobody")
    )

    assert mine.json()["results"] == []
    assert theirs.json()["error"].replace("bob", "nobody") == nobodys.json()["error"]


# --- what the document says of parameters -----------------------------------------------------------------------


def test_a_number_is_taken_within_the_bounds_of_the_document_and_nowhere_else(world: World) -> None:
    wrong = []

    for name, (method, _, operation) in OPERATIONS.items():
        numbers = [one for one in operation.get("parameters", []) if one["in"] == "query" and is_whole(one)]
        for one in numbers if method == "get" else []:
            low, high = one["schema"]["minimum"], one["schema"]["maximum"]
            for value, refused in ((low, False), (high, False), (low - 1, True), (high + 1, True)):
                if one["name"] == "with" and not refused:
                    continue  # the id of a campaign that is there
                answered = world.client.get(f"{of_list(world, name)}{one['name']}={value}")
                if (answered.status_code == 400) != refused:
                    wrong.append((name, one["name"], value, answered.status_code))

    assert wrong == []


def is_whole(parameter: dict[str, Any]) -> bool:
    return bool(parameter["schema"].get("type") == "integer")


def test_a_method_that_is_not_taken_is_refused_as_that_whatever_is_asked(world: World) -> None:
    wrong = []

    for name, (method, path, _) in OPERATIONS.items():
        if method != "get":
            continue
        address = f"{place(world, name, path)}?{'&'.join(f'{one}=' for one in parameters(name))}"
        answered = world.client.generic("TRACE", address)
        if answered.status_code != 405 or not answered.headers.get("Allow"):
            wrong.append((name, answered.status_code, answered.json()))

    assert wrong == []
