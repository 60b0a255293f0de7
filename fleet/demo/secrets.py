"""The demo's secrets, each in a file of mode 0600."""

import os
from pathlib import Path

from fleet.embedded.server import secret_file


def read(folder: Path, name: str) -> str:
    """Give a secret, made at random the first time."""
    return secret_file(folder / name)


def write(folder: Path, name: str, value: str) -> None:
    """Keep a secret that was made elsewhere."""
    with open(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(value)
