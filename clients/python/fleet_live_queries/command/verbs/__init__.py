"""The words after `live`: each module here that has a NAME is one. `ask`, which has none, is what other words are."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any


def found() -> dict[str, Any]:
    """Give the verbs by their names."""
    modules: list[Any] = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    return {module.NAME: module for module in modules if hasattr(module, "NAME")}
