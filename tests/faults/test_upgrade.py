"""An upgrade as docs/operations.md has it, with hosts answering: from an earlier commit to this tree, part by part."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import accounts
from tests.faults.chaos import CROWD, TARGETED
from tests.faults.stage import ROOT, Stage, wait_for
from tests.servers import open_folder

pytestmark = [pytest.mark.processes, pytest.mark.long]
EARLIER = "a99d26d4477d"  # what is migrated and sent from then on, it must understand


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the source tree of the earlier version."""
    folder = tmp_path_factory.mktemp("earlier")
    archive = subprocess.run(["git", "archive", EARLIER], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"commit {EARLIER} is not in this clone, which is shallow: git fetch --unshallow")
    subprocess.run(["tar", "x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


@pytest.fixture(scope="module")
def stage(earlier: Path) -> Iterator[Stage]:
    """Give an installation of the earlier version."""
    made = Stage(open_folder())
    try:
        made.start(earlier)
        made.join(CROWD)
        yield made
    finally:
        made.stop()


def test_versions_work_side_by_side_for_the_length_of_a_deploy(stage: Stage) -> None:
    errors = stage.crowd.ledger.errors.copy()
    stage.crowd.think = 3.0
    campaigns = [stage.launch(stage.hosts(*TARGETED))]

    environment = stage.processes["console"].environment
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True)
    for name in (
        "gateway-1",
        "gateway-2",
        "collector-1",
        "worker",
        "sweeper",
        "messenger",
        "beat",
        "collector-2",
        "console",
    ):
        campaigns.append(stage.launch(stage.hosts(*TARGETED)))
        wait_for(lambda: stage.answered(campaigns[-1]) > 20, f"hosts answer before {name} is new")
        stage.processes[name].tree = ROOT
        stage.restart(name)
    campaigns.append(stage.launch(stage.hosts(*TARGETED)))
    stage.wait_until_ended(campaigns)

    assert accounts.check(stage, campaigns) == []
    assert stage.crowd.ledger.errors - errors == {}
    assert accounts.tracebacks(stage, {}) == []
