"""`make fuzz`: schemathesis drives the API of a demo of its own, as schemathesis.toml says."""

import os
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.conftest import RunningFleet
from tests.servers import open_folder

ROOT = Path(__file__).parents[1]
HOSTS = 6


def main() -> int:
    """Run it over a few hosts, with what is given on the command line; give its exit status."""
    fleet = RunningFleet(open_folder(), "--hosts", str(HOSTS))
    try:
        facts = fleet.facts
        command = [Path(sys.executable).with_name("schemathesis"), "run", "docs/openapi.yaml", "--continue-on-failure"]
        server = ["--url", facts["console"], "--tls-verify", facts["ca"]]
        told = {**os.environ, "TOKEN": facts["token"]}
        return subprocess.run([*command, *server, *sys.argv[1:]], cwd=ROOT, env=told, check=False).returncode
    finally:
        fleet.stop()


if __name__ == "__main__":
    raise SystemExit(main())
