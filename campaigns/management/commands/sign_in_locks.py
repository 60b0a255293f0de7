"""`manage.py sign_in_locks`: who is locked out after wrong passwords, and letting them in before the lock ends."""

import json
from ipaddress import ip_address
from typing import Any

from django.core.management.base import CommandError, CommandParser
from redis.exceptions import RedisError

from campaigns.people import lockouts
from campaigns.people.lockouts import Lock
from fleet import commands
from fleet.counting import counted


class Command(commands.Command):
    """Show the locks, or lift some; each lift is a line of the audit."""

    help = "Show who is locked out after wrong passwords or codes, where and for how long; lift it by name or address."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take whose locks end now."""
        parser.add_argument("--lift", metavar="NAME", help="let this name try again, everywhere, its second factor too")
        parser.add_argument("--lift-address", metavar="ADDRESS", help="let all names try again at this address")
        parser.add_argument("--json", action="store_true", help="one JSON object, for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Lift what was named, then show what holds."""
        try:
            lifted = [*_of_name(options["lift"]), *_of_address(options["lift_address"])]
            held = lockouts.locks()
        except (RedisError, OSError) as error:
            raise CommandError(f"Redis does not answer, and while it does not nobody is locked: {error}") from error
        if options["json"]:
            told = {"lifted": [*map(_as_json, lifted)], "locked": [*map(_as_json, held)]}
            self.stdout.write(json.dumps(told, indent=2))
            return
        if options["lift"] is not None or options["lift_address"] is not None:
            self.stdout.write(
                "\n".join(f"lifted: {_in_words(lock)}" for lock in lifted) or "nothing of that was locked"
            )
        self.stdout.write("\n".join(f"locked: {_in_words(lock)}" for lock in held) or "nobody is locked")


def _of_name(name: str | None) -> list[Lock]:
    return [] if name is None else lockouts.lift_of_name(name)


def _of_address(address: str | None) -> list[Lock]:
    if address is None:
        return []
    try:
        shown = str(ip_address(address.partition("/")[0]))  # a network is listed as its /64
    except ValueError as error:
        raise CommandError(f"--lift-address: {error}", returncode=2) from error
    return lockouts.lift_of_address(shown)


def _in_words(lock: Lock) -> str:
    where = f"at {lock.address}" if lock.address else "everywhere but where its owner signed in lately"
    who = {"": "every name", lockouts.UNKNOWN: "a name that no account has"}.get(lock.name, lock.name)
    return f"{who} {where}, for {counted(lock.seconds, 'second')} more"


def _as_json(lock: Lock) -> dict[str, Any]:
    return {"name": lock.name, "address": lock.address, "seconds": lock.seconds}
