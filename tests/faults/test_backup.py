"""A dump is made and restored while campaigns run, with real processes: what is not stored is asked again."""

import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults import accounts
from tests.faults.chaos import TARGETED
from tests.faults.faults import remember_loss
from tests.faults.stage import Stage, wait_for

pytestmark = [pytest.mark.processes, pytest.mark.long]


def program(stage: Stage, name: str, *arguments: str) -> None:
    """Run a program of PostgreSQL's, as docs/backup.md does."""
    command = [str(stage.postgres.programs() / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def dump(stage: Stage) -> Path:
    file = stage.folder / "fleet.dump"
    program(stage, "pg_dump", "--no-owner", "--format", "custom", "--file", str(file), stage.postgres.url)
    return file


def restore(stage: Stage, file: Path) -> None:
    """Stop everything, put the dump in the database's place, start everything."""
    with ExitStack() as held:  # else the supervisor would start them again meanwhile
        for process in stage.processes.values():
            held.enter_context(process.lock)
            process.end(signal.SIGTERM)
        program(stage, "psql", stage.postgres.url, "-c", "DROP SCHEMA public CASCADE", "-c", "CREATE SCHEMA public")
        how = ("--no-owner", "--clean", "--if-exists", "--exit-on-error")
        program(stage, "pg_restore", *how, "--dbname", stage.postgres.url, str(file))
        for process in stage.processes.values():
            process.start()
    stage.wait_until_ready()


def test_a_dump_is_restored_while_campaigns_run(stage: Stage) -> None:
    stage.crowd.think = 8.0
    going_on = [stage.launch(stage.hosts(*TARGETED)) for _ in range(2)]
    wait_for(lambda: stage.answered(going_on[0]) > 20, "the first hosts answer")

    stored = stage.sql("SELECT campaign_id, host_id, rows::text FROM campaigns_result")
    file = dump(stage)
    later = stage.launch(stage.hosts(*TARGETED))
    wait_for(lambda: stage.answered(later) > 20, "hosts answer what the dump does not know")
    remember_loss(stage)
    stage.sql("CREATE TABLE of_a_later_version (campaign bigint REFERENCES campaigns_campaign (id))")
    restore(stage, file)
    stage.wait_until_ended(going_on)

    assert accounts.check(stage, going_on) == []
    kept = stage.sql("SELECT campaign_id, host_id, rows::text FROM campaigns_result")
    assert set(stored) <= set(kept), "what was dumped stays as it was"
    assert stage.http.get(f"/api/v1/campaigns/{later}/").status_code == 404
    fresh = stage.launch(stage.hosts(*TARGETED))
    stage.wait_until_ended([fresh])
    assert fresh > 1_000_000, "no answer to a campaign that is gone can pass for one of these"
    assert accounts.check(stage, [fresh]) == []
