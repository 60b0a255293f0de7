"""Numbers of campaigns, as words."""

import argparse

from fleet_live_queries.command.text import shown


def campaign_number(text: str) -> int:
    """Read the number of a campaign."""
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"{shown(repr(text))} is not the number of a campaign")
    return int(text)


def how_many(text: str) -> int:
    """Read how many items are wanted at most."""
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text)):
        raise argparse.ArgumentTypeError(f"{shown(repr(text))} is not a number from 1 on")
    return int(text)


def for_campaign(parser: argparse.ArgumentParser) -> None:
    """Take a campaign's number."""
    parser.add_argument("id", type=campaign_number, metavar="ID", help="number of the campaign")
