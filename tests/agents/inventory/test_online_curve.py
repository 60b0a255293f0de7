"""How many hosts were online over the last day: counted now and then, never by a check-in, and kept no longer."""

from datetime import UTC, datetime, timedelta

import pytest

from agents.inventory import online_curve
from agents.inventory.models import OnlineSample
from agents.models import Presence
from tests.factories import make_host

pytestmark = [pytest.mark.django_db]

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def kept() -> list[tuple[str, str, int]]:
    return [
        (f"{at:%d %H:%M}", platform, hosts)
        for at, platform, hosts in OnlineSample.objects.order_by("at", "platform").values_list(
            "at", "platform", "hosts"
        )
    ]


def test_hosts_online_are_counted_once_in_five_minutes_and_kept_for_a_day() -> None:
    here, gone = make_host(), make_host(platform="windows")
    for host in (here, gone, make_host(revoked_at=NOON)):
        Presence.objects.create(host=host, last_seen=NOON)

    online_curve.sample(NOON + timedelta(seconds=20))
    Presence.objects.filter(host=here).update(last_seen=NOON + 5 * MINUTE)
    for minute in (1, 4, 5, 6):
        online_curve.sample(NOON + minute * MINUTE)

    assert kept() == [
        ("29 12:00", "linux", 1),
        ("29 12:00", "windows", 1),
        ("29 12:05", "linux", 1),
        ("29 12:05", "windows", 0),
    ]
    later = NOON + timedelta(hours=24, minutes=2)
    assert online_curve.last_day(later) == {NOON + 5 * MINUTE: {"linux": 1, "windows": 0}}
    online_curve.sample(NOON + timedelta(hours=30))
    assert kept() == [("30 18:00", "linux", 0), ("30 18:00", "windows", 0)]
