"""`live login`: keep a server and a token, once the server took it."""

import argparse
import getpass
import os
import sys

from fleet_live_queries.client import Client
from fleet_live_queries.command import profiles
from fleet_live_queries.command.arguments import is_same, told
from fleet_live_queries.command.context import Context
from fleet_live_queries.errors import BadInputError, FleetError, NotSignedInError

NAME, HELP = "login", "Keep a server and a token for later, as a profile; the console makes tokens (/tokens/)."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing beside the server, the token and the name of the profile; `--list` only tells which there are."""
    parser.add_argument("--list", action="store_true", help="only tell which profiles there are")


def run(context: Context) -> int:
    """Ask for what was not told, try it, and keep it."""
    options = context.options
    if options.list:
        for name in profiles.names():
            found = profiles.profile(name)
            sys.stdout.write(f"{name}\t{found.url}\n")
        return 0
    kept = _asked_for(options)
    with Client(kept.url, kept.token, ca=kept.ca, tell=context.say) as client:
        try:
            client.get("campaigns/", limit=1)
        except NotSignedInError as error:
            raise BadInputError(f"the server does not take this token: {error}") from error
        except FleetError as error:
            if error.status != 403:
                raise
            context.say(f"the token is taken, and may not look at campaigns: {error}")
    usual = os.environ.get("FLEET_PROFILE") or profiles.DEFAULT
    name = options.profile or usual
    place = profiles.keep(name, kept)
    is_asked = name == usual and is_same(os.environ.get("FLEET_URL") or kept.url, kept.url)
    context.say(f"profile {name} is kept in {place}" + (f"; {kept.url} is asked from now on" if is_asked else ""))
    return 0


def _asked_for(options: argparse.Namespace) -> profiles.Profile:
    url = told(options, "url") or _ask("address of the server (https://…): ", secret=False)
    token = told(options, "token") or _ask("token: ", secret=True)
    ca = told(options, "ca")
    if not url or not token:
        raise BadInputError("an address and a token are needed: --url, and the token on stdin or by FLEET_TOKEN")
    return profiles.Profile(url.strip().rstrip("/"), token, os.path.abspath(ca) if ca else "")


def _ask(question: str, *, secret: bool) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    if secret:
        return getpass.getpass(question, stream=sys.stderr).strip()
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()
