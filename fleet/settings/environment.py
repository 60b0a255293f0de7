"""Where settings come from: the environment of the process, or files that it names.

NAME_FILE names a file that holds NAME, as container engines hand out secrets: what is in the environment can be read by
whoever may look at the process or the container.
"""

import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from urllib.parse import quote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parents[2]


class _Variables(MutableMapping[str, str]):
    """The environment, where a variable may also be what is in the file that its `…_FILE` names."""

    def __getitem__(self, name: str) -> str:
        """Give the value. Raise ImproperlyConfigured when its file cannot be read, or there are two of it."""
        path = os.environ.get(f"{name}_FILE")
        if not path:
            return os.environ[name]
        if os.environ.get(name):
            raise ImproperlyConfigured(f"{name} and {name}_FILE are both set: one of them has to go")
        try:
            return Path(path).read_text().rstrip("\r\n")  # the end that editors and `echo` leave is not meant
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
            raise ImproperlyConfigured(f"{name}_FILE names {path}, which cannot be read: {reason}") from error

    def __setitem__(self, name: str, value: str) -> None:
        """Set the variable."""
        os.environ[name] = value

    def __delitem__(self, name: str) -> None:
        """Unset the variable."""
        del os.environ[name]

    def __iter__(self) -> Iterator[str]:
        """Give the names of all variables that are set."""
        return iter(os.environ)

    def __len__(self) -> int:
        """Say how many there are."""
        return len(os.environ)


class _Environment(environ.Env):  # type: ignore[misc]  # the library has no types
    ENVIRON = _Variables()


env = _Environment()


def address(name: str, password: str, default: str) -> str:
    """Read an address; the variable named by `password` is put into it, so that the secret can be a file of its own."""
    given, secret = env.str(name, default=default), env.str(password, default="")
    if not secret:
        return str(given)
    parts = urlsplit(given)
    if parts.password:
        raise ImproperlyConfigured(f"{name} has a password, and {password} is set: one of them has to go")
    place: str = parts.netloc.rpartition("@")[2]
    return str(parts._replace(netloc=f"{parts.username or ''}:{quote(secret, safe='')}@{place}").geturl())
