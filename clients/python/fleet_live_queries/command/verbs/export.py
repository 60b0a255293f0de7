"""`live export ID --format parquet`: a file of every row."""

import argparse
import sys
from pathlib import Path

from fleet_live_queries.command import numbers
from fleet_live_queries.command.context import Context
from fleet_live_queries.errors import BadInputError
from fleet_live_queries.verbs import EXPORTS
from fleet_live_queries.wording import counted

NAME, HELP = "export", "Write a file of every row of a campaign."
STDOUT = "-"  # a terminal, too, for who says so


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take which campaign, the format, and where to."""
    numbers.for_campaign(parser)
    parser.add_argument("--format", choices=EXPORTS, default="csv", help="of the file (default: csv)")
    parser.add_argument("--output", metavar="FILE", help="- is stdout; default: stdout, where that is no terminal")


def run(context: Context) -> int:
    """Write it: whole, or not at all where it goes to a file."""
    options = context.options
    _check(options)
    pieces = context.client.campaign(options.id).export(options.format)
    if options.output in (None, STDOUT):
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return 0
    place = Path(options.output)
    beside = place.with_name(f".{place.name}.part")
    try:
        with beside.open("wb") as file:
            file.writelines(pieces)
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
    context.say(f"{counted(place.stat().st_size, 'byte')}: {place}")
    return 0


def _check(options: argparse.Namespace) -> None:
    """Raise BadInputError where there is nowhere to write to, before anything is asked for."""
    if options.output is None and sys.stdout.isatty():
        raise BadInputError(f"say where to: --output FILE, or `live export {options.id} > FILE`")
    if options.output not in (None, STDOUT) and (not Path(options.output).name or Path(options.output).is_dir()):
        raise BadInputError(f"--output {options.output!r} is not the name of a file")
