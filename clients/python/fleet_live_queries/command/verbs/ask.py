"""`live "SELECT …"`: launch and follow; what `live` does with words that are no verb."""

import argparse
from collections.abc import Sequence

from fleet_live_queries import verbs as steps
from fleet_live_queries.client import Campaign
from fleet_live_queries.command import silent_file, targets, verbs
from fleet_live_queries.command.context import Context
from fleet_live_queries.command.follower import Follower
from fleet_live_queries.command.writers import WRITERS
from fleet_live_queries.errors import BadInputError

HELP = "Ask hosts a question in SQL, and follow: rows on stdout, progress on stderr."
OF_A_LAUNCH = (*targets.OPTIONS, "canary", "then", "timeout", "name", "reason", "force")  # a rerun goes as its parent
TIMEOUT = 60  # seconds
NO_HOSTS = "no host has enrolled yet: `manage.py osquery_flags` on the server writes what an agent needs to join"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take the question, who is meant, and how far it goes."""
    parser.add_argument("sql", nargs="?", help="the question, in quotes")
    parser.add_argument("more", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--query", metavar="NAME", help="a saved query, instead of SQL")
    parser.add_argument("--rerun", type=int, metavar="ID", help="ask the silent hosts of a campaign again, or --states")
    parser.add_argument("--states", help=f"of --rerun (default: {','.join(steps.SILENT_STATES)})")
    targets.arguments(parser)
    parser.add_argument("--canary", metavar="N|P%", help="so many hosts go first, the others by steps after them")
    parser.add_argument("--then", choices=("auto", "ask"), help="after the canary (default: auto)")
    parser.add_argument("--until", default="all", metavar="all|online|N%", help="stop when so many have ended")
    parser.add_argument("--timeout", type=int, help=f"seconds (default {TIMEOUT})")
    parser.add_argument("--name", help="of the campaign")
    parser.add_argument("--reason", help="why it is asked, for the audit and for who approves")
    parser.add_argument("--force", action="store_true", help="ask hosts whose known tables speak against it too")
    parser.add_argument(
        "--silent", metavar="FILE", help="write the hosts that stay silent, as --hosts @FILE reads them"
    )
    parser.add_argument("--group-by", metavar="COLUMNS", help="counts of hosts and rows instead of rows")
    parser.add_argument("--format", choices=tuple(WRITERS), default="table", help="of the rows (default: table)")
    parser.add_argument("--json", action="store_const", const="ndjson", dest="format", help="the same as ndjson")


def run(context: Context) -> int:
    """Launch and follow; give the exit status."""
    options = context.options
    _check(options)
    with silent_file.opened(options.silent) as silent:
        campaign = _launched(context)
        context.launched = campaign.facts["url"]
        return Follower(campaign, context.terminal, options, silent).run()


def _check(options: argparse.Namespace) -> None:
    """Raise BadInputError for what is neither a question nor a verb."""
    word: str = options.sql or ""
    if word in verbs.found():
        raise BadInputError(f"{word} goes first: live {word} …, its options after it")
    if word and len(word.split()) == 1 and not options.query:
        known = ", ".join(verbs.found())
        raise BadInputError(f"{word!r} is unknown: neither SQL nor one of {known}")
    if options.more:
        raise BadInputError(f"{options.more[0]!r} is one word too many: put the SQL in quotes")
    given = [name for name in ("sql", "query", "rerun") if getattr(options, name) is not None]
    if len(given) != 1:
        raise BadInputError('give one question: live "SELECT …", --query NAME or --rerun ID')
    _check_what_belongs_together(options)
    for option in ("group_by", "states"):
        targets.names(getattr(options, option), f"--{option.replace('_', '-')}")
    if options.until not in ("all", "online"):
        targets.percent(options.until, f"--until {options.until!r} is none of all, online, or a part as 90%")


def _check_what_belongs_together(options: argparse.Namespace) -> None:
    """Raise BadInputError for an option that would change nothing."""
    idle = [f"--{name}" for name in OF_A_LAUNCH if getattr(options, name) not in (None, False, [])]
    if options.rerun is not None and idle:
        raise BadInputError(f"{', '.join(idle)}: not with --rerun, which asks hosts of that campaign as it asked them")
    if options.states is not None and options.rerun is None:
        raise BadInputError("--states is of --rerun ID: it says which hosts of that campaign are asked again")
    if options.then is not None and options.canary is None:
        raise BadInputError("--then is of --canary: it says what follows the hosts that go first")


def _launched(context: Context) -> Campaign:
    options, client = context.options, context.client
    if options.rerun is not None:
        return client.campaign(options.rerun).rerun(_states(options))
    told = targets.target(options)
    rollout = None
    if options.canary is not None:
        rollout = {"canary": targets.part(options.canary, "--canary"), "then": options.then or "auto"}
    query = int(client.run(steps.query_named(options.query))["id"]) if options.query else None
    try:
        return client.ask(
            options.sql,
            **told,
            query=query,
            timeout=TIMEOUT if options.timeout is None else options.timeout,
            name=options.name or "",
            reason=options.reason,
            rollout=rollout,
            force=options.force or None,
        )
    except BadInputError:
        if client.get("hosts/", limit=1)["count"] == 0:
            context.say(NO_HOSTS)
        raise


def _states(options: argparse.Namespace) -> Sequence[str]:
    return steps.SILENT_STATES if options.states is None else targets.names(options.states, "--states")
