"""`live completion SHELL`: a script that completes verbs and options, made of the parsers: it is never behind."""

import argparse
import sys

from fleet_live_queries.command import verbs
from fleet_live_queries.command.context import Context

NAME, HELP = "completion", 'Print a script for a shell: eval "$(live completion bash)".'
SHELLS = ("bash", "zsh", "fish")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take for which shell."""
    parser.add_argument("shell", choices=SHELLS, help="bash, zsh or fish")


def run(context: Context) -> int:
    """Print it."""
    sys.stdout.write({"bash": _bash, "zsh": _zsh, "fish": _fish}[context.options.shell](_words()))
    return 0


def _words() -> dict[str, list[str]]:
    """Give what may stand after each verb; after "": verbs and the options of a question."""
    from fleet_live_queries.command.arguments import parser_of

    known = verbs.found()
    words = {word: _options(parser_of(word, "live")) for word in ("", *known)}
    words[""] += known
    words[NAME] += SHELLS
    return words


def _options(parser: argparse.ArgumentParser) -> list[str]:
    found = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
    return sorted({*found})


def _bash(words: dict[str, list[str]]) -> str:
    cases = "\n".join(f'    {word}) words="{" ".join(found)}" ;;' for word, found in words.items() if word)
    return f"""_live() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" words
  case "${{COMP_WORDS[1]}}" in
{cases}
    *) words="{" ".join(words[""])}" ;;
  esac
  [ "$COMP_CWORD" = 1 ] && words="{" ".join(words[""])}"
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -o default -F _live live
"""


def _zsh(words: dict[str, list[str]]) -> str:
    cases = "\n".join(f"    {word}) found=({' '.join(found)}) ;;" for word, found in words.items() if word)
    return f"""#compdef live
_live() {{
  local -a found
  found=({" ".join(words[""])})
  (( CURRENT > 2 )) && case "${{words[2]}}" in
{cases}
  esac
  compadd -- $found || _files
}}
compdef _live live
"""


def _fish(words: dict[str, list[str]]) -> str:
    known = " ".join(word for word in words if word)
    lines = ["complete -c live -f -n __fish_use_subcommand -a " + f"'{known}'"]
    for word, found in words.items():
        when = f"__fish_seen_subcommand_from {word}" if word else f"not __fish_seen_subcommand_from {known}"
        lines += [f"complete -c live -n '{when}' -l {option[2:]}" for option in found if option.startswith("--")]
    lines.append(f"complete -c live -f -n '__fish_seen_subcommand_from {NAME}' -a '{' '.join(SHELLS)}'")
    return "\n".join(lines) + "\n"
