"""The words for what becomes of campaigns and their hosts: section 4 of the design."""

from django.db import models


class State(models.TextChoices):
    """What is known of one host of a campaign."""

    WAITING = "waiting", "waiting"
    DELIVERED = "delivered", "delivered"
    ANSWERED = "answered", "answered"
    FAILED = "failed", "failed"
    DENYLISTED = "denylisted", "denylisted"
    UNSUPPORTED = "unsupported", "unsupported"
    NO_ANSWER = "no_answer", "no answer"
    MISSED = "missed", "missed"
    HELD_BACK = "held_back", "held back"
    STOPPED = "stopped", "stopped"


OPEN_STATES = (State.WAITING, State.DELIVERED)
ANSWER_STATES = (State.ANSWERED, State.FAILED, State.DENYLISTED)
FINAL_STATES = tuple(state for state in State if state not in OPEN_STATES)
# The states that a late answer may still change.
SILENT_STATES = (State.NO_ANSWER, State.MISSED, State.HELD_BACK, State.STOPPED)


class Status(models.TextChoices):
    """How far a campaign is."""

    SCHEDULED = "scheduled", "scheduled"
    TARGETING = "targeting", "targeting"
    RUNNING = "running", "running"
    PAUSED = "paused", "paused"
    COMPLETED = "completed", "completed"
    EXPIRED = "expired", "expired"
    STOPPED = "stopped", "stopped"


class WaitsFor(models.TextChoices):
    """What a scheduled campaign waits for before it may begin."""

    APPROVAL = "approval", "a second person's approval"


OVER = (Status.COMPLETED, Status.EXPIRED, Status.STOPPED)
