"""Where settings come from: the environment of the process, or files that it names.

NAME_FILE names a file that holds NAME, as container engines hand out secrets: what is in the environment can be read by
whoever may look at the process or the container.
"""

import math
import os
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

TRUE, FALSE = environ.Env.BOOLEAN_TRUE_STRINGS, ("false", "off", "n", "no", "0", "")
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
    """The library, but for what it takes silently (`ture` as false, `10s` as 10) or tells in a traceback."""

    ENVIRON = _Variables()

    def get_value(self, var: str, *how: Any, **named: Any) -> Any:
        """Read a variable. One that begins with $ is a value like any other, and names no second variable."""
        if (given := self.ENVIRON.get(var, "")).startswith("$"):
            return self.parse_value(given, how[0] if how else named.get("cast"))
        return super().get_value(var, *how, **named)

    def int(self, var: str, default: Any = environ.Env.NOTSET) -> Any:
        """Read a whole number. Raise ImproperlyConfigured for anything else."""
        return self._read(var, int, default, "no whole number")

    def float(self, var: str, default: Any = environ.Env.NOTSET) -> Any:
        """Read a number. Raise ImproperlyConfigured for anything else."""
        return self._read(var, _number, default, "no number")

    def bool(self, var: str, default: Any = environ.Env.NOTSET) -> Any:
        """Read a truth value; an empty one is false. Raise ImproperlyConfigured for anything else."""
        return self._read(var, _truth, default, "neither true nor false")

    def dict(self, var: str, cast: Any = dict, default: Any = environ.Env.NOTSET) -> Any:
        """Read pairs. Raise ImproperlyConfigured for anything else."""
        return self._read(var, cast, default, "no list like name=1;other=2")

    def pairs(self, var: str) -> list[tuple[str, str]]:
        """Read names and what each means; one may mean several, and hold = itself. Raise ImproperlyConfigured."""
        given = [part.rpartition("=") for part in str(self.str(var, default="")).split(";") if part.strip()]
        found = [(name.strip(), meant.strip()) for name, _, meant in given]
        if not all(map(all, found)):
            raise ImproperlyConfigured(f"{var} {self.ENVIRON[var]!r} is no list like name=one;other=two")
        return found

    def choice(self, var: str, allowed: Sequence[str], default: str) -> str:
        """Read one of these words. Raise ImproperlyConfigured for anything else."""
        given: str = self.str(var, default=default)
        if given not in allowed:
            raise ImproperlyConfigured(f"{var} {given!r} is unknown: {', '.join(allowed)} are allowed")
        return given

    def place(self, var: str, default: Any = environ.Env.NOTSET) -> str:
        """Read a URL or a path; "" = none. Raise ImproperlyConfigured for what no URL is, without what lets in."""
        given = str(self.str(var, default=default))
        try:
            urlsplit(given).port  # noqa: B018  # it is read where it is asked for
        except ValueError as error:
            raise ImproperlyConfigured(f"{var} …{given.rpartition('@')[2]!r} is no address: {error}") from error
        return given

    def json(self, var: str, default: Any = environ.Env.NOTSET) -> Any:
        """Read JSON. Raise ImproperlyConfigured for anything else, without the value, which may hold secrets."""
        try:
            return super().json(var, default=default)
        except ValueError as error:
            raise ImproperlyConfigured(f"{var} is no JSON: {error}") from error

    def _read(self, var: str, cast: Any, default: Any, wrong: str) -> Any:
        try:
            return self.get_value(var, cast=cast, default=default)
        except (ValueError, IndexError) as error:
            raise ImproperlyConfigured(f"{var} {self.ENVIRON[var]!r} is {wrong}") from error


def _number(value: str) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _truth(value: str) -> bool:
    word = value.strip().lower()
    if word not in (*TRUE, *FALSE):
        raise ValueError(value)
    return word in TRUE


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
