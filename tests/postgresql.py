"""PostgreSQL's own programs, run on the tests' database."""

import os
import subprocess

from django.db import connection

from fleet.embedded.postgres import EmbeddedPostgres


def run(program: str, *arguments: str, sql: str = "") -> str:
    """Run psql, pg_dump or another on the database that Django is connected to; give what it wrote."""
    place = connection.settings_dict
    environment = {"PGHOST": place["HOST"], "PGUSER": place["USER"], "PGPASSWORD": place["PASSWORD"]}
    environment |= {"PGPORT": str(place["PORT"] or 5432), "PGDATABASE": place["NAME"]}
    command = [str(EmbeddedPostgres.programs() / program), *arguments]
    done = subprocess.run(command, input=sql, capture_output=True, text=True, env=os.environ | environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
