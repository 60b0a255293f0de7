"""Texts that count: one of something is never a plural, in Python, on pages and in what the browser says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_live_queries import wording

from fleet import counting

ROOT = Path(__file__).parents[2]
PEOPLE_READ = ("agents", "campaigns", "clients/python/fleet_live_queries", "fleet")
THINGS = (
    "answers blocks bytes campaigns cells changes characters check-ins columns days dependencies documents entries"
    " fields files gateways groups hosts hours items labels lines members messages minutes pages people queries reads"
    " replicas reasons requests rows runs schedules seconds sessions hooks approvals rules carves operators secrets"
    " warnings tables targets things times tokens tries vulnerabilities"
)
COUNTS = re.compile(rf" (?:(?:more|silent|other|of them) )?(?:{'|'.join(THINGS.split())})\b")
ON_PAGE = re.compile(rf"(\{{\{{[^}}]+\}}\}}|\$\{{[^}}]+\}})(?:</\w+>)?{COUNTS.pattern}")
BEYOND_A_LIMIT = ("allowed", "as it is served", "are the most", "as JSON", "do not fit")  # that is more than one
# Names and numbers of things, before a verb; and what is never one: lists that are spoken of when they are long.
NO_COUNT = ("_names(platforms)", "hook.owner.get_username()", "schedule.pk", "shown.pk", "query.name", "version")
NEVER_ONE = (
    *(
        "len(bearers[name])",
        "row_columns|length",
        "by|length",
        "ROWS_OF_A_SAMPLE",
        "counted(COPIED)",
        "counted(COPIED_OF_CELL)",
    ),
    *("settings.MAX_HELD_READS", "most", "size", "len(hosts)", "len(columns)"),
)


def counts_in_code(path: Path) -> Iterator[str]:
    """Give every value of a module's texts that a plural follows; constants of the code's own are more than one."""
    for text in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.JoinedStr)):
        for value, after in zip(text.values, text.values[1:], strict=False):
            if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant):
                given, words = ast.unparse(value.value), str(after.value)
                is_known = given.isupper() or given in (*NO_COUNT, *NEVER_ONE) or ".1f" in ast.unparse(value)
                if COUNTS.match(words) and not is_known and not any(limit in words for limit in BEYOND_A_LIMIT):
                    yield f"{path.relative_to(ROOT)}:{text.lineno} {given}{words[:20]}"


def counts_on_pages(path: Path) -> Iterator[str]:
    """Give every value of a page, or of a text of the browser's, that a plural follows."""
    for found in ON_PAGE.finditer(path.read_text()):
        if not any(name in found[1] for name in NEVER_ONE):
            yield f"{path.relative_to(ROOT)} {found[0]}"


def test_no_text_counts_in_the_plural_alone() -> None:
    below = [ROOT / name for name in PEOPLE_READ]
    code = [path for place in below for path in place.rglob("*.py")]
    pages = [path for place in below for path in place.rglob("templates/**/*.html")]
    spoken = list((ROOT / "campaigns/console/frontend/src").rglob("*.ts"))
    assert min(len(code) // 300, len(pages) // 30, len(spoken) // 10)

    wrong = [line for path in code for line in counts_in_code(path)]
    wrong += [line for path in [*pages, *spoken] for line in counts_on_pages(path)]

    assert wrong == []


@pytest.mark.parametrize("module", [counting, wording])
def test_words_go_with_their_number(module: object) -> None:
    assert [module.counted(number, "row") for number in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]  # type: ignore[attr-defined]
    assert [module.counted(number, "try", "tries") for number in (1, 3)] == ["1 try", "3 tries"]  # type: ignore[attr-defined]
    assert [module.plural(number, "is", "are") for number in (0, 1, 1.0, 1.5)] == ["are", "is", "is", "are"]  # type: ignore[attr-defined]
