"""`make audit-dependencies`: ask the database of vulnerabilities about what is pinned, and say plainly when it is away.

It fails for what is known to be vulnerable. What cannot be asked, without a way to the database, is one line and no
failure: a build that needs a service elsewhere would fail for reasons of its own.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fleet.counting import counted

ROOT = Path(__file__).parents[1]
PINNED = ROOT / "docker" / "requirements.lock"
QUIETLY = ("--disable-pip", "--no-deps", "--progress-spinner", "off", "--format", "json")
LONGEST_SECONDS = 300
# What is said when there is no way to the database; whatever else ends pip-audit is a fault of the build.
NOT_REACHED = (
    "ConnectionError",
    "ConnectTimeout",
    "ReadTimeout",
    "HTTPError",
    "ProxyError",
    "Max retries",
    "no answer within",
)


class Verdict(NamedTuple):
    """What to print, and whether it is a failure."""

    lines: list[str]
    is_bad: bool


def verdict(report: str, trouble: str) -> Verdict:
    """Read pip-audit's report; "" = there is none, and its last words say why."""
    try:
        told: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = trouble.strip().splitlines()[-1] if trouble.strip() else "it said nothing"
        if any(word in trouble for word in NOT_REACHED):
            return Verdict([_not_asked(last)], False)
        return Verdict([f"dependencies were not audited: pip-audit failed ({last[:200]})"], True)
    bad = [line for one in told for line in _vulnerabilities(one)]
    skipped = [one for one in told if "skip_reason" in one]
    if told and len(skipped) == len(told):
        return Verdict([_not_asked(skipped[0]["skip_reason"])], False)
    audited = counted(len(told) - len(skipped), "dependency", "dependencies")
    lines = [*bad, f"{audited} audited, {counted(len(bad), 'vulnerability', 'vulnerabilities')} known"]
    if skipped:
        lines.append(f"not audited: {', '.join(one['name'] for one in skipped)}")
    return Verdict(lines, bool(bad))


def _not_asked(why: str) -> str:
    return f"dependencies were not audited: the database of vulnerabilities cannot be reached ({why[:200]})"


def _vulnerabilities(one: dict[str, Any]) -> list[str]:
    return [
        f"{one['name']} {one['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none yet'}"
        for found in one.get("vulns", ())
    ]


def audit(pinned: Path, more: Sequence[str] = ()) -> Verdict:
    """Run pip-audit over a file of pinned requirements."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(pinned), *QUIETLY, *more]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS)  # noqa: S603 - Python's own
    except subprocess.TimeoutExpired:
        return verdict("", f"no answer within {LONGEST_SECONDS} seconds")
    return verdict(done.stdout, done.stderr)


if __name__ == "__main__":
    said = audit(PINNED, sys.argv[1:])
    sys.stdout.write("\n".join([*said.lines, ""]))
    sys.exit(1 if said.is_bad else 0)
