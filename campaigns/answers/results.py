"""What was answered, read by cursor: the REST pages and the viewers' sockets show the same items."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
from django.conf import settings
from django.db import connection
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from agents.board.operator_verbs import RELEASED_ALL
from campaigns.answers import numbering
from campaigns.models import Campaign, Result
from campaigns.people import scopes
from campaigns.people.scopes import Limits

LARGE_ITEM_BYTES = 1_000_000
ITEM_BYTES = 200  # about what an item has beside its rows and its error
PAGE_BYTES = 8_000_000
MOST_ITEMS = 1000

PAGE = """
SELECT seq, host_id, result.hostname, state, rows::text, row_count, truncated, late, error, received_at,
    host.in_doubt_since IS NOT NULL
FROM campaigns_result AS result LEFT JOIN agents_host AS host ON host.id = host_id
WHERE campaign_id = %s AND seq > %s AND {scope} ORDER BY seq LIMIT %s
"""
HOST_ITEM = ("campaign_id", "seq", "state", "row_count", "truncated", "late", "error", "received_at")
HOST_STEP = 10  # results of a host read at a time
STEP = 50  # results read at a time, so that a page of giants is not read whole


def results_after(
    campaign: Campaign, after: int, limit: int, max_bytes: int, *, omit_large: bool = False
) -> list[dict[str, Any]]:
    """Give the items after a seq, in order: at most `limit`, and as many as fit `max_bytes`, at least one.

    Seqs are as whoever sees the campaign so counts them. `rows` are the stored JSON, undecoded. With `omit_large` an
    item above 1 MB has `rows` None and `rows_omitted`.
    """
    items: list[dict[str, Any]] = []
    size = 0
    for item, item_size in _items(campaign, after, limit, omit_large=omit_large):
        if items and size + item_size > max_bytes:
            break
        items.append(item)
        size += item_size
    return items


def results_page(request: HttpRequest, campaign: Campaign, after: int, limit: int) -> dict[str, Any]:
    """Give a page as the API shows it. `next` None: nothing more yet, ask again with the last seq."""
    items = results_after(campaign, after, limit, PAGE_BYTES)
    following = None
    if items and campaign.last_seq > items[-1]["seq"]:
        address = reverse("campaign-results", args=[campaign.pk])
        following = request.build_absolute_uri(f"{address}?after={items[-1]['seq']}&limit={limit}")
    return {"next": following, "previous": None, "results": items}


def results_of_host(results: QuerySet[Result], limit: int, offset: int, limits: Limits) -> list[dict[str, Any]]:
    """Give what one host answered, newest first: at most `limit`, and as many as fit PAGE_BYTES, at least one.

    `limits` are those of whoever looks: he counts what is within them.
    `rows` are the stored JSON, undecoded. They are read a few at a time: each may be large.
    """
    items: list[dict[str, Any]] = []
    size = 0
    found = results.order_by("-id").annotate(text=Cast("rows", TextField())).values(*HOST_ITEM, "text")
    for record in found[offset : offset + limit].iterator(HOST_STEP):
        text, received_at = record.pop("text"), record.pop("received_at")
        size += ITEM_BYTES + len(text) + len(record["error"])
        if items and size > PAGE_BYTES:
            break
        campaign_id = record.pop("campaign_id")
        items.append(
            {
                "campaign": campaign_id,
                **record,
                "rows": msgspec.Raw(text.encode()),
                "received_at": timestamp(received_at),
            }
        )
    places = [(item["campaign"], item["seq"]) for item in items]
    for item, number in zip(items, numbering.shown_in_many(places, limits), strict=True):
        item["seq"] = number
    return items


def _items(campaign: Campaign, after: int, limit: int, *, omit_large: bool) -> Iterator[tuple[dict[str, Any], int]]:
    scope, values = scopes.condition(campaign.limits, "host_id")
    page = PAGE.format(scope=scope)
    shown, after = after, numbering.stored(campaign, after)
    while limit > 0:
        with connection.cursor() as cursor:
            cursor.execute(page, [campaign.pk, after, *values, min(limit, STEP)])
            records = cursor.fetchall()
        for record in records:
            after = record[0]
            shown = shown + 1 if campaign.limits else after  # of those that are seen this is the next one
            yield _item((shown, *record[1:]), omit_large=omit_large)
        limit = limit - STEP if len(records) == STEP else 0


def _item(record: tuple[Any, ...], *, omit_large: bool) -> tuple[dict[str, Any], int]:
    seq, host_id, hostname, state, rows, row_count, truncated, late, error, received_at, in_doubt = record
    item: dict[str, Any] = {
        "seq": seq,
        "host": {"id": host_id, "hostname": hostname},
        "state": state,
        "rows": msgspec.Raw(rows.encode()),
        "row_count": row_count,
        "truncated": truncated,
        "late": late,
        "error": error,
        "received_at": timestamp(received_at),
        "in_doubt": in_doubt,
    }
    size = ITEM_BYTES + len(rows) + len(error)
    if omit_large and size > LARGE_ITEM_BYTES:
        item |= {"rows": None, "rows_omitted": True}
        size = ITEM_BYTES + len(error)
    return item, size


def campaign_json(campaign: Campaign, origin: str = "") -> dict[str, Any]:
    """Give a campaign as the API and the sockets show it; `origin` stands before its address.

    `partial`: it has hosts outside of the viewer's scope, of which nothing is told.
    """
    return {
        "id": campaign.pk,
        "name": campaign.name,
        "sql": campaign.sql,
        "query": campaign.query_id,
        "target": campaign.target,
        "rollout": campaign.rollout,
        "timeout": campaign.timeout,
        "answer_within": campaign.answer_within,
        "reason": campaign.reason,
        "pinned": campaign.pinned,
        "include_late_joiners": campaign.include_late_joiners,
        "released": campaign.count_targeted if campaign.released == RELEASED_ALL else campaign.released_count,
        "paused_by": campaign.paused_by,
        "paused_reason": campaign.paused_reason,
        "status": campaign.status,
        "waits_for": campaign.waits_for or None,
        "ended_reason": campaign.ended_reason,
        "ended_by": campaign.ended_by,
        "created_by": campaign.created_by.get_username() if campaign.created_by else None,
        "created_at": timestamp(campaign.created_at),
        "start_at": timestamp(campaign.start_at),
        "started_at": timestamp(campaign.started_at),
        "ends_at": timestamp(campaign.ends_at),
        "left": None if campaign.left is None else round(campaign.left.total_seconds()),
        "ended_at": timestamp(campaign.ended_at),
        "parent": campaign.parent_id,
        "schedule": campaign.schedule_id,
        "columns": campaign.columns,
        "counts": campaign.counts,
        "expected": campaign.expected,
        "last_seq": campaign.last_seq,
        "warnings": campaign.warnings,
        "partial": campaign.is_partial,
        "url": f"{origin or settings.PUBLIC_URL}/campaigns/{campaign.pk}/",
    }


def timestamp(moment: datetime | None) -> str | None:
    """Write a moment as RFC 3339 in UTC with milliseconds."""
    if moment is None:
        return None
    utc = timezone.localtime(moment, timezone.get_default_timezone())
    return utc.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
