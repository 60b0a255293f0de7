"""Pages that are asked too often say so in words, and when to ask again; what was typed is still in them."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.conf import settings as installation
from django.contrib.auth.models import User
from django.test import Client

from campaigns.analysis import asking
from campaigns.models import Campaign, Query
from tests.factories import answer, end, make_campaign, make_host

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]

ENDLESS = "SELECT range FROM range(100000000)"


@pytest.fixture
def busy(operator: User, settings: Any) -> Iterator[None]:
    """Let as many analyses run as may at once."""
    settings.ANALYSIS_WAIT_SECONDS = 0
    with ExitStack() as running:
        for _ in range(installation.ANALYSES_AT_ONCE):
            running.enter_context(asking.running([ENDLESS], asking.Tables(asking.sight_of(operator)), asking.Limits()))
        yield


@pytest.fixture
def runs(operator: User) -> list[Campaign]:
    """Give two runs of one saved query."""
    host, query = make_host(), Query.objects.create(name="q", sql="SELECT pid FROM processes", created_by=operator)
    made = [make_campaign(host, by=operator, sql=query.sql, query=query) for _ in range(2)]
    for each in made:
        answer(each, host, {"pid": "1"})
        end(each)
    return made


def test_two_runs_are_compared_a_moment_later(client: Client, operator: User, runs: list[Campaign], busy: None) -> None:
    client.force_login(operator)

    page = client.get(f"/campaigns/{runs[1].pk}/compare/?with={runs[0].pk}")

    assert page.status_code == 429
    assert "try again in a moment." in page.content.decode()


@pytest.mark.parametrize("address", ["/ask/", "/hosts/{host}/ask/", "/campaigns/{run}/rerun/", "/ask/example/0/"])
def test_launches_beyond_a_minutes_number_are_told_when_the_next_goes(
    address: str, client: Client, operator: User, runs: list[Campaign], settings: Any
) -> None:
    settings.LAUNCHES_PER_MINUTE = 2
    client.force_login(operator)
    host = runs[0].targets.get().host_id
    typed = {"sql": "SELECT 'typed'", "kind": "all", "timeout": "600", "page": "p", "states": ["answered"]}

    page = client.post(address.format(host=host, run=runs[0].pk), typed, follow=True)

    said = page.content.decode()
    assert page.status_code in (200, 422), said
    assert "aunches of" in said
    assert "the next goes in " in said
    assert Campaign.objects.count() == 2
    if address.endswith("/ask/"):
        assert "SELECT &#x27;typed&#x27;" in said
