"""`live rows ID`: the rows of a campaign that there are, in the shapes of `live "SQL"`."""

import argparse

from fleet_live_queries.command import numbers
from fleet_live_queries.command.context import Context
from fleet_live_queries.command.printing import Printer
from fleet_live_queries.command.writers import WRITERS
from fleet_live_queries.following import Event
from fleet_live_queries.verbs import results

NAME, HELP = "rows", "Print the rows of a campaign that have come so far; --follow goes on to its end."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take which campaign, and how."""
    numbers.for_campaign(parser)
    parser.add_argument("--follow", action="store_true", help="go on until it ended")
    parser.add_argument("--format", choices=tuple(WRITERS), default="table", help="of the rows (default: table)")
    parser.add_argument("--json", action="store_const", const="ndjson", dest="format", help="the same as ndjson")


def run(context: Context) -> int:
    """Print the rows of a campaign."""
    options = context.options
    campaign = context.client.campaign(options.id)
    printer = Printer(campaign, context.terminal, WRITERS[options.format]())
    come = (Event("item", item) for item in context.client.stream(results(options.id)))
    with printer.ended():
        for event in campaign.events() if options.follow else come:
            if event.kind == "item":
                printer.take(event.value)
    return 0
