"""`live schema [TABLE]`: the tables that hosts told of, or the columns of one."""

import argparse

from fleet_live_queries.command.context import Context
from fleet_live_queries.command.terminal import write
from fleet_live_queries.errors import NotFoundError

NAME, HELP = "schema", "List the tables that hosts told of, or the columns of one."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take which table."""
    parser.add_argument("table", nargs="?", metavar="TABLE", help="its columns")
    parser.add_argument("--platform", help="only what hosts of this platform have")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each table")


def run(context: Context) -> int:
    """List the tables of osquery that hosts told of."""
    options = context.options
    tables = context.client.get("schema/", platform=options.platform, search=options.table)["results"]
    if options.table is None:
        columns = {
            "table": lambda found: found["name"],
            "platforms": lambda found: ", ".join(found["platforms"]),
            "columns": lambda found: len(found["columns"]),
        }
        if not context.terminal.listed(tables, columns, options.json):
            context.say("no host has told its tables yet")
        return 0
    found = next((table for table in tables if table["name"] == options.table), None)
    if found is None:
        near = ", ".join(table["name"] for table in tables[:10])
        raise NotFoundError(f"no host told of a table {options.table!r}{f'; there are {near}' if near else ''}")
    if options.json:
        context.terminal.json(found)
    else:
        write("table", ["column", "type"], [[column["name"], column["type"]] for column in found["columns"]])
    return 0
