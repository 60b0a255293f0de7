"""Celery's entrances to the campaigns' background work: ids in, one function called. Each may run twice."""

from celery import shared_task

from agents.board import heartbeats
from campaigns.answers import archive, audit, carrying, retention
from campaigns.hooks import sending, telling
from campaigns.operating import audit_end
from campaigns.recurring import running as recurring
from campaigns.running import sweeps, targeting, upkeep
from campaigns.tokens import ApiToken
from fleet import sessions


@shared_task(name="campaigns.write_range")
def write_range(campaign_id: int, number: int) -> None:
    """Write the targets of one range and put them on the board."""
    targeting.write_range(campaign_id, number)


@shared_task(name="campaigns.write_small_ranges")
def write_small_ranges() -> None:
    """Do so with every range of few hosts that waits."""
    targeting.write_small_ranges()


@shared_task(name="campaigns.sweep")
def sweep() -> None:
    """Look after the board and after what is over."""
    sweeps.sweep()


@shared_task(name="campaigns.repair_board")
def repair_board() -> None:
    """Set bits again that the board has lost."""
    upkeep.repair_board()


@shared_task(name="campaigns.refresh_online")
def refresh_online() -> None:
    """Count how many targets are online."""
    upkeep.refresh_online()


@shared_task(name="campaigns.add_late_joiners")
def add_late_joiners() -> None:
    """Let hosts join that are meant since their campaign began."""
    upkeep.add_late_joiners()


@shared_task(name="campaigns.forget")
def forget() -> None:
    """Take campaigns off the board that ended long enough ago."""
    upkeep.forget_ended()


@shared_task(name="campaigns.note_worker")
def note_worker() -> None:
    """Tell that launches find a worker."""
    heartbeats.note_worker()


@shared_task(name="campaigns.keep_audit")
def keep_audit() -> None:
    """Write the audit records of campaigns that ended."""
    audit.keep()


@shared_task(name="campaigns.remember_audit_end")
def remember_audit_end() -> None:
    """Remember the audit's newest line outside of PostgreSQL."""
    audit_end.remember()


@shared_task(name="campaigns.archive")
def write_archive() -> None:
    """Write what ended to the archive."""
    archive.archive()


@shared_task(name="campaigns.purge")
def purge() -> None:
    """Delete a little of what is too old."""
    retention.purge()


@shared_task(name="campaigns.end_sessions")
def end_sessions() -> None:
    """End what was of people who are deactivated, and sessions and tokens whose time is up."""
    sessions.sweep()
    ApiToken.objects.sweep()


@shared_task(name="hooks.tell")
def tell_hooks() -> None:
    """Tell hooks what happened, and let what is due be sent."""
    telling.step()


@shared_task(name="hooks.check_rights")
def check_rights_of_hooks() -> None:
    """Stop the hooks whose owner may have none any more."""
    telling.stop_without_right()


@shared_task(name="hooks.send")
def send_to_hook(hook_id: int, lease: int) -> None:
    """Send what is due to one hook."""
    sending.send(hook_id, lease)


@shared_task(name="campaigns.recur")
def recur() -> None:
    """Launch what schedules are due."""
    recurring.step()


@shared_task(name="campaigns.check_schedules")
def check_rights_of_schedules() -> None:
    """Stop the schedules whose owner may launch no more, or whose SQL is another by now."""
    recurring.stop_without_right()


@shared_task(name="campaigns.compare_runs")
def compare_runs() -> None:
    """Compare what schedules launched and ended."""
    recurring.compare_ended()


@shared_task(name="campaigns.let_runs_go")
def let_runs_go() -> None:
    """Delete runs beyond what their schedules keep."""
    recurring.let_go()


@shared_task(name="campaigns.carry")
def carry() -> None:
    """Carry new answers to where ANSWERS_SINK says."""
    carrying.step()
