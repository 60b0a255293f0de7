"""The dashboard and the alert rules speak of figures that exist, and every alert is explained."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from campaigns.operating import figures
from fleet import metrics
from tests.agents.wire.conftest import Wire

DOCS = Path(__file__).parents[3] / "docs"
FUNCTIONS = re.compile(r"\b(fleet_[a-z_]+)\b")
ENDINGS = re.compile(r"_(bucket|sum|count|total)$")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> list[str]:
    panels = json.loads((DOCS / "grafana.json").read_text())["panels"]
    shown = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return [*shown, *(rule["expr"] for rule in rules())]


@pytest.mark.django_db
def test_dashboard_and_alerts_name_figures_that_exist(wire: Wire) -> None:
    told = {line.split()[2] for line in metrics.text(figures.House()).decode().split("\n") if line.startswith("# TYPE")}
    known = {ENDINGS.sub("", name) for name in told}

    named = FUNCTIONS.findall((DOCS / "operations.md").read_text())
    asked = {ENDINGS.sub("", name) for expression in expressions() for name in FUNCTIONS.findall(expression)}
    asked |= {ENDINGS.sub("", name) for name in named} - {"fleet_gateway"}  # which is a role of PostgreSQL

    assert len(asked) > 15
    assert asked - known == set()


def test_every_alert_says_what_is_the_matter_and_what_to_do() -> None:
    operations = (DOCS / "operations.md").read_text()

    for rule in rules():
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert f"`{rule['alert']}`" in operations, f"docs/operations.md does not say what to do for {rule['alert']}"


def test_the_events_that_operations_name_are_logged() -> None:
    section = (DOCS / "operations.md").read_text().partition("## Logs")[2].partition("\n## ")[0]
    events = {event for line in section.splitlines() if line.startswith("| ") for event in re.findall(r"`(.*?)`", line)}
    sources = [file.read_text() for room in ("agents", "campaigns") for file in (DOCS.parent / room).rglob("*.py")]
    logged = set(re.findall(r"logger\.\w+\(\s*f?\"([^\"]*?)\s*\b\w+=%", "\n".join(sources)))

    assert len(events) > 12
    assert events - logged == set()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here (Debian: prometheus)")
def test_promtool_takes_the_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(DOCS / "alerts.yml")], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
