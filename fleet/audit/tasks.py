"""Celery's entrance to the audit's background work. May run twice."""

from celery import shared_task

from fleet.audit import forwarding


@shared_task(name="audit.forward")
def forward() -> None:
    """Carry new lines to where they are forwarded."""
    forwarding.forward()
