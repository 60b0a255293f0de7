"""The demo's secrets, each in a file of mode 0600."""

from pathlib import Path

from fleet.embedded.server import secret_file, write_private


def read(folder: Path, name: str) -> str:
    """Give a secret, made at random the first time."""
    return secret_file(folder / name)


def write(folder: Path, name: str, value: str) -> None:
    """Keep a secret that was made elsewhere."""
    write_private(folder / name, value)
