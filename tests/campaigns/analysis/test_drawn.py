"""How much of wide, long and heavy answers pages draw: what a browser takes in at once, whatever hosts sent."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from campaigns.console import drawing
from campaigns.models import Campaign, Query
from tests.factories import answer, make_campaign, make_hosts
from tests.pages import words_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]

MOST_ELEMENTS, MOST_BYTES = 3_000, 600_000
ELEMENT = re.compile(r"<[a-z]")
HEAVY = "é" * 400_000


def wide(host: int, row: int, run: int) -> dict[str, str]:
    return {f"column {number}": f"{host} {row} {run}" for number in range(500)}


def heavy(host: int, row: int, run: int) -> dict[str, str]:
    return {"big": f"{HEAVY}{host} {run}", "row": str(row)}


def narrow(host: int, row: int, run: int) -> dict[str, str]:
    return {"pid": f"{(host + 1) * 1000 + row}", "run": str(run)}


@pytest.mark.parametrize(("made", "hosts", "rows"), [(wide, 26, 1), (heavy, 4, 1), (narrow, 30, 40)])
def test_pages_draw_no_more_of_answers_than_browsers_take_in(
    made: Callable[[int, int, int], dict[str, str]], hosts: int, rows: int, client: Client, operator: User
) -> None:
    query = Query.objects.create(name="q", sql="SELECT 1", created_by=operator)
    asked = make_hosts(hosts)
    runs = [make_campaign(*asked, by=operator) for _ in range(2)]
    Campaign.objects.update(query=query)
    for run, campaign in enumerate(runs):
        for number, host in enumerate(asked):
            answer(campaign, host, *(made(number, row, run) for row in range(rows)))
    client.force_login(User.objects.create_superuser("boss"))
    here, there = (f"/campaigns/{campaign.pk}/" for campaign in reversed(runs))
    compared = f"{here}compare/?with={runs[0].pk}"

    pages: dict[str, Any] = {
        address: client.get(address)
        for address in (
            *(here, f"{there}?tab=groups", f"{here}?tab=groups&with={runs[0].pk}", f"{here}?tab=hosts"),
            *(compared, f"/queries/{query.pk}/latest/", f"/hosts/{asked[0].pk}/answers/{runs[0].pk}/"),
        )
    }

    for address, page in pages.items():
        assert page.status_code == 200, address
        assert len(ELEMENT.findall(page.content.decode())) <= MOST_ELEMENTS, address
        assert len(page.content) <= MOST_BYTES, address
    if made is narrow:
        assert "and 36 more rows: <a" in words_of(pages[compared])
        assert ">this host alone</a>" in words_of(pages[compared])
        assert ">1039<" not in words_of(pages[compared])
        assert ">1039<" in words_of(client.get(f"{compared}&one=1"))
        assert "more cells" in words_of(pages[f"{there}?tab=groups"])


def test_cells_stand_in_the_order_of_the_sql_and_those_that_are_not_drawn_are_counted() -> None:
    rows, columns = [{"a": 1, "b": 2}, {}, {"a": 3, "b": 4}], ["b", "a"]

    assert drawing.first_cells(rows, columns, 3) == ([[("b", 2), ("a", 1)], [], [("b", 4)]], 1)
    assert drawing.first_cells(rows, columns, 2) == ([[("b", 2), ("a", 1)], []], 2)
    assert drawing.first_cells([], columns, 2) == ([], 0)


def test_a_column_called_as_one_of_a_pages_own_is_told_apart_from_it(client: Client, operator: User) -> None:
    query = Query.objects.create(name="q", sql="SELECT host FROM last", created_by=operator)
    [asked] = make_hosts(1)
    first, second = (make_campaign(asked, by=operator) for _ in range(2))
    Campaign.objects.update(query=query)
    for number, campaign in enumerate((first, second)):
        answer(campaign, asked, {"host": f"10.0.0.{number}"})
    client.force_login(User.objects.create_superuser("boss"))

    for address in (
        f"/campaigns/{first.pk}/",
        f"/campaigns/{second.pk}/compare/?with={first.pk}",
        f"/queries/{query.pk}/latest/",
    ):
        headings = re.findall(r'<th scope="col"[^>]*>(?:<bdi>)?([^<]*)', client.get(address).content.decode())
        assert (headings.count("host"), headings.count("row.host")) == (1, 1), (address, headings)
