"""What the browser runs: bundled from a lock file that names no place to fetch from."""

import json
import re

from campaigns.console import assets


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
