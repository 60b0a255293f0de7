"""Celery's entrances to the agents' background work. Each may run twice."""

from celery import shared_task
from django.utils import timezone

from agents.carving import carves, lookup
from agents.inventory import housekeeping, online_curve, presence
from agents.models import Host, HousekeepingQuery


@shared_task(name="agents.carry_presence")
def carry_presence() -> None:
    """Bring the presence table up to date."""
    presence.carry()


@shared_task(name="agents.sample_online")
def sample_online() -> None:
    """Count who is online, for the curve over a day."""
    online_curve.sample(timezone.now())


@shared_task(name="agents.housekeep")
def housekeep() -> None:
    """Ask the hosts whose minute it is about themselves."""
    housekeeping.ask_due()


@shared_task(name="agents.ask_everybody")
def ask_everybody(query_id: int) -> None:
    """Ask all hosts a housekeeping query that is new."""
    query = HousekeepingQuery.objects.filter(pk=query_id).first()
    if query is not None:
        housekeeping.ask(query, Host.objects.enrolled())


@shared_task(name="agents.check_carves")
def check_carves() -> None:
    """Take the digests of carves that are complete, and ask their hosts for theirs."""
    carves.check()
    lookup.ask_due()
