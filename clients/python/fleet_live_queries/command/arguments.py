"""The parser of the command line, made of the verbs; `live --help` and docs/command-line.md say the same."""

import argparse
import os
from typing import Any, NoReturn

from fleet_live_queries.client import Client
from fleet_live_queries.command import profiles, verbs
from fleet_live_queries.command.terminal import Terminal
from fleet_live_queries.command.text import shown_lines
from fleet_live_queries.command.verbs import ask
from fleet_live_queries.errors import BadInputError

STATUSES = "Exit status: 0 all answered, 5 nobody, 4 some failed, 3 some silent, 2 bad input, 1 trouble."
CA = "file of the CA that is trusted; FLEET_CA; default: the profile's, the system's"
NOWHERE = (
    "say where the server is and who asks: --url and --token (FLEET_URL, FLEET_TOKEN); "
    "`live login --url https://…` keeps both for later"
)


class Parser(argparse.ArgumentParser):
    """Refuses what may be anything without letting it control the terminal."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and leave with 2."""
        super().error(shown_lines(message))


def parser_of(word: str, prog: str) -> Parser:
    """Give the parser of a verb; of the question for any other word."""
    verb: Any = verbs.found().get(word, ask)
    name = f"{prog} {word}" if verb is not ask else prog
    told = {"description": verb.HELP, "allow_abbrev": False}
    if verb is ask:
        told["epilog"] = _epilog()
        told["formatter_class"] = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog=name, **told)
    verb.arguments(parser)
    server_arguments(parser)
    parser.set_defaults(run=verb.run)
    return parser


SERVER_OPTIONS = ("--url", "--token", "--ca", "--profile")


def server_arguments(parser: argparse.ArgumentParser) -> None:
    """Take where the server is and who asks."""
    parser.add_argument("--url", help="the server; FLEET_URL")
    parser.add_argument("--token", help="who asks; FLEET_TOKEN")
    parser.add_argument("--ca", metavar="FILE", help=CA)
    parser.add_argument("--profile", help="which of the servers that `live login` kept; FLEET_PROFILE")


def client_of(options: argparse.Namespace, terminal: Terminal) -> Client:
    """Give the client of who asks. An option goes before the environment, and that before the profile."""
    kept = profiles.profile(options.profile)
    url = told(options, "url", kept.url)
    token = told(options, "token", kept.token if is_same(url, kept.url) else "")  # no token goes to another server
    if not url or not token:
        raise BadInputError(_nowhere())
    if token == kept.token and (warning := profiles.exposed()):
        terminal.say(f"warning: {warning}", "yellow")
    try:
        return Client(url, token, ca=told(options, "ca", kept.ca), tell=terminal.say)
    except BadInputError as error:
        raise BadInputError(f"--url {error}" if "is no address" in str(error) else str(error)) from error


def _nowhere() -> str:
    """Say what is missing: the name of one of several profiles, or a first one."""
    known = ", ".join(profiles.names())
    return f"say which server: --profile (FLEET_PROFILE) names one of {known}; or {NOWHERE}" if known else NOWHERE


def told(options: argparse.Namespace, name: str, kept: str = "") -> str:
    """Give url, token or ca: of the option, of the environment unless --profile names whom to ask, or as it is kept.

    The environment's token is for the environment's server, where it names one. What is empty there is not said.
    """
    option: str | None = getattr(options, name)
    if option is not None:
        return option
    if options.profile or (name == "token" and not _is_for_environments_token(options.url)):
        return kept
    return os.environ.get(f"FLEET_{name.upper()}") or kept


def is_same(address: str, other: str) -> bool:
    """Say whether two addresses are of one server, however they are spelt."""
    return _plain(address) == _plain(other)


def _is_for_environments_token(url: str | None) -> bool:
    named = os.environ.get("FLEET_URL")
    return url is None or not named or is_same(url, named)


def _plain(address: str) -> str:
    return address.strip().rstrip("/").lower()


def _epilog() -> str:
    known = verbs.found()
    listed = "\n".join(f"  {name:12}{module.HELP}" for name, module in known.items())
    return f"other uses (`live WORD --help`):\n{listed}\n\n{STATUSES}"
