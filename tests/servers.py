"""A pytest plugin, loaded before Django's: real PostgreSQL and Redis for the run, unless their addresses are given.

The first process starts them; xdist's workers inherit the addresses, each with a Redis database of its own.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from fleet.embedded.postgres import EmbeddedPostgres
from fleet.embedded.redis import EmbeddedRedis

_started: list[EmbeddedPostgres | EmbeddedRedis] = []
_folders: list[Path] = []
_worker = os.environ.get("PYTEST_XDIST_WORKER", "")


def open_folder() -> Path:
    """Make a temporary folder that root's PostgreSQL, which runs as another user, can enter."""
    folder = Path(tempfile.mkdtemp(prefix="flq-tests-"))
    folder.chmod(0o711)
    _folders.append(folder)
    return folder


def _start_servers() -> None:
    folder = open_folder()
    if "DATABASE_URL" not in os.environ:
        postgres = EmbeddedPostgres(folder / "postgres", durable=False)
        postgres.start()
        _started.append(postgres)
        os.environ["DATABASE_URL"] = postgres.superuser_url
    if "REDIS_URL" not in os.environ:
        redis = EmbeddedRedis(folder / "redis")
        redis.start()
        _started.append(redis)
        os.environ["REDIS_URL"] = redis.url


def _use_own_redis_database() -> None:
    number = int(_worker.removeprefix("gw")) + 1
    address, _, _ = os.environ["REDIS_URL"].partition("?")
    if address.startswith("unix:"):
        os.environ["REDIS_URL"] = f"{address}?db={number}"
    else:
        os.environ["REDIS_URL"] = f"{address.rstrip('0123456789').rstrip('/')}/{number}"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what was started here."""
    while _started:
        _started.pop().stop()
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)


# Processes that tests start find our modules compiled: half a second of each.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("SECRET_KEY", "only-for-tests-" + "x" * 50)
os.environ.setdefault("NODE_KEY_SECRETS", "only-for-tests")
os.environ.setdefault("ALLOWED_HOSTS", "localhost,127.0.0.1,testserver")
os.environ.setdefault("SECURE_COOKIES", "false")
os.environ.setdefault("LOG_LEVEL", "WARNING")
# Copies of answers are named by campaigns' numbers, and each worker has a database with its own campaign 1.
os.environ["ANALYSIS_DIR"] = str(open_folder() / "analysis")
if _worker:
    _use_own_redis_database()
else:
    _start_servers()
