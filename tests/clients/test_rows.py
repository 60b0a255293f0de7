"""Rows as tables of other libraries: with the real ones, where they are installed."""

import inspect
import re
from typing import Any

import pytest
from fleet_live_queries import AsyncCampaign, AsyncClient, Campaign, Client, Row
from fleet_live_queries.rows import frame, table_of

ROWS = [
    Row("srv-1", 1, {"host": "x", "n": "1"}, 1),
    Row("srv-2", 2, {"n": "-2", "row.host": "y"}, 2),
]


def test_the_hosts_own_columns_keep_their_names() -> None:
    table = table_of(ROWS, ["n", "host"])

    assert table == {
        "host": ["srv-1", "srv-2"],
        "host_id": [1, 2],
        "n": ["1", "-2"],
        "row.row.host": ["x", None],
        "row.host": [None, "y"],
    }


@pytest.mark.parametrize("rows", [ROWS, []])
def test_a_frame_of_pandas_has_the_same_types_however_few_rows_there_are(rows: list[Row]) -> None:
    pandas = pytest.importorskip("pandas")
    found = frame("pandas", table_of(rows, ["n"]))

    assert found["host_id"].dtype == "int64"
    assert [*found.columns[:3], len(found)] == ["host", "host_id", "n", len(rows)]
    assert [*pandas.concat([found, frame("pandas", table_of(ROWS, ["n"]))])["host_id"]] == [
        *(row.host_id for row in rows),
        1,
        2,
    ]
    if rows:
        assert found["row.row.host"].isna().tolist() == [False, True]


@pytest.mark.parametrize("rows", [ROWS, []])
def test_a_frame_of_polars_has_the_same_types_however_few_rows_there_are(rows: list[Row]) -> None:
    polars = pytest.importorskip("polars")
    found = frame("polars", table_of(rows, ["n"]))

    assert {*found.schema.items()} >= {("host", polars.String), ("host_id", polars.Int64), ("n", polars.String)}
    assert polars.concat([found, frame("polars", table_of(ROWS, ["n"]))], how="diagonal").height == len(rows) + 2


TWINS = (
    (r"async (def|with|for)", r"\1"),
    (r"await ", ""),
    (r"Async(Client|Campaign|Iterator)", r"\1"),
    (r"__a(enter|exit)__", r"__\1__"),
    (r"aclose", "close"),
    (r"for row in (rows_of\(event.value\)):\n +yield row", r"yield from \1"),
    (r"\[row for row in self.rows\(\)\]", "[*self.rows()]"),
)


@pytest.mark.parametrize(("waiting", "on_a_loop"), [(Client, AsyncClient), (Campaign, AsyncCampaign)])
def test_both_clients_are_one_but_for_waiting(waiting: type[Any], on_a_loop: type[Any]) -> None:
    source = inspect.getsource(on_a_loop)
    for pattern, replacement in TWINS:
        source = re.sub(pattern, replacement, source)

    assert source == inspect.getsource(waiting)
