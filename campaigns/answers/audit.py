"""What is kept of every campaign for good: who asked what, of exactly which hosts, why, and what came of it.

A record is begun with the launch, in its transaction, written again when the campaign ended, and once more when no late
answer can come any more. It refers to nothing, so it outlives the rows.
"""

import json
import logging
from datetime import timedelta
from hashlib import sha256
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from agents.board import clock
from campaigns.answers.models import AuditRecord
from campaigns.collecting.cursor import stored_until
from campaigns.models import Campaign
from campaigns.states import OVER
from fleet import traces
from fleet.audit import note, note_seldom

logger = logging.getLogger(__name__)

READS_NOTED_EVERY = timedelta(minutes=1)

# The ids of hosts in each state as ranges, "1-500,502": neighbours mostly share their fate.
HOSTS = """
SELECT state, string_agg(CASE WHEN first = last THEN first::text ELSE first || '-' || last END, ',' ORDER BY first)
FROM (
    SELECT state, min(host_id) AS first, max(host_id) AS last
    FROM (
        SELECT state, host_id, host_id - row_number() OVER (PARTITION BY state ORDER BY host_id) AS island
        FROM campaigns_target WHERE campaign_id = %s
    ) AS placed GROUP BY state, island
) AS span GROUP BY state
"""


def begin(campaign: Campaign) -> None:
    """Note who launches what, before its targets are written. The caller's transaction is the launch."""
    AuditRecord.objects.create(campaign_id=campaign.pk, hosts={}, **_launched(campaign), **_outcome(campaign))


def write(campaign: Campaign, stage: AuditRecord.Stage) -> None:
    """Write what is known of a campaign now. The caller holds its lock."""
    outcome = {"stage": stage, "hosts": _hosts_of(campaign), **_outcome(campaign)}
    AuditRecord.objects.update_or_create(
        campaign_id=campaign.pk, defaults=outcome, create_defaults={**_launched(campaign), **outcome}
    )


def _launched(campaign: Campaign) -> dict[str, Any]:
    """Give what is written once: the person may be gone later."""
    return {
        "launched_by": campaign.created_by.get_username() if campaign.created_by else "",
        "launched_at": campaign.created_at,
        **{name: getattr(campaign, name) for name in ("name", "sql", "target", "reason")},
    }


def _outcome(campaign: Campaign) -> dict[str, Any]:
    return {name: getattr(campaign, name) for name in ("status", "ended_reason", "ended_by", "ended_at", "counts")}


def note_decision(campaign: Campaign, what: str, by: str, reason: str = "") -> None:
    """Add to a campaign's record who asked for its approval, gave it or refused. The caller holds its lock."""
    record = AuditRecord.objects.get(campaign_id=campaign.pk)
    decision = {"what": what, "by": by, "at": timezone.now().isoformat(), "reason": reason}
    record.approvals = [*record.approvals, decision]
    record.save(update_fields=["approvals"])


def note_read(subject: str, first: str, request: Any = None) -> None:
    """Note that somebody reads what hosts answered: once a minute of one person or token and one campaign."""
    note_seldom("results.read", every=READS_NOTED_EVERY, request=request, subject=subject, first=first)


def _hosts_of(campaign: Campaign) -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute(HOSTS, [campaign.pk])
        return dict(cursor.fetchall())


def keep() -> None:
    """Write the records of campaigns that ended, and those whose late answers are over."""
    over = Campaign.objects.filter(status__in=OVER)
    _write_all(over, AuditRecord.Stage.OPEN, AuditRecord.Stage.ENDED)
    settled = over.filter(ended_at__lt=stored_until() - clock.late_time())
    _write_all(settled, AuditRecord.Stage.ENDED, AuditRecord.Stage.FINAL)


def _note_end(campaign: Campaign) -> None:
    """Note what came of it, with the digest of which host ended how: the record itself can be changed."""
    record = AuditRecord.objects.get(campaign_id=campaign.pk)
    digest = sha256(json.dumps(record.hosts, sort_keys=True).encode()).hexdigest()
    outcome = {name: getattr(record, name) for name in ("status", "ended_at", "ended_by", "ended_reason", "counts")}
    note("campaign.settled", subject=f"campaign {campaign.pk}", hosts_by_state=digest, **outcome)


def _trace(campaign: Campaign) -> None:
    """Tell its trace what it was as a whole: each campaign comes by here once, however it ended."""
    ended = campaign.ended_at or timezone.now()
    told = {"expected": campaign.expected, "answered": campaign.count_answered, "rows": campaign.count_rows}
    traces.note_whole(campaign, "campaign", campaign.created_at, ended, status=str(campaign.status), **told)


def _write_all(campaigns: Any, before: AuditRecord.Stage, after: AuditRecord.Stage) -> None:
    waiting = AuditRecord.objects.filter(stage=before).values("campaign_id")
    for campaign_id in campaigns.filter(pk__in=waiting).values_list("pk", flat=True):
        with transaction.atomic():
            campaign = Campaign.objects.locked([campaign_id]).get(campaign_id)
            if campaign is not None:
                write(campaign, after)
                if after == AuditRecord.Stage.ENDED:
                    _trace(campaign)
                if after == AuditRecord.Stage.FINAL:
                    _note_end(campaign)
                logger.info("audit record written campaign=%s stage=%s", campaign_id, after)
