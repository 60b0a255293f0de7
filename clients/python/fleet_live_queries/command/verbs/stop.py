"""`live stop ID`: end a campaign."""

import argparse

from fleet_live_queries.command import numbers
from fleet_live_queries.command.context import Context

NAME, HELP = "stop", "Stop a campaign; what has come is kept."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take which campaign is stopped."""
    numbers.for_campaign(parser)
    parser.add_argument("--json", action="store_true", help="the campaign as JSON")


def run(context: Context) -> int:
    """Stop it, and wait until it has ended."""
    campaign = context.client.campaign(context.options.id)
    campaign.stop()
    facts = campaign.wait()
    if context.options.json:
        context.terminal.json(facts)
    else:
        context.say(f"campaign {campaign.id}: {facts['status']}: {facts['ended_reason']}")
    return 0
