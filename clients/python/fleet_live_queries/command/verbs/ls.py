"""`live ls`: campaigns, the newest first."""

import argparse

from fleet_live_queries.command.context import Context
from fleet_live_queries.command.numbers import how_many

NAME, HELP = "ls", "List campaigns, the newest first."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take which campaigns are listed."""
    parser.add_argument("--search", help="part of the name or the SQL")
    parser.add_argument("--status", help="only those of this status")
    parser.add_argument("--limit", type=how_many, default=20, help="how many at most (default 20)")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each")


def run(context: Context) -> int:
    """List campaigns."""
    options = context.options
    items = context.client.list("campaigns/", most=options.limit, search=options.search, status=options.status)
    columns = {
        "id": lambda found: found["id"],
        "status": lambda found: found["status"],
        "hosts": lambda found: found["counts"]["targeted"],
        "answered": lambda found: found["counts"]["answered"],
        "rows": lambda found: found["counts"]["rows"],
        "created": lambda found: found["created_at"],
        "by": lambda found: found["created_by"],
        "name or SQL": lambda found: found["name"] or found["sql"],
    }
    if not context.terminal.listed(items, columns, options.json):
        context.say("there is no such campaign")
    return 0
