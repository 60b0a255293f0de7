"""`python -m fleet.demo.beat SCHEDULE`: the demo's beat, which sends names of tasks and needs no app to be loaded."""

import sys
from logging.config import dictConfig
from typing import Any

from celery import Celery, signals

from fleet import settings


@signals.setup_logging.connect
def _keep_logging(**_: Any) -> None:
    dictConfig(settings.LOGGING)


def main(schedule: str) -> None:
    """Send what is due, until told to stop."""
    app = Celery("fleet", fixups=[], set_as_current=True)
    app.config_from_object(settings, namespace="CELERY")
    app.Beat(schedule=schedule, quiet=True).run()


if __name__ == "__main__":
    main(sys.argv[1])
