"""Tables that spreadsheets open: nothing in them runs, numbers stay numbers, no name twice."""

import pytest

from fleet.spreadsheets import beside, harmless

NUMBERS = ("-5", "+5", "-12.5", "-.5", "5.", "1e5", "-1E-7", "-9223372036854775808", "9223372036854775807", " -5 ")


@pytest.mark.parametrize("cell", [*NUMBERS, "", "plain", "a=b", "[x]", "'=1", "\tplain", "-5\n", 5, None, "münchen"])
def test_what_nothing_would_run_stays_as_it_is(cell: object) -> None:
    assert harmless(cell) == cell


@pytest.mark.parametrize("lead", ["", " ", "\t", "\n", "\r\n", "\u00a0", "\u200b", "\ufeff", "\x00", " \t\u3000"])
@pytest.mark.parametrize("sign", "=+-@＝＋－＠")  # noqa: RUF001 - full-width signs are the point
def test_what_a_spreadsheet_would_run_is_quoted(lead: str, sign: str) -> None:
    for rest in ("cmd|' /C calc'!A0", "1+1", "1e5e5", "5 apples", "\u0665", "SUM(A1)"):
        assert harmless(f"{lead}{sign}{rest}") == f"'{lead}{sign}{rest}"


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (["pid", "name"], ["pid", "name"]),
        (["host", "tty"], ["row.host", "tty"]),
        (["host", "row.host", "host_id"], ["row.row.host", "row.host", "row.host_id"]),
        (["row.host", "row.row.host", "host"], ["row.host", "row.row.host", "row.row.row.host"]),
    ],
)
def test_a_column_named_like_one_of_ours_is_told_apart(columns: list[str], names: list[str]) -> None:
    assert beside(("host", "host_id"), columns) == names
