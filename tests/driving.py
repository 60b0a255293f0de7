"""What drives programs' doors by their own description: requests that fit it and that do not, the same at every run."""

from collections.abc import Mapping
from typing import Any

import schemathesis
from hypothesis import HealthCheck
from hypothesis import settings as run_by
from schemathesis import Case
from schemathesis.generation import GenerationMode

# Methods that an address does not have are all refused by the same line.
CONFIG = schemathesis.Config.from_dict({"phases": {"coverage": {"unexpected-methods": []}}})
SAME_AT_EVERY_RUN = run_by(
    max_examples=4, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


def is_wrong(case: Case) -> bool:
    """Say whether the request is meant not to fit the document."""
    return bool(case.meta.generation.mode == GenerationMode.NEGATIVE)


def fit(case: Case, such: dict[str, Any]) -> bool:
    """Let a request be of what there is, but for what is meant to be wrong; say whether that makes another of it.

    `such` has what there is by the names of members and parameters, the operation before a name that means something
    else in others. Functions make it of the text or list that was generated; None = it is left out.
    """
    operation, told = case.operation.definition.raw["operationId"], case.meta.phase.data
    wrong: set[Any] = set()
    if is_wrong(case):
        wrong.update(f"{told.location}/{told.parameter}".split("/"), *(one.path for one in told.mutations))

    def fitting(name: str, given: Any) -> Any:
        found = [such[key] for key in (f"{operation}.{name}", name) if key in such]
        if name in wrong or given is None:
            return given
        if not found:
            return all_fitting(given) if isinstance(given, dict) else given
        if callable(found[0]):
            return found[0](given) if isinstance(given, str | list) else given
        return found if isinstance(given, list) else found[0]

    def all_fitting(given: Mapping[str, Any]) -> dict[str, Any]:
        made = {name: fitting(name, value) for name, value in given.items()}
        return {name: value for name, value in made.items() if value is not None or given[name] is None}

    is_changed = False
    for name in ("path_parameters", "query", "headers", "body"):
        given = getattr(case, name)
        if isinstance(given, Mapping):
            made = type(given)(all_fitting(given))  # another one: cases share what they are made of
            is_changed = is_changed or made != given
            setattr(case, name, made)
    return is_changed
