#!/usr/bin/env python
"""Run a management command; beside a running demo, with the demo's addresses and secrets."""

import os
import sys
from pathlib import Path

from fleet.loading import loading

DEMO_ENVIRONMENT = Path(__file__).resolve().parent / ".demo" / "env"


def use_the_demo() -> None:
    """Without DATABASE_URL take the environment that `make demo` wrote, so that commands reach the same servers."""
    if "DATABASE_URL" in os.environ or not DEMO_ENVIRONMENT.is_file():
        return
    for line in DEMO_ENVIRONMENT.read_text().splitlines():
        name, found, value = line.partition("=")
        if found:
            os.environ.setdefault(name, value)


def main() -> None:
    """Hand the command line to Django."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleet.settings")
    use_the_demo()
    import django
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    from fleet.text import show_all_uncaught, show_refusal

    show_all_uncaught()
    try:
        with loading():
            django.setup()
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        show_refusal(error)
        sys.exit(1)


def run() -> None:
    """Run the command; a Ctrl-C while it starts is no trouble worth a traceback."""
    try:
        main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(1)


if __name__ == "__main__":
    run()
