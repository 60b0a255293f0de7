"""`python -m fleet.demo.beat SCHEDULE`: the demo's beat, which sends names of tasks and needs no app to be loaded."""

import sys

from celery import Celery


def main(schedule: str) -> None:
    """Send what is due, until told to stop."""
    app = Celery("fleet", fixups=[], set_as_current=True)
    app.config_from_object("fleet.settings", namespace="CELERY")
    app.Beat(schedule=schedule, loglevel="INFO").run()


if __name__ == "__main__":
    main(sys.argv[1])
