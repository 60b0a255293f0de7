"""`live labels`: the labels that hosts bear."""

import argparse

from fleet_live_queries.command.context import Context

NAME, HELP = "labels", "List labels, and how many hosts bear each."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take which labels are listed."""
    parser.add_argument("--search", help="part of the name")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each")


def run(context: Context) -> int:
    """List labels."""
    items = context.client.list("labels/", search=context.options.search)
    columns = {
        "id": lambda found: found["id"],
        "name": lambda found: found["name"],
        "hosts": lambda found: found["hosts_count"],
        "description": lambda found: found["description"],
    }
    if not context.terminal.listed(items, columns, context.options.json):
        context.say("there is no such label")
    return 0
