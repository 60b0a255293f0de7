"""Which columns two runs are shown beside each other by, where there are more than a page can hold."""

from campaigns.console.analysis_pages import COLUMNS_SHOWN, _worth_seeing

MANY = [f"c{number}" for number in range(500)]
ALIKE = dict.fromkeys(MANY, "1")


def test_few_columns_are_all_shown_and_of_many_those_in_which_rows_differ() -> None:
    changed = {"added": [ALIKE], "removed": [{**ALIKE, "c499": "2"}]}

    shown = _worth_seeing([changed], MANY, COLUMNS_SHOWN)

    assert _worth_seeing([changed], MANY[:COLUMNS_SHOWN], COLUMNS_SHOWN) == MANY[:COLUMNS_SHOWN]
    assert shown == [*MANY[: COLUMNS_SHOWN - 1], "c499"]
    assert _worth_seeing([{"row": ALIKE}, {"row": {**ALIKE, "c400": "2"}}], MANY, COLUMNS_SHOWN)[-1] == "c400"
