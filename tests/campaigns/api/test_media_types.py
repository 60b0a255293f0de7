"""Whatever a client accepts, and whatever format it asks for: an answer, or a sentence."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from campaigns.api.urls import urlpatterns
from campaigns.models import Campaign
from tests.factories import answer, make_campaign, make_hosts

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Api = Callable[[User | None], APIClient]

ACCEPTS = ["text/csv", "application/x-ndjson", "text/html", "image/png", "application/json;q=0", "rubbish", "", "*/*"]
FILES = {
    "export.csv": "text/csv",
    "export.ndjson": "application/x-ndjson",
    "export.json": "application/json",
    "targets.csv": "text/csv",
    "export.parquet": "application/vnd.apache.parquet",
    "export.xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "audit.ndjson": "application/x-ndjson",
}


@pytest.fixture
def superuser(db: None) -> User:
    """Give somebody who may look at everything."""
    return User.objects.create_superuser("chief")


@pytest.fixture
def campaign() -> Campaign:
    """Give a campaign that its one host answered."""
    host = make_hosts(1)[0]
    made = make_campaign(host)
    answer(made, host, {"cell": "-5", "host": "=me"})
    return made


@pytest.fixture
def addresses(campaign: Campaign) -> list[str]:
    """Give every address of the API that can be read, with the campaign's number where one belongs."""
    routes = [str(pattern.pattern) for pattern in urlpatterns]
    plain = [route.replace("^", "").replace("$", "").replace(r"\.", ".") for route in routes if "format" not in route]
    filled = [
        re.sub(r"\(\?P<\w+>[^)]*\)|<int:\w+>", str(campaign.pk), route)
        for route in plain
        if not re.search(r"\(\?P<(key|seq)>", route)
    ]
    return [f"/api/v1/{route}" for route in filled if not route.startswith("live-queries")]


def sentence(answer: Any) -> str:
    return str(answer.json()["error"])


def test_an_answer_has_its_one_media_type_whatever_is_accepted(
    api: Api, superuser: User, campaign: Campaign, addresses: list[str]
) -> None:
    client = api(superuser)

    assert len(addresses) > 20
    for address in addresses:
        for accept in ACCEPTS:
            found = client.get(address, HTTP_ACCEPT=accept)
            lacks = (400,) if "/diff" in address else ()  # which run to compare with
            assert found.status_code in (200, 404, 405, 409, *lacks), (address, accept, found.status_code)
            assert found.status_code != 404 or f"/campaigns/{campaign.pk}/" not in address, address
            if found.status_code >= 400:
                assert len(sentence(found)) > 10, address
            else:
                kind = FILES.get(address.rsplit("/", 1)[1], "application/json")
                assert found["Content-Type"].split(";")[0] == kind, address


@pytest.mark.parametrize("wanted", ["csv", "api", "", "\x00", "x" * 300])
def test_a_format_that_is_not_offered_is_named(api: Api, superuser: User, addresses: list[str], wanted: str) -> None:
    client = api(superuser)

    for address in addresses:
        found = client.get(address, {"format": wanted})
        assert found.status_code in (400, 405), address
        assert repr(wanted) in sentence(found) or found.status_code == 405, address


@pytest.mark.parametrize("name", ["export.csv", "targets.csv"])
def test_a_table_may_begin_with_a_byte_order_mark(api: Api, superuser: User, campaign: Campaign, name: str) -> None:
    client, address = api(superuser), f"/api/v1/campaigns/{campaign.pk}/{name}"

    marked, bare = (b"".join(client.get(address, query).streaming_content) for query in ({"bom": 1}, {}))

    assert marked == b"\xef\xbb\xbf" + bare
    assert bare.startswith(b"host,host_id,")
    refused = client.get(address, {"bom": "perhaps"})
    assert (refused.status_code, "bom 'perhaps'" in sentence(refused)) == (400, True)


def test_a_column_named_host_stays_beside_the_machine(api: Api, superuser: User, campaign: Campaign) -> None:
    answered = api(superuser).get(f"/api/v1/campaigns/{campaign.pk}/export.csv")
    header, row = b"".join(answered.streaming_content).decode().splitlines()

    assert header == "host,host_id,cell,row.host,truncated,late"
    assert row.split(",")[2:] == ["-5", "'=me", "false", "false"]


def test_the_document_of_the_api_names_the_formats_it_has(api: Api, superuser: User) -> None:
    refused = api(superuser).get("/api/schema/", {"format": "csv"})

    assert refused.status_code == 400
    assert b"format 'csv' is unknown, allowed are" in refused.content
