"""What a verb is given."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fleet_live_queries.client import Client
from fleet_live_queries.command.terminal import Terminal


@dataclass
class Context:
    """One run of the command: what was told, where it writes, and the server, once it is needed."""

    options: argparse.Namespace
    terminal: Terminal
    connect: Callable[[], Client]
    launched: str = ""  # where the campaign is that this run launched

    @cached_property
    def client(self) -> Client:
        """Give the client. Raise BadInputError when nobody said which server."""
        return self.connect()

    def say(self, sentence: Any) -> None:
        """Say a sentence on stderr."""
        self.terminal.say(sentence)
