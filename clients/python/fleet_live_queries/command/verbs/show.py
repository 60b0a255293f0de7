"""`live show ID`: one campaign as it is now."""

import argparse

from fleet_live_queries.command import numbers
from fleet_live_queries.command.context import Context
from fleet_live_queries.command.terminal import write

NAME, HELP = "show", "Show a campaign as it is now."
SHOWN = ("id", "name", "sql", "status", "ended_reason", "created_by", "created_at", "ends_at", "ended_at", "url")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take which campaign is shown."""
    numbers.for_campaign(parser)
    parser.add_argument("--json", action="store_true", help="the whole campaign as JSON")


def run(context: Context) -> int:
    """Show a campaign."""
    facts = context.client.campaign(context.options.id).facts
    if context.options.json:
        context.terminal.json(facts)
        return 0
    lines = [[name, facts[name]] for name in SHOWN if facts[name] not in (None, "")]
    lines += [[name, count] for name, count in facts["counts"].items() if count or name == "targeted"]
    lines += [["warning", warning] for warning in facts["warnings"]]
    write("table", ["what", "is"], lines)
    return 0
