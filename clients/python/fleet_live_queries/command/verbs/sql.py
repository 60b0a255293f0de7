"""`live sql ID "SELECT … FROM answers"`: SQL over the answers of a campaign."""

import argparse

from fleet_live_queries.command import numbers
from fleet_live_queries.command.context import Context
from fleet_live_queries.command.terminal import write
from fleet_live_queries.command.writers import WRITERS
from fleet_live_queries.wording import counted

NAME, HELP = "sql", "Run SQL over the answers of a campaign (tables answers, targets, hosts, campaign_ID)."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take which campaign, and what."""
    numbers.for_campaign(parser)
    parser.add_argument("sql", help="the SQL, in quotes")
    parser.add_argument("--format", choices=tuple(WRITERS), default="table", help="of the rows (default: table)")
    parser.add_argument("--json", action="store_const", const="ndjson", dest="format", help="the same as ndjson")


def run(context: Context) -> int:
    """Run SQL over the answers of a campaign, and print what comes of it."""
    answer = context.client.campaign(context.options.id).sql(context.options.sql)
    names = [column["name"] for column in answer["columns"]]
    write(context.options.format, names, answer["rows"])
    cut = "; more rows were found than are given" if answer["truncated"] else ""
    rows = counted(len(answer["rows"]), "row")
    context.say(f"{rows} in {answer['took_ms'] / 1000:.1f} s, as of seq {answer['as_of_seq']}{cut}")
    return 0
