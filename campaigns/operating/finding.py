"""What the doctor finds: one sentence each, how bad it is, and what to do."""

from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """How bad it is; the worst one is the command's exit status."""

    WELL = 0
    WARNING = 1
    BROKEN = 2


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `advice` says what to mend, empty when nothing is."""

    about: str  # database, redis, processes, edge, machine, settings
    severity: Severity
    sentence: str
    advice: str = ""

    def as_json(self) -> dict[str, str]:
        """Give the finding as a JSON object, for programs."""
        severity = self.severity.name.lower()
        return {"about": self.about, "severity": severity, "sentence": self.sentence, "advice": self.advice}


def well(about: str, sentence: str) -> Finding:
    """Say that something is as it should be."""
    return Finding(about, Severity.WELL, sentence)


def warning(about: str, sentence: str, advice: str) -> Finding:
    """Say that something should be mended."""
    return Finding(about, Severity.WARNING, sentence, advice)


def broken(about: str, sentence: str, advice: str) -> Finding:
    """Say that something keeps the server from its work, or could lose answers."""
    return Finding(about, Severity.BROKEN, sentence, advice)
