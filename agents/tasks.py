"""Celery's entrances to the agents' background work. Each may run twice."""

from celery import shared_task

from agents import presence


@shared_task(name="agents.carry_presence")
def carry_presence() -> None:
    """Bring the presence table up to date."""
    presence.carry()
