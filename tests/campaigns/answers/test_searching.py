"""A text searched in rows, groups and last known answers is found where a cell holds it, however JSON writes it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from campaigns.models import Campaign, Query
from tests.factories import answer, make_campaign, make_hosts

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
CELL = 'He said "Ümlaut" to C:\\Temp\\100%_x\n\tend\x01\x7f 🦜 </b>'
FOUND = [
    '"ÜMlaut"',
    '"ümlAUT"',
    "c:\\temp",
    "\\",
    '"',
    "100%_X",
    "%_",
    "\n",
    "\n\tEND",
    "\x01",
    "\x7f",
    "🦜",
    "</B>",
    CELL,
]
NOT_FOUND = ["path", "\\n", "\\u0001", '\\"', "\\\\", "100_%", '": "', "}", "e_d", "%end"]


@pytest.fixture
def found(api: Callable[[User | None], APIClient], operator: User) -> Callable[[str], list[int]]:
    """Give how many of two rows, hosts' groups and last answers hold a text."""
    hosts = make_hosts(2)
    query = Query.objects.create(name="paths", sql="SELECT 1")
    campaign = make_campaign(*hosts)
    Campaign.objects.filter(pk=campaign.pk).update(query=query)
    answer(campaign, hosts[0], {"path": CELL, "other": "1"})
    answer(campaign, hosts[1], {"path": "plain", "other": "2"})
    client = api(operator)

    def count(text: str) -> list[int]:
        lists = [
            f"campaigns/{campaign.pk}/rows/",
            f"campaigns/{campaign.pk}/groups/",
            f"campaigns/{campaign.pk}/groups/?by=path",
            f"campaigns/{campaign.pk}/groups/?by=path,other",
            f"queries/{query.pk}/latest/",
        ]
        return [len(_results(client, address, text)) for address in lists]

    return count


def _results(client: APIClient, address: str, text: str) -> Any:
    path, _, asked = address.partition("?")
    given = {"search": text} | ({"by": asked.removeprefix("by=")} if asked else {})
    answered = client.get(f"/api/v1/{path}", given)
    assert answered.status_code == 200, answered.content
    return answered.json()["results"]


def test_a_text_is_found_wherever_a_cell_holds_it(found: Callable[[str], list[int]]) -> None:
    assert {text: found(text) for text in FOUND} == {text: [1] * 5 for text in FOUND}


def test_what_only_the_json_of_an_answer_holds_is_not_found(found: Callable[[str], list[int]]) -> None:
    assert {text: found(text) for text in NOT_FOUND} == {text: [0] * 5 for text in NOT_FOUND}
