"""Who was meant when a selection was frozen: the hosts in the bitmaps of a campaign's ranges."""

from collections.abc import Iterable

from django.db.models import F, Func, IntegerField, Q, Value
from django.db.models.lookups import Exact

from agents.board.keyspace import RANGE_BITS, RANGE_SIZE
from agents.models import Host, HostQuerySet
from campaigns.models import TargetRange


def hosts_of(ranges: Iterable[TargetRange]) -> HostQuerySet:
    """Give the hosts of these ranges that were meant and are enrolled still."""
    meant = Q(pk__in=[])
    for range_ in ranges:
        first = range_.number << RANGE_BITS
        meant |= Q(pk__gte=first, pk__lt=first + RANGE_SIZE) & Q(_is_meant(range_))
    hosts: HostQuerySet = Host.objects.enrolled().filter(meant)
    return hosts


def _is_meant(range_: TargetRange) -> Exact:
    # Redis counts the bits of a byte from the left, PostgreSQL from the right.
    bit = F("pk").bitand(RANGE_SIZE - 1).bitxor(7)
    return Exact(Func(Value(range_.hosts), bit, function="get_bit", output_field=IntegerField()), 1)
