"""The demo's command line, checked before anything is made or started."""

import argparse
import ipaddress
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")  # what Django takes as the name in a request


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; what is wrong there ends the program with a sentence and status 2."""
    usage = 'make demo ARGS="--hosts N --json --port P --bind A --data-dir DIR"'
    parser = argparse.ArgumentParser(prog="demo", usage=usage, description="Start a whole fleet on this machine.")
    parser.add_argument("--hosts", type=_hosts, default=200, help="simulated hosts; 0 = none, not even this machine")
    parser.add_argument("--json", action="store_true", help="print addresses and secrets as one line of JSON")
    parser.add_argument("--port", type=_port, default=8412)
    parser.add_argument("--bind", type=_bind, default="127.0.0.1", help="0.0.0.0 or :: = all addresses")
    parser.add_argument("--data-dir", type=Path, default=ROOT / ".demo")
    return parser.parse_args(arguments)


def _hosts(text: str) -> int:
    if not re.fullmatch("[0-9]{1,7}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of hosts: 0 to 9999999 are allowed")
    return int(text)


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 1 to 65535 are allowed")
    return int(text)


def _bind(text: str) -> str:
    """Give the address in the one spelling that browsers use as well."""
    try:
        address = str(ipaddress.ip_address(text))
    except ValueError:
        address = text.lower() if NAME.fullmatch(text.lower()) else ""
    if not address or "%" in address:  # no URL has room for a zone
        raise argparse.ArgumentTypeError(f"{text!r} is no IP address (without brackets, without a zone) and no name")
    return address
