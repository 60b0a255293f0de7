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

    asked = {ENDINGS.sub("", name) for expression in expressions() for name in FUNCTIONS.findall(expression)}

    assert len(asked) > 15
    assert asked - known == set()


def test_every_alert_says_what_is_the_matter_and_what_to_do() -> None:
    operations = (DOCS / "operations.md").read_text()

    for rule in rules():
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert f"`{rule['alert']}`" in operations, f"docs/operations.md does not say what to do for {rule['alert']}"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here (Debian: prometheus)")
def test_promtool_takes_the_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(DOCS / "alerts.yml")], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
