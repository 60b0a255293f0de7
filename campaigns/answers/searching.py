"""Conditions of SQL for answers that hold a text somewhere, in whatever case.

Taking a million rows apart cell by cell takes seconds, so the JSON of a whole answer is looked at before: whatever a
cell holds, its JSON holds with the same letters escaped.
"""

import json
import re

from fleet.errors import BadInputError
from fleet.text import is_text

CELLS = """
EXISTS (SELECT FROM jsonb_array_elements({rows}) AS row, jsonb_each_text(row) AS pair (name, text)
        WHERE pair.text ILIKE %s)
"""
IN_ROWS = f"({{rows}}::text ILIKE %s AND {CELLS})"
CELLS_OF_ROW = "EXISTS (SELECT FROM jsonb_each_text({row}) AS pair (name, text) WHERE pair.text ILIKE %s)"


def in_rows(rows: str, text: str) -> tuple[str, list[str]]:
    """Give the condition that a cell of these rows holds the text, and its parameters."""
    check_text(text)
    return IN_ROWS.format(rows=rows), [pattern_of(_as_json(text)), pattern_of(text)]


def in_row_or_hostname(rows: str, row: str, hostname: str, text: str) -> tuple[str, list[str]]:
    """Give the condition that a cell of this row, one of these rows, or the hostname holds the text; its parameters.

    What is asked of the rows stands apart, so that it is asked once for all of them, before they are taken apart.
    """
    check_text(text)
    in_answer = f"({hostname} ILIKE %s OR {rows}::text ILIKE %s)"
    in_row = f"({hostname} ILIKE %s OR {CELLS_OF_ROW.format(row=row)})"
    plain = pattern_of(text)
    return f"{in_answer} AND {in_row}", [plain, pattern_of(_as_json(text)), plain, plain]


def pattern_of(text: str) -> str:
    """Give the pattern of what holds a text, for LIKE."""
    escaped = re.sub(r"([\\%_])", r"\\\1", text)
    return f"%{escaped}%"


def check_text(value: str) -> None:
    """Raise BadInputError for text that no answer can hold."""
    if not is_text(value):
        raise BadInputError(f"{value!r} holds a NUL or a lone surrogate, which no answer has")


def _as_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
