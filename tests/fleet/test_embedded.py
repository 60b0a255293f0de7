"""The servers of `make demo` and `make test`: what they write is theirs alone, a broken-off start is no obstacle."""

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from fleet.embedded import EmbeddedPostgres, EmbeddedRedis, secret_file
from tests.servers import open_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder that PostgreSQL's user can enter, and remove it."""
    made = open_folder()
    yield made
    shutil.rmtree(made)


def open_to_others(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077]


def test_postgres_writes_rows_into_no_log_and_its_log_is_its_owners(folder: Path) -> None:
    postgres = EmbeddedPostgres(folder / "postgres", durable=False)
    (folder / "postgres").mkdir()
    postgres.log.touch(mode=0o644)
    postgres.start()
    try:
        with psycopg2.connect(postgres.url) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE answers (rows text NOT NULL, number int CHECK (number < 9))")
            with pytest.raises(psycopg2.errors.CheckViolation):
                cursor.execute("INSERT INTO answers VALUES ('row of a host', 9)")
        connection.close()
    finally:
        postgres.stop()

    assert 'violates check constraint "answers_number_check"' in postgres.log.read_text()
    assert "row of a host" not in postgres.log.read_text()
    assert open_to_others(folder) == []


def test_redis_keeps_its_files_to_itself(folder: Path) -> None:
    redis = EmbeddedRedis(folder / "redis")
    redis.start()
    redis.stop()

    assert {path.name for path in (folder / "redis").iterdir()} >= {"appendonly.aof", "redis.log", "redis.conf"}
    assert open_to_others(folder) == []


def test_a_secret_whose_writing_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "secret").touch()

    made = secret_file(tmp_path / "secret")

    assert len(made) > 20
    assert secret_file(tmp_path / "secret") == made
