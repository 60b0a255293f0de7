"""The SQL of labels as it runs: audited with who wrote it, watched by the denylist brake, and told when it fails.

Hosts are asked it as a campaign is asked, so the kill switch holds it too: the board hands none out meanwhile.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from agents.board import operator_verbs
from agents.inventory.models import LabelSqlRecord
from agents.models import Host, HousekeepingQuery
from agents.protocol import messages
from fleet.audit import note
from fleet.counting import counted

logger = logging.getLogger(__name__)

BRAKE = "brake"
NOTED_EVERY = timedelta(minutes=1)  # that it was answered: thousands of hosts do within it


def record(query: HousekeepingQuery, action: LabelSqlRecord.Action, by: str, reason: str = "") -> None:
    """Note for good what is done with a label's SQL. The caller's transaction is the deed."""
    label = query.label.name if query.label else ""
    LabelSqlRecord.objects.create(
        label=label, platform=query.platform, sql=query.sql, action=action, by=by, reason=reason
    )
    subject = f"label {query.label_id}"
    note(f"label.sql_{action}", who=by, subject=subject, name=label, platform=query.platform, sql=query.sql)
    logger.info("label sql %s label=%s query=%s by=%s", action, label, query.pk, by)


def note_answered(query: HousekeepingQuery, at: datetime) -> None:
    """Note that a host could run it."""
    if query.answered_at is None or query.answered_at < at - NOTED_EVERY:
        query.answered_at = at
        query.save(update_fields=["answered_at"])


def note_failed(query: HousekeepingQuery, host: Host, message: str, at: datetime) -> None:
    """Note that a host could not; as many as the brake allows that denylist it stop it."""
    query.failed_at = at
    if messages.DENYLISTED in message and host.pk not in query.denylisted_by:
        query.denylisted_by = [*query.denylisted_by, host.pk]
    query.save(update_fields=["failed_at", "denylisted_by"])
    limit = settings.DENYLISTED_BRAKE
    if limit and len(query.denylisted_by) >= limit and query.stopped_at is None:
        _stop(
            query,
            at,
            f"{counted(len(query.denylisted_by), 'host')} denylisted it (limit {limit}): osquery died there running it",
        )


def _stop(query: HousekeepingQuery, at: datetime, reason: str) -> None:
    query.stopped_at, query.stopped_reason = at, reason
    query.save(update_fields=["stopped_at", "stopped_reason"])
    record(query, LabelSqlRecord.Action.STOPPED, BRAKE, reason)
    board_id = query.board_id
    transaction.on_commit(lambda: operator_verbs.withdraw(board_id))


def trouble_with(query: HousekeepingQuery) -> str:
    """Say that it was stopped, or that it fails on every host; "" when neither."""
    if query.stopped_at is not None:
        return f"stopped by the brake: {query.stopped_reason}; write other SQL to go on"
    if query.failed_at is None:
        return ""
    lately = query.failed_at - timedelta(minutes=1.5 * (settings.HOUSEKEEPING_MINUTES or 60))
    if query.answered_at is not None and query.answered_at > lately:
        return ""
    return f"fails on every host that was asked: {query.last_error}"
