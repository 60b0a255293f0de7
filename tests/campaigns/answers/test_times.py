"""When answers came."""

from datetime import timedelta

import pytest

from campaigns.answers.times import AnswerTimes, answer_times
from campaigns.models import Campaign
from campaigns.states import State
from tests.factories import answer, make_campaign, make_hosts

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]


def test_first_median_and_last_are_told_from_the_start_on_and_the_curve_ends_with_all() -> None:
    hosts = make_hosts(5)
    campaign: Campaign = make_campaign(*hosts)
    start = campaign.started_at or campaign.created_at
    for host, seconds in zip(hosts, (1, 2, 10), strict=False):
        answer(campaign, host, {"pid": "1"}, answered_at=start + timedelta(seconds=seconds))
    answer(campaign, hosts[3], state=State.FAILED, answered_at=start + timedelta(seconds=99))

    times = answer_times(campaign)

    assert (times.first, times.median, times.last) == (1.0, 2.0, 10.0)
    assert (times.curve[0], times.curve[-1]) == (0, 3)
    assert times.curve == sorted(times.curve)


def test_nobody_answered() -> None:
    assert answer_times(make_campaign(*make_hosts(1))) == AnswerTimes()
