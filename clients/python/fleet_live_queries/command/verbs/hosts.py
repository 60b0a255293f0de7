"""`live hosts`: the hosts that one may see."""

import argparse

from fleet_live_queries.command.context import Context
from fleet_live_queries.command.numbers import how_many

NAME, HELP = "hosts", "List hosts."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take which hosts are listed."""
    parser.add_argument("--search", help="part of what is known of a host")
    parser.add_argument("--label", help="only those that bear this label")
    parser.add_argument("--platform", help="only those of this platform")
    parser.add_argument("--online", action="store_const", const="true", help="only those that are online")
    parser.add_argument("--limit", type=how_many, help="how many at most (default: all)")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each")


def run(context: Context) -> int:
    """List hosts."""
    asked = {name: getattr(context.options, name) for name in ("search", "label", "platform", "online")}
    items = context.client.list("hosts/", most=context.options.limit, **asked)
    columns = {
        "id": lambda found: found["id"],
        "hostname": lambda found: found["hostname"],
        "platform": lambda found: found["platform"],
        "online": lambda found: "online" if found["online"] else "",
        "last seen": lambda found: found["last_seen"],
    }
    if not context.terminal.listed(items, columns, context.options.json):
        context.say("there is no such host")
    return 0
