"""`live diff BEFORE AFTER`: two campaigns compared, by host or by what hosts have in common."""

import argparse
from typing import Any

from fleet_live_queries import verbs as steps
from fleet_live_queries.command.context import Context
from fleet_live_queries.command.numbers import campaign_number
from fleet_live_queries.command.terminal import write
from fleet_live_queries.command.writers import WRITERS
from fleet_live_queries.spreadsheets import beside
from fleet_live_queries.steps import Patience
from fleet_live_queries.wording import counted

NAME, HELP = "diff", "Compare the answers of two campaigns, the earlier one first."
ASKED_FOR = 60.0  # seconds: a server that is busy with other analyses is asked again


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take which two, and how."""
    parser.add_argument("before", type=campaign_number, metavar="BEFORE", help="number of the earlier campaign")
    parser.add_argument("after", type=campaign_number, metavar="AFTER", help="number of the later campaign")
    parser.add_argument("--ignore", action="append", default=[], metavar="COLUMN", help="a column not compared")
    parser.add_argument("--groups", action="store_true", help="what hosts have in common")
    parser.add_argument("--format", choices=tuple(WRITERS), default="table", help="of the rows (default: table)")
    parser.add_argument("--json", action="store_const", const="ndjson", dest="format", help="the same as ndjson")


def run(context: Context) -> int:
    """Print what differs between two campaigns."""
    options = context.options
    names, lines, page = _compared(context)
    write(options.format, names, lines)
    hosts, before, after = page["hosts"], options.before, options.after
    context.say(
        f"hosts: {hosts['changed']} changed, {hosts['added']} only in {after}, {hosts['removed']} only in {before}"
    )
    if many := page.get("truncated_hosts"):  # a server of before does not tell
        context.say(f"{counted(many, 'host')} sent more rows than were kept: what differs there may be cut off")
    if suggested := [name for name in page["suggested_ignore"] if name not in options.ignore]:
        context.say(f"always different: {', '.join(suggested)}; leave out with --ignore")
    return 0


def _compared(context: Context) -> tuple[list[str], list[list[Any]], dict[str, Any]]:
    options, offset = context.options, 0
    asked = {"with": options.before, "ignore": options.ignore, "limit": steps.PAGE}
    if options.groups:
        asked["groups"] = "true"
    lines: list[list[Any]] = []
    while True:
        path = f"campaigns/{options.after}/diff/"
        page = context.client.run(
            steps.get(path, {**asked, "offset": offset}, Patience(ASKED_FOR), steps.ANALYSIS_SECONDS)
        )
        ours = ("change", "hosts") if options.groups else ("host", "change", "only")
        mark = "truncated_hosts" if options.groups else "truncated"
        columns = [name for name in page["columns"] if not options.groups or name not in options.ignore]
        names = [*ours, *beside((*ours, mark), columns), mark]
        for item in page["results"]:
            lines += _group(item, columns) if options.groups else _host(item, columns)
        offset += len(page["results"])
        if page["next"] is None:
            return names, lines, page


def _host(item: dict[str, Any], columns: list[str]) -> list[list[Any]]:
    before = [item["host"]["hostname"], item["change"]]
    rows = [("there", row) for row in item["removed"]] + [("here", row) for row in item["added"]]
    mark = item.get("truncated")  # a server of before does not tell
    return [[*before, only, *(row.get(name, "") for name in columns), mark] for only, row in rows or [("", {})]]


def _group(item: dict[str, Any], columns: list[str]) -> list[list[Any]]:
    cells = (item["row"].get(name, "") for name in columns)
    return [[item["change"], item["hosts"], *cells, item.get("truncated_hosts")]]
