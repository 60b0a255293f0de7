"""Who was meant is the same whether a few hosts are named, or the bit of every host of the range is looked at."""

import pytest
from django.utils import timezone

from agents.board.bitmaps import bitmap_of
from agents.board.keyspace import RANGE_SIZE
from campaigns.models import TargetRange
from campaigns.selecting import frozen
from tests.factories import make_campaign, make_host

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("few", [-1, frozen.FEW])
def test_those_in_the_bitmaps_that_are_enrolled_still(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "FEW", few)
    campaign = make_campaign(make_host())
    hosts = [make_host(), make_host(), make_host(pk=RANGE_SIZE - 1), make_host(pk=3 * RANGE_SIZE), make_host()]
    campaign.ranges.all().delete()
    meant, last = hosts[:4], hosts[2]
    for number in {host.pk // RANGE_SIZE for host in meant}:
        bits = [host.pk % RANGE_SIZE for host in meant if host.pk // RANGE_SIZE == number]
        TargetRange.objects.update_or_create(campaign=campaign, number=number, defaults={"hosts": bitmap_of(bits)})
    last.revoked_at = timezone.now()
    last.save()

    found = set(frozen.hosts_of(TargetRange.objects.filter(campaign=campaign)))

    assert found == {*meant} - {last}
