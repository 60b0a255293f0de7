"""`live completion SHELL`: a script that completes words, options and their values, made of the parsers."""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from fleet_live_queries.command import verbs
from fleet_live_queries.command.context import Context

NAME, HELP = "completion", 'Print a script for a shell: eval "$(live completion bash)".'
SHELLS = ("bash", "zsh", "fish")
PROFILES = "$(live login --list 2>/dev/null | cut -f1)"  # what any of the shells runs when it is asked
OF_FILES = ("FILE", "DIR", "PATH")  # as the help names their values


@dataclass(frozen=True)
class Option:
    """What begins with `--`."""

    name: str
    help: str
    takes: bool  # a value
    values: tuple[str, ...] = ()  # which ones; none = whatever it is
    is_file: bool = False


@dataclass(frozen=True)
class Word:
    """A verb, or "" for a question: its options, and what may stand there beside them."""

    name: str
    help: str
    options: tuple[Option, ...]
    values: tuple[str, ...]
    takes_files: bool

    @property
    def all(self) -> str:
        """Give what may stand there when no option is open."""
        return " ".join([*self.values, *(option.name for option in self.options)])


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take for which shell."""
    parser.add_argument("shell", choices=SHELLS, help="bash, zsh or fish")


def run(context: Context) -> int:
    """Print the script that lets a shell complete the command line."""
    sys.stdout.write({"bash": _bash, "zsh": _zsh, "fish": _fish}[context.options.shell](_words()))
    return 0


def _words() -> list[Word]:
    from fleet_live_queries.command.arguments import parser_of

    return [_word(name, parser_of(name, "live")) for name in ("", *verbs.found())]


def _word(name: str, parser: argparse.ArgumentParser) -> Word:
    actions = parser._actions
    options = sorted((_option(action) for action in actions if action.option_strings), key=_name)
    beside = [action for action in actions if not action.option_strings]
    values = tuple(str(value) for action in beside for value in action.choices or ())
    takes_files = any(action.metavar in OF_FILES for action in beside)
    return Word(name, parser.description or "", tuple(options), values, takes_files)


def _option(action: argparse.Action) -> Option:
    values = (PROFILES,) if action.dest == "profile" else tuple(map(str, action.choices or ()))
    is_file = action.metavar in OF_FILES
    return Option(action.option_strings[-1], action.help or "", action.nargs != 0, values, is_file)


def _name(option: Option) -> str:
    return option.name


# --- bash and zsh, which write arrays and cases alike ---------------------------------------------------------------


def _case(words: list[Word]) -> str:
    """Give what sets `found` by `$word $previous`; `first` is where no word is yet."""
    lines = [line for word in words for line in _of_word(word)]
    known = " ".join(word.name for word in words if word.name)
    lines.append(f'"first "*) found=({known} {words[0].all}) ;;')
    lines += [f'"{word.name} "*) found=({word.all}) ;;' for word in words if word.name]
    lines.append(f"*) found=({words[0].all}) ;;")
    return "\n".join(['  case "$word $previous" in', *(f"    {line}" for line in lines), "  esac"])


def _of_word(word: Word) -> Iterator[str]:
    taking = [option for option in word.options if option.takes]
    for option in taking:
        if option.values:
            yield f'"{word.name} {option.name}") found=({" ".join(option.values)}) ;;'
    free = [f'"{word.name} {option.name}"' for option in taking if not option.values]
    yield f"{'|'.join(free)}) found=() ;;"  # whatever it is: names of files, by default


def _bash(words: list[Word]) -> str:
    known = "|".join(word.name for word in words if word.name)
    return f"""_live() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" word="${{COMP_WORDS[1]}}" found
  if [ "$current" = "=" ]; then current=""
  elif [ "$previous" = "=" ]; then previous="${{COMP_WORDS[COMP_CWORD-2]}}"; fi
  case "$word" in {known}) ;; *) word="" ;; esac
  if [ "$COMP_CWORD" = 1 ]; then word=first previous=""; fi
{_case(words)}
  COMPREPLY=($(compgen -W "${{found[*]}}" -- "$current"))
}}
complete -o default -F _live live
"""


def _zsh(words: list[Word]) -> str:
    known = "|".join(word.name for word in words if word.name)
    return f"""#compdef live
_live() {{
  local previous="${{words[CURRENT-1]}}" word="${{words[2]}}"
  local -a found
  if [[ "${{words[CURRENT]}}" == --*=* ]]; then previous="${{words[CURRENT]%%=*}}"; compset -P '*='; fi
  case "$word" in {known}) ;; *) word="" ;; esac
  if (( CURRENT == 2 )); then word=first previous=""; fi
{_case(words)}
  compadd -- $found || _files
}}
compdef _live live
"""


# --- fish ----------------------------------------------------------------------------------------------------------


def _fish(words: list[Word]) -> str:
    known = " ".join(word.name for word in words if word.name)
    lines = ["complete -c live -e", f"set -g __live_words {known}"]
    return "\n".join([*lines, *(line for word in words for line in _fish_word(word))]) + "\n"


def _fish_word(word: Word) -> Iterator[str]:
    when = f"__fish_seen_subcommand_from {word.name}" if word.name else "not __fish_seen_subcommand_from $__live_words"
    if word.name:
        yield f"complete -c live -f -n __fish_use_subcommand -a {word.name} -d {_quoted(word.help)}"
    if word.values:
        yield f"complete -c live{'' if word.takes_files else ' -f'} -n '{when}' -a '{' '.join(word.values)}'"
    for option in word.options:
        takes = "" if not option.takes else " -r -F" if option.is_file else f" -x -a {_quoted(_values(option))}"
        yield f"complete -c live -n '{when}' -l {option.name[2:]}{takes} -d {_quoted(option.help)}"


def _values(option: Option) -> str:
    return " ".join(option.values).removeprefix("$")  # fish runs what stands in bare parentheses


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
