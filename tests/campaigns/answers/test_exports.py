"""What can be taken away: pages by cursor, and files."""

import csv
import json
import re
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone
from rest_framework.exceptions import APIException
from rest_framework.test import APIClient

from agents.models import Host, Presence
from campaigns.answers import columnar
from campaigns.answers.exports import every_item, rows_as_csv, rows_as_ndjson
from campaigns.api import downloads
from campaigns.api.downloads import json_array
from campaigns.models import Campaign, Result
from campaigns.people.roles import AUDITOR
from campaigns.people.scopes import Scope
from campaigns.tokens import ApiToken
from fleet.audit.models import AuditEvent
from fleet.errors import ForbiddenError, NotFoundError
from tests.conftest import Agent
from tests.factories import answer, make_campaign, make_hosts, make_user

pytestmark = pytest.mark.django_db(transaction=True)
Api = Callable[[User | None], APIClient]
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def answered(agent: Callable[[Host], Agent], collect: Callable[[], int]) -> Campaign:
    """Give a campaign that three hosts answered, one with what a spreadsheet would run."""
    hosts = make_hosts(3)
    campaign = make_campaign(*hosts)
    for host, cell in zip(hosts, ("plain", "=cmd()", "with, comma"), strict=True):
        agent(host).read()
        agent(host).write(campaign.pk, [{"cell": cell}])
    collect()
    return campaign


def get(api: APIClient, campaign: Campaign, name: str) -> Any:
    return api.get(f"/api/v1/campaigns/{campaign.pk}/{name}")


def text(answer: Any) -> str:
    assert answer.status_code == 200
    return b"".join(answer.streaming_content).decode()


def test_results_are_paged_by_seq_without_gaps_or_repeats(api: Api, observer: User, answered: Campaign) -> None:
    client = api(observer)

    first = get(client, answered, "results/?after=0&limit=2").json()
    second = client.get(first["next"]).json()

    assert [item["seq"] for item in first["results"] + second["results"]] == [1, 2, 3]
    assert second["next"] is None
    assert first["results"][0]["rows"] == [{"cell": "plain"}]


@pytest.mark.parametrize("query", ["after=x", "limit=0", "limit=1001", "limit=-1"])
def test_a_page_that_cannot_be_is_refused_by_name(api: Api, observer: User, answered: Campaign, query: str) -> None:
    answer = get(api(observer), answered, f"results/?{query}")

    assert answer.status_code == 400
    assert query.split("=")[1] in answer.json()["error"]


def test_a_table_quotes_what_a_spreadsheet_would_run(api: Api, observer: User, answered: Campaign) -> None:
    lines = text(get(api(observer), answered, "export.csv")).splitlines()

    assert lines[0] == "host,host_id,cell,truncated,late"
    cells = [line.split(",", 2)[2].removesuffix(",false,false") for line in lines[1:]]
    assert cells == ["plain", "'=cmd()", '"with, comma"']


def test_lines_and_arrays_hold_every_row(api: Api, observer: User, answered: Campaign) -> None:
    lines = text(get(api(observer), answered, "export.ndjson")).splitlines()
    whole = json.loads(text(get(api(observer), answered, "export.json")))

    assert [json.loads(line)["row"]["cell"] for line in lines] == ["plain", "=cmd()", "with, comma"]
    assert [item["rows"][0]["cell"] for item in whole] == ["plain", "=cmd()", "with, comma"]


def test_targets_say_what_became_of_each_host(api: Api, observer: User, answered: Campaign) -> None:
    body = get(api(observer), answered, "targets/?state=answered").json()

    assert body["count"] == 3
    assert body["results"][0]["deliveries"] == 1
    assert text(get(api(observer), answered, "targets.csv")).count("answered") == 4  # with the column answered_at
    assert get(api(observer), answered, "targets/?state=lost").status_code == 400


def test_what_was_cut_says_so_everywhere(api: Api, observer: User, answered: Campaign) -> None:
    client = api(observer)
    answered.results.filter(seq=2).update(truncated=True)
    cut = [False, True, False]

    lines = text(get(client, answered, "export.ndjson")).splitlines()
    table = csv.DictReader(text(get(client, answered, "export.csv")).splitlines())
    targets = csv.DictReader(text(get(client, answered, "targets.csv")).splitlines())

    assert [item["truncated"] for item in get(client, answered, "rows/").json()["results"]] == cut
    assert [json.loads(line)["truncated"] for line in lines] == cut
    assert [row["truncated"] for row in table] == ["false", "true", "false"]
    assert [item["truncated"] for item in json.loads(text(get(client, answered, "export.json")))] == cut
    assert [target["truncated"] for target in get(client, answered, "targets/").json()["results"]] == cut
    assert [target["truncated"] for target in targets] == ["false", "true", "false"]


def test_the_table_of_targets_says_what_the_list_says(api: Api, observer: User, answered: Campaign) -> None:
    Presence.objects.create(host=Host.objects.earliest("pk"), last_seen=timezone.now())
    client = api(observer)

    listed = get(client, answered, "targets/").json()["results"]
    table = list(csv.DictReader(text(get(client, answered, "targets.csv")).splitlines()))

    assert list(table[0]) == ["host", "host_id", *list(listed[0])[1:]]
    assert [line["online"] for line in table] == ["true", "false", "false"]
    for target, line in zip(listed, table, strict=True):
        assert MOMENT.fullmatch(line["delivered_at"])
        assert (line["delivered_at"], line["answered_at"]) == (target["delivered_at"], target["answered_at"])


def test_strangers_see_nothing(api: Api, stranger: User, answered: Campaign) -> None:
    for name in ("results/", "targets/", "export.csv", "export.json", "targets.csv"):
        assert get(api(stranger), answered, name).status_code == 403


@pytest.mark.django_db
def test_an_export_ends_where_its_columns_end(board: None) -> None:
    first, second = make_hosts(2)
    campaign = make_campaign(first, second)
    answer(campaign, first, {"a": "1"})
    known = Campaign.objects.get(pk=campaign.pk)
    answer(campaign, second, {"b": "2"})

    for write in (rows_as_csv, rows_as_ndjson):
        assert first.hostname in "".join(write(known))
        assert second.hostname not in "".join(write(known)), (
            "its column is not known there: it would be lost in silence"
        )
        assert "2" in "".join(write(Campaign.objects.get(pk=campaign.pk)))


def test_no_file_looks_whole_when_the_campaign_is_deleted_meanwhile(answered: Campaign) -> None:
    files = (
        rows_as_csv(answered),
        rows_as_ndjson(answered),
        json_array(every_item(answered)),
        columnar.rows_as_parquet(answered),
        columnar.rows_as_xlsx(answered),
    )

    answered.delete()
    Result.objects.filter(seq__lt=2).delete()  # the first ones are deleted first

    for file in files:
        with pytest.raises(NotFoundError, match="was deleted meanwhile"):
            list(file)


def test_a_file_breaks_off_when_who_takes_it_may_have_it_no_more(
    answered: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "RIGHTS_SECONDS", 0.0)
    monkeypatch.setattr(downloads, "LINES_A_CHUNK", 1)
    addresses = [f"/api/v1/campaigns/{answered.pk}/{name}" for name in ("export.csv", "export.json", "targets.csv")]
    begun = []
    for name in ("keeps all", "token", "person", "right", "scope"):
        person = make_user(name)
        person.groups.add(Group.objects.get(name=AUDITOR))
        token, shown = ApiToken.objects.create(person)
        client = APIClient(headers={"Authorization": f"Bearer {shown}"})
        files = [iter(client.get(at).streaming_content) for at in (*addresses, "/api/v1/audit.ndjson")]
        begun.append((name, person, token, [(next(file), file) for file in files]))

    for name, person, token, _ in begun:
        if name == "token":
            token.delete()
        elif name == "person":
            User.objects.filter(pk=person.pk).update(is_active=False)
        elif name == "right":
            person.groups.clear()
        elif name == "scope":
            team = Group.objects.create(name="team")
            Scope.objects.create(group=team)
            person.groups.add(team)

    for name, *_, pieces in begun:
        for _, file in pieces:
            with nullcontext() if name == "keeps all" else pytest.raises((APIException, ForbiddenError)):
                assert b"".join(file)


def test_the_head_of_a_file_tells_whether_it_would_be_given_and_makes_none(
    api: Api, boss: APIClient, answered: Campaign
) -> None:
    files = [f"campaigns/{answered.pk}/export.{kind}" for kind in ("csv", "ndjson", "json", "parquet", "xlsx")]
    later = make_campaign(*Host.objects.all())
    files += [
        f"campaigns/{answered.pk}/targets.csv",
        f"campaigns/{later.pk}/diff.csv?with={answered.pk}",
        "audit.ndjson",
    ]

    for file in files:
        told = boss.head(f"/api/v1/{file}")
        assert (told.status_code, b"".join(told.streaming_content)) == (200, b""), file
        assert told.headers["Content-Disposition"].startswith("attachment"), file
    assert boss.head(f"/api/v1/campaigns/{answered.pk}/export.csv?column=nonsense").status_code == 400
    assert api(None).head(f"/api/v1/{files[0]}").status_code == 401

    assert not AuditEvent.objects.filter(action__endswith="exported").exists()
