"""`live`: runs a verb, says what went wrong as a sentence, and leaves with the status that says how it went."""

import os
import sys
from collections.abc import Callable

from fleet_live_queries.command.arguments import SERVER_OPTIONS, client_of, parser_of
from fleet_live_queries.command.context import Context
from fleet_live_queries.command.interrupts import terminable
from fleet_live_queries.command.statuses import TROUBLE, LeftError, status_of
from fleet_live_queries.command.terminal import Terminal
from fleet_live_queries.command.verbs import found
from fleet_live_queries.command.writers import prepare
from fleet_live_queries.errors import FleetError, NotSignedInError


def run(words: list[str], prog: str) -> int:
    """Run the command; give its exit status."""
    prepare(sys.stdout)
    prepare(sys.stderr)
    terminal = Terminal()
    words = _word_first(words)
    word = words[0] if words and words[0] in found() else ""
    options = parser_of(word, prog).parse_args(words[1:] if word else words)
    context = Context(options, terminal, lambda: client_of(options, terminal))
    try:
        with terminable():
            return _said(terminal, lambda: int(options.run(context)))
    except BrokenPipeError:  # who reads the rows has enough: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left has nowhere to go either
    except OSError as error:
        terminal.say(f"it cannot be written: {error}", "red")
    except LeftError:  # and was told where the campaign is
        pass
    except KeyboardInterrupt:
        terminal.settle()
        terminal.say(_interrupted(word, context.launched))
    return TROUBLE


def _word_first(words: list[str]) -> list[str]:
    """Let a word stand behind options of where the server is as well, as in `live --profile lab ls`."""
    place = 0
    while place < len(words) and words[place].partition("=")[0] in SERVER_OPTIONS:
        place += 1 if "=" in words[place] else 2
    if place < len(words) and words[place] in found():
        return [words[place], *words[:place], *words[place + 1 :]]
    return words


def _interrupted(word: str, launched: str) -> str:
    if launched:
        return f"interrupted: the campaign is at {launched}"
    unknown = " before it was known whether a campaign was launched: look at the console"
    return f"interrupted{'' if word else unknown}"


def _said(terminal: Terminal, verb: Callable[[], int]) -> int:
    try:
        status = verb()
        sys.stdout.flush()
    except NotSignedInError as error:
        terminal.say(f"{error} (`live login` keeps another token)", "red")
        return TROUBLE
    except FleetError as error:
        terminal.say(error, "red")
        return status_of(error)
    return status
