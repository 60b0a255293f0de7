"""What the browser runs: bundled from a lock file that names no place to fetch from."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from campaigns.console import assets
from tests.ports import free_port


def test_every_library_is_pinned_by_its_digest_and_no_address() -> None:
    lock = (assets.FRONTEND / "package-lock.json").read_text()
    packages = json.loads(lock)["packages"]

    libraries = {name: package for name, package in packages.items() if name}

    assert len(libraries) > 20
    assert [name for name, package in libraries.items() if not package.get("integrity", "").startswith("sha512-")] == []
    assert "://" not in re.sub(r'"url": "[^"]*"', "", lock)


def test_direct_libraries_are_pinned_to_one_version() -> None:
    wanted = json.loads((assets.FRONTEND / "package.json").read_text())

    versions = {**wanted["dependencies"], **wanted["devDependencies"]}

    assert [name for name, version in versions.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)] == []


def test_a_bundle_that_is_up_to_date_is_left_alone() -> None:
    assets.build()
    made = {path: path.stat().st_mtime_ns for path in assets.BUILT.iterdir()}

    assets.build()

    assert {path: path.stat().st_mtime_ns for path in assets.BUILT.iterdir()} == made


def test_whoever_builds_hears_why_libraries_do_not_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An image is built behind proxies and with CAs that npm does not know."""
    for name in ("package.json", "package-lock.json"):
        (tmp_path / name).write_bytes((assets.FRONTEND / name).read_bytes())
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")

    with pytest.raises(subprocess.CalledProcessError):
        assets.install(tmp_path)

    assert "ECONNREFUSED" in capfd.readouterr().err
