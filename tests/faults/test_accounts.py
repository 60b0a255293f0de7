"""What the accounts say of lateness: two answers of one host, and which of them is stored."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults import accounts
from tests.faults.agents import Ledger, Manner, Sent

HOST, CAMPAIGN = 29, 9
ENDED_AT = 1_000.0
FIRST = Sent("n1", sent=985.0, acknowledged=985.5)
SECOND = Sent("n2", sent=998.0, acknowledged=1_004.0)  # by a gateway that froze meanwhile


@pytest.mark.parametrize(
    ("stored", "losses", "is_wrong"),
    [
        ("n2", [985.4], False),  # the first one was lost with Redis' last moment, and the host asked again
        ("n2", [], True),  # nothing was lost: the first one had to count
        ("n2", [970.0], True),  # what was lost was lost long before
        ("n1", [985.4], True),  # the one in time is there, so it was not lost
    ],
)
def test_only_the_answer_after_a_lost_one_may_be_late(stored: str, losses: list[float], is_wrong: bool) -> None:
    ledger = Ledger(sent={(CAMPAIGN, HOST): {"n1": FIRST, "n2": SECOND}})
    stage: Any = SimpleNamespace(crowd=SimpleNamespace(ledger=ledger), lossy=losses)
    campaign = accounts.Ended(CAMPAIGN, "expired", 980.0, ENDED_AT, 1, 1, "its 20 seconds were over", "")
    results = [[1, [{"n": stored}], "answered", True]]

    said = list(accounts._target(stage, campaign, HOST, Manner.ANSWERS, "answered", True, 2, results))

    late = "its answer was acknowledged in time"
    assert [sentence for sentence in said if not sentence.startswith(late)] == []
    assert bool(said) is is_wrong
