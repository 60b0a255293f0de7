"""What the tab Analyse starts from, two campaigns side by side, and the last known answers of a query."""

import json
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from campaigns.analysis import diff, tables
from campaigns.answers.audit import note_read
from campaigns.answers.latest import KINDS, Latest, LatestFilter
from campaigns.answers.models import QueryView
from campaigns.answers.sight import seen_by
from campaigns.console import drawing
from campaigns.console.access import needs, needs_sight, number_of, user_of
from campaigns.console.lookups import found_campaign, no_such_campaign
from campaigns.models import Campaign, Query
from campaigns.people.roles import SEE_QUERIES
from fleet import refusals
from fleet.api.parameters import moment_of
from fleet.errors import FleetError, NotFoundError
from fleet.spreadsheets import beside

FIRST_SQL = "SELECT * FROM answers LIMIT 100"
ORDERS = {"host": "host", "-received_at": "newest first", "received_at": "oldest first"}
SHOWN = 50  # of a page
COLUMNS_SHOWN = 60  # beside each other; files have all
HOSTS_COMPARED = 25  # of a page
CANDIDATES = 200  # rows that one that went is held against, to find what it is now
COMPARISONS = 10_000  # of cells, for one row
RUNS_OFFERED = 20
EXPORTS = ("csv", "ndjson", "json", "parquet", "xlsx")


def analysis_context(request: HttpRequest, shown: Campaign) -> dict[str, Any]:
    """Give what is asked: what the address says, else the first view of the query, else its first answers."""
    views = list(shown.query.views.all()) if shown.query else []
    first = views[0] if views else None
    asked = request.GET.get("analyse", "")
    return {
        "views": views,
        "analysis_sql": asked or (first.sql if first else FIRST_SQL),
        "analysis_chart": request.GET.get("chart", "") if asked or not first else first.chart,
        "chart_kinds": QueryView.Chart.values,
        "analysis_tables": json.dumps(_tables(shown)),
        "may_keep_views": shown.query is not None and request.user.has_perm("campaigns.change_query"),
        "earlier": _earlier(request, shown),
    }


def _tables(shown: Campaign) -> list[dict[str, Any]]:
    """Name the tables and columns that are completed."""
    answers = [*tables.OURS, *tables.names_of(shown.columns)]
    named = {
        "answers": dict.fromkeys(answers, ""),
        "targets": tables.TARGET_COLUMNS,
        "hosts": {**tables.HOST_COLUMNS, **{name: kind for name, (kind, _) in tables.FACTS.items()}},
        f"campaign_{shown.pk}": dict.fromkeys(answers, ""),
    }
    return [_completed(name, own) for name, own in named.items()]


def _completed(table: str, kinds: dict[str, str]) -> dict[str, Any]:
    """Give a table as the editor completes it."""
    columns = [{"name": name, "type": kind, "hidden": False, "platforms": []} for name, kind in kinds.items()]
    return {"name": table, "platforms": [], "columns": columns}


def _earlier(request: HttpRequest, shown: Campaign) -> list[Campaign]:
    """Give earlier runs of the same SQL, to compare with; without such, those with the same columns."""
    before = Campaign.objects.visible_to(user_of(request)).filter(pk__lt=shown.pk)
    before = before.only("pk", "name", "created_at")
    found = list(before.filter(sql=shown.sql)[:RUNS_OFFERED])
    return found or (list(before.filter(columns=shown.columns)[:RUNS_OFFERED]) if shown.columns else [])


@needs_sight()
@require_GET
def compare(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show what came, went and changed since another campaign, side by side."""
    shown = found_campaign(campaign_id, user_of(request))
    if shown is None:
        return no_such_campaign(request, campaign_id)
    note_read(f"campaign {campaign_id}", "page", request)
    asked = request.GET
    context: dict[str, Any] = {"campaign": shown, "with": asked.get("with", ""), "groups": "groups" in asked}
    context["earlier"] = _earlier(request, shown)
    if not asked.get("with"):
        return render(request, "campaigns/compare.html", {**context, "asks": True})
    status = 200
    try:
        context |= _differences(shown, asked, user_of(request))
    except NotFoundError:
        context["refused"], status = f"There is no campaign {asked.get('with', '')!r} that you may look at.", 400
    except FleetError as error:
        context["refused"], status = error.sentence, error.status
    return render(request, "campaigns/compare.html", context, status=status)


def _differences(shown: Campaign, asked: QueryDict, by: User) -> dict[str, Any]:
    """Give a page of what differs, and what stands around it. Raise NotFoundError or another FleetError."""
    ignored, by_groups, offset = asked.getlist("ignore"), "groups" in asked, number_of(asked.get("offset"))
    many = SHOWN if by_groups else 1 if "one" in asked else HOSTS_COMPARED
    compared = diff.compared(shown, number_of(asked.get("with")), ignored, by, seen_by)
    page = compared.page(many + 1, offset, by_groups=by_groups)
    found, columns = page["results"][:many], page["columns"]
    each = drawing.lines_of_each(len(found))
    lines_shown = sum(_lines_of(item, each) for item in found)
    most = drawing.columns_beside(lines_shown + lines_shown // 2, COLUMNS_SHOWN)  # both sides of a cell are drawn
    shown_columns = _worth_seeing(found, [name for name in columns if not (by_groups and name in ignored)], most)
    if by_groups:
        lines = [{**item, "cells": [item["row"].get(name, "") for name in shown_columns]} for item in found]
    else:
        lines = [_side_by_side(item, shown_columns, compared.compared, each) for item in found]
        for place, line in enumerate(lines):
            line["alone"] = "" if many == 1 else _next(asked, offset + place, one=["1"])
    return {
        **page,
        "shown_columns": shown_columns if by_groups else beside(("host",), shown_columns),
        "more_columns": len(columns) - len(shown_columns) - (len(ignored) if by_groups else 0),
        **_beside(shown, compared, page["suggested_ignore"], asked),
        "is_first": not offset,
        "ignored": ignored,
        "found": lines,
        "next": _next(asked, offset + many) if len(page["results"]) > many or page["truncated"] else "",
    }


def _beside(shown: Campaign, compared: diff.Diff, suggested: list[str], asked: Any) -> dict[str, Any]:
    """Give what stands around the differences: files of them, whether more may come, what had better be left out."""
    left = {name: asked.getlist(name) for name in asked if name != "offset"}
    more = [name for name in suggested if name not in compared.ignored]
    there: dict[str, Any] = {"with": [compared.there.pk], "ignore": compared.ignored}
    if "groups" in asked:
        there["groups"] = ["true"]
    address = f"/api/v1/campaigns/{shown.pk}/diff."
    return {
        "there": compared.there,
        "may_change": not (shown.is_over and compared.there.is_over),
        "to_leave_out": more,
        "without_them": urlencode({**left, "ignore": [*compared.ignored, *more]}, doseq=True),
        "exports": [(kind, f"{address}{kind}?{urlencode(there, doseq=True)}") for kind in EXPORTS],
    }


def _lines_of(item: dict[str, Any], each: int) -> int:
    return min(each, max(1, len(item.get("added", [])), len(item.get("removed", []))))


def _worth_seeing(found: list[dict[str, Any]], columns: list[str], most: int) -> list[str]:
    """Give as many columns as a page shows, in their order: those first in which the rows it shows are not alike."""
    if len(columns) <= most:
        return columns
    rows = [row for item in found for row in (*item.get("added", []), *item.get("removed", []), item.get("row", {}))]
    alike = {name for name in columns if len({row[name] for row in rows if name in row}) < 2}
    chosen = set(sorted(columns, key=alike.__contains__)[:most])
    return [name for name in columns if name in chosen]


def _side_by_side(item: dict[str, Any], columns: list[str], looked_at: list[str], most: int) -> dict[str, Any]:
    """Put rows beside those that they most likely were before: with the most cells alike; mark cells that differ.

    Of columns that are left out none is marked. No more than so many lines are made.
    """
    added, pairs = list(item["added"]), []
    candidates = min(CANDIDATES, max(1, COMPARISONS // max(1, len(looked_at))))
    for before in item["removed"][:most]:
        alike = [sum(before.get(name) == after.get(name) for name in looked_at) for after in added[:candidates]]
        best = max(range(len(alike)), key=alike.__getitem__, default=None)
        pairs.append((before, added.pop(best) if best is not None and alike[best] else None))
    left_out = max(0, len(item["removed"]) - most, len(added) - (most - len(pairs)))
    pairs += [(None, after) for after in added[: most - len(pairs)]]
    return {
        **item,
        "left_out": left_out,
        "pairs": [
            [
                {
                    "before": (before or {}).get(name, ""),
                    "after": (after or {}).get(name, ""),
                    "differs": name in looked_at and (before or {}).get(name, "") != (after or {}).get(name, ""),
                }
                for name in columns
            ]
            for before, after in pairs
        ],
    }


def _next(asked: Any, offset: int, **more: list[str]) -> str:
    return urlencode({**{name: asked.getlist(name) for name in asked}, "offset": [offset], **more}, doseq=True)


@needs(SEE_QUERIES)
@require_GET
def latest(request: HttpRequest, query_id: int) -> HttpResponse:
    """Show the newest answer of every host over all runs of a query, and how old it is; by a column: their groups."""
    query = get_object_or_404(Query, pk=query_id)
    note_read(f"query {query_id}", "page", request)
    asked, newest = request.GET, Latest.of(query, user_of(request))
    by, where = [name for name in asked.getlist("by") if name], [given for given in asked.getlist("where") if given]
    filters = LatestFilter(asked.get("search", "").strip(), tuple(where), asked.get("order", "host"))
    offset, columns = number_of(asked.get("offset")), newest.columns
    try:
        groups = newest.groups(by, filters, SHOWN + 1, offset) if by else []
        found, more = (groups[:SHOWN], len(groups) > SHOWN) if by else newest.items(filters, SHOWN, offset)
    except FleetError as error:
        return refusals.in_a_page(request, error)
    each = drawing.lines_of_each(len(found))
    lines = 0 if by else sum(min(each, max(1, len(item["rows"]))) for item in found)
    shown_columns = columns[: drawing.columns_beside(lines, COLUMNS_SHOWN)]
    context = {
        "query": query,
        "columns": columns,
        "shown_columns": beside(("host", "answered", "campaign"), shown_columns),
        "more_columns": len(columns) - len(shown_columns),
        "by": by,
        "where": where,
        "order": filters.order,
        "orders": ORDERS,
        "search": filters.search,
        "next": _next(asked, offset + len(found)) if more else "",
        "groups": [_latest_group(item, asked) for item in found] if by else [],
        "nothing": "No answer fits." if filters.search or where or offset else "No host answered it yet.",
        "found": [] if by else [_latest_item(item, shown_columns, each) for item in found],
        **_analysis_of_latest(request, newest),
    }
    return render(request, "campaigns/latest.html", context)


def _latest_item(item: dict[str, Any], columns: list[str], most: int) -> dict[str, Any]:
    lines = [[row.get(name, "") for name in columns] for row in item["rows"][:most]]
    return {
        **item,
        "moment": moment_of(item["received_at"]),
        "lines": lines,
        "more": len(item["rows"]) - len(lines),
    }


def _latest_group(item: dict[str, Any], asked: Any) -> dict[str, Any]:
    """Give a group, each of its values with the address of the hosts that have it."""
    kept = {name: asked.getlist(name) for name in ("search", "where") if asked.getlist(name)}
    cells = []
    for name, text in item["values"].items():
        narrowed = {**kept, "where": [*kept.get("where", []), f"{name}:{text or ''}"]}
        cells.append({"text": text or "", "narrowed": urlencode(narrowed, doseq=True)})
    return {**item, "cells": cells, "moment": moment_of(item["oldest_at"])}


def _analysis_of_latest(request: HttpRequest, newest: Latest) -> dict[str, Any]:
    names = [*KINDS, *tables.names_of(newest.columns, tuple(KINDS))]
    return {
        "analysis_table": "latest",
        "analyse": request.GET.get("analyse", ""),
        "analysis_sql": request.GET.get("analyse", "") or "SELECT * FROM latest LIMIT 100",
        "analysis_chart": request.GET.get("chart", ""),
        "chart_kinds": QueryView.Chart.values,
        "analysis_tables": json.dumps([_completed("latest", dict.fromkeys(names, ""))]),
    }
