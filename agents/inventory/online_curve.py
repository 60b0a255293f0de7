"""How many hosts were online over the last day: counted every few minutes, whatever the number of check-ins."""

from collections import defaultdict
from datetime import datetime, timedelta

from django.db.models import Count

from agents.inventory.models import OnlineSample
from agents.models import Host, presence_is_online

PERIOD = timedelta(minutes=5)
SHOWN = timedelta(days=1)
KEPT = SHOWN + timedelta(hours=1)


def sample(now: datetime) -> None:
    """Count who is online, once in a period whoever runs it and how often, and forget what no curve shows."""
    at = now.replace(second=0, microsecond=0)
    if OnlineSample.objects.filter(at__gt=at - PERIOD).exists():
        return
    online = Count("pk", filter=presence_is_online(now, "presence__"))
    hosts = Host.objects.enrolled().order_by().values("platform").annotate(online=online)
    samples = [OnlineSample(at=at, platform=each["platform"], hosts=each["online"]) for each in hosts]
    OnlineSample.objects.bulk_create(samples, ignore_conflicts=True)
    OnlineSample.objects.filter(at__lt=now - KEPT).delete()


def last_day(now: datetime) -> dict[datetime, dict[str, int]]:
    """Give what was counted within the last day: of each moment the hosts of each platform."""
    counted: dict[datetime, dict[str, int]] = defaultdict(dict)
    for each in OnlineSample.objects.filter(at__gt=now - SHOWN, at__lte=now):
        counted[each.at][each.platform] = each.hosts
    return dict(counted)
