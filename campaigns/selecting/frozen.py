"""Who was meant when a selection was frozen: the hosts in the bitmaps of a campaign's ranges."""

from collections.abc import Iterable

from django.db.models import F, Func, IntegerField, Q, Value
from django.db.models.lookups import Exact

from agents.board.bitmaps import bits_of
from agents.board.keyspace import RANGE_BITS, RANGE_SIZE
from agents.models import Host, HostQuerySet
from campaigns.models import TargetRange

FEW = 1_000  # hosts of a range that are named one by one: looking at the bit of every other one takes 25 ms
SMALL = 100  # hosts of a range that is written together with others


def hosts_of(ranges: Iterable[TargetRange]) -> HostQuerySet:
    """Give the hosts of these ranges that were meant and are enrolled still."""
    meant = Q(pk__in=[])
    for range_ in ranges:
        meant |= _of_range(range_)
    hosts: HostQuerySet = Host.objects.enrolled().filter(meant)
    return hosts


def count_in(range_: TargetRange) -> int:
    """Count the hosts that were meant."""
    return int.from_bytes(_bitmap(range_)).bit_count()


def named_in(range_: TargetRange) -> list[int]:
    """Name the hosts that were meant, one by one."""
    first = range_.number << RANGE_BITS
    return [first + bit for bit in bits_of(_bitmap(range_))]


def _bitmap(range_: TargetRange) -> bytes:
    return bytes(range_.hosts or b"")  # the driver gives a memoryview


def _of_range(range_: TargetRange) -> Q:
    first = range_.number << RANGE_BITS
    if range_.hosts is not None and count_in(range_) <= FEW:
        return Q(pk__in=named_in(range_))
    return Q(pk__gte=first, pk__lt=first + RANGE_SIZE) & Q(_is_meant(range_))


def _is_meant(range_: TargetRange) -> Exact:
    # Redis counts the bits of a byte from the left, PostgreSQL from the right.
    bit = F("pk").bitand(RANGE_SIZE - 1).bitxor(7)
    return Exact(Func(Value(range_.hosts), bit, function="get_bit", output_field=IntegerField()), 1)
