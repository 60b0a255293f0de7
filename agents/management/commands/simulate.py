"""`manage.py simulate`: pretend hosts that speak the agents' protocol, or this very machine as one."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from agents.simulator.crowd import Crowd, Shares
from fleet import commands


class Command(commands.Command):
    """Run hosts until SIGTERM or SIGINT."""

    help = "Pretend hosts that enroll, ask and answer as osqueryd does; SQL is run for real, by SQLite."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Take where the server is, how many hosts, and how they behave."""
        parser.add_argument("--hosts", type=int, default=0, help="how many (default 50, or none with --this-machine)")
        parser.add_argument("--this-machine", action="store_true", help="answer from this machine's real data")
        parser.add_argument("--url", default=os.environ.get("FLEET_URL", ""), help="https://host:port (FLEET_URL)")
        parser.add_argument("--ca", type=Path, default=os.environ.get("FLEET_CA"), help="the server's CA (FLEET_CA)")
        parser.add_argument("--enroll-secret-file", type=Path, help="else ENROLL_SECRET")
        parser.add_argument(
            "--client-cert", type=Path, help="with --client-key: where the server asks for a certificate"
        )
        parser.add_argument("--client-key", type=Path)
        parser.add_argument("--prefix", default="/api/osquery")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--interval", type=float, help="seconds between reads, instead of the config's")
        parser.add_argument("--state", type=Path, help="file in which node keys are kept between runs")
        for name in ("failing", "silent", "denylisted", "offline", "slow", "hanging"):
            parser.add_argument(f"--{name}", type=float, default=0.0, help="hosts in a hundred")
        parser.add_argument("--slow-seconds", type=float, default=5.0)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the simulated hosts until the process is told to stop."""
        if not options["url"] or not options["ca"]:
            raise CommandError("say where the server is and whom to trust: --url https://host:port --ca FILE")
        if bool(options["client_cert"]) != bool(options["client_key"]):
            raise CommandError("--client-cert and --client-key go together")
        client = (options["client_cert"], options["client_key"]) if options["client_cert"] else None
        file = options["enroll_secret_file"]
        secret = file.read_text().strip() if file else os.environ.get("ENROLL_SECRET", "")
        shares = Shares(**{name: options[name] for name in Shares.__dataclass_fields__})
        names = ("url", "ca", "this_machine", "seed", "prefix", "interval", "state")
        hosts = options["hosts"] or (0 if options["this_machine"] else 50)
        crowd = Crowd(
            secret=secret, hosts=hosts, shares=shares, client=client, **{name: options[name] for name in names}
        )
        asyncio.run(_until_told(crowd))


async def _until_told(crowd: Crowd) -> None:
    running = asyncio.ensure_future(crowd.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        return
