"""`python -m fleet.demo`: start everything, say where it is, keep it running until Ctrl-C or SIGTERM."""

import json
import signal
import sys
import time
from typing import NoReturn

from fleet.demo.demo import CannotStartError, Demo
from fleet.demo.options import read_options
from fleet.demo.show import launch_quietly, show
from fleet.demo.supervisor import say
from fleet.embedded.server import EmbeddedError, die_with_parent
from fleet.text import show_uncaught

ENDING = (signal.SIGINT, signal.SIGTERM)


def main() -> int:
    """Run the demo until it is told to stop."""
    sys.excepthook = show_uncaught
    die_with_parent()
    options = read_options()
    for number in ENDING:
        signal.signal(number, _interrupt)
    try:
        _run(Demo(options))
    except (CannotStartError, EmbeddedError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 0


def _run(demo: Demo) -> NoReturn:
    try:
        demo.prepare()
        demo.start()
        demo.wait_until_ready()
        _welcome(demo)
        while True:
            demo.look_after_all()
            time.sleep(0.1)
    finally:
        _ignore_signals()
        demo.stop()


def _welcome(demo: Demo) -> None:
    """Start the hosts; say where everything is, and show the first campaign or launch it quietly."""
    if demo.options.hosts:
        demo.start_hosts()
    if not demo.options.json:
        show(demo)
        return
    sys.stdout.write(json.dumps(demo.facts()) + "\n")
    sys.stdout.flush()
    if demo.options.hosts:
        launch_quietly(demo)


def _interrupt(*_: object) -> None:
    _ignore_signals()  # an impatient second Ctrl-C would end this process and not what it started
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
