"""What our management commands share: what they print is text, never control."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser, OutputWrapper

from fleet.text import shown, shown_lines


class ShownOutput(OutputWrapper):
    """Where a command writes: what others wrote cannot move the cursor or colour the terminal."""

    def __init__(self, output: OutputWrapper) -> None:
        super().__init__(output._out)  # type: ignore[arg-type]  # the stubs call it a function
        self.style_func = output.style_func

    def write(  # type: ignore[override]  # as Django's own
        self, msg: object = "", style_func: Any = None, ending: str | None = None
    ) -> None:
        """Write the lines; Django's own colours come after."""
        super().write(shown_lines(msg), style_func, ending)


class Command(BaseCommand):
    """A management command that prints by the rule of `fleet.text`, its refusals too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stdout, self.stderr = ShownOutput(self.stdout), ShownOutput(self.stderr)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Give the parser of the command line; what it refuses may be anything."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        refuse = parser.error
        parser.error = lambda message: refuse(shown(message))  # type: ignore[method-assign]
        return parser
