"""Every answer that a view of the API gives, in whatever test, is held against docs/openapi.yaml.

A member, a status, a media type or an address that the document does not know fails the test that met it.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml
from rest_framework.renderers import JSONRenderer

DOCUMENT: dict[str, Any] = yaml.load(
    (Path(__file__).parents[1] / "docs" / "openapi.yaml").read_text(),
    Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader),  # noqa: S506 - a safe one, in C where there is that
)
NO_METHOD = (400, 401, 403, 404, 405, 413, 429)  # what may be answered to a method or address that there is not
MILLISECONDS = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"
BEGIN = "/api/v1/"


def strict(schema: Any) -> Any:
    """Give a schema of OpenAPI 3.0 as JSON Schema in which objects have no member but the documented ones."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: strict(value) if name != "example" else value for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        made.setdefault("additionalProperties", False)
    if schema.get("format") == "date-time":
        made.setdefault("pattern", MILLISECONDS)
    if made.pop("exclusiveMinimum", False) is True:
        made["exclusiveMinimum"] = made.pop("minimum")
    if made.pop("nullable", False) is True:
        return {"anyOf": [made, {"type": "null"}]}
    return made


COMPONENTS = {"schemas": strict(DOCUMENT["components"]["schemas"])}


def _pattern(path: str) -> re.Pattern[str]:
    literal = re.split(r"\{[^}]+\}", path)
    return re.compile("[^/]+".join(re.escape(part) for part in literal).rstrip("/"))  # both forms are served


# Longest literal first: campaigns/estimate/ is no campaign.
PATHS = sorted(DOCUMENT["paths"], key=lambda path: (path.count("{"), -len(path)))
PATTERNS = {path: _pattern(path) for path in PATHS}


def operation_at(method: str, address: str) -> tuple[str, dict[str, Any]] | None:
    """Give the documented path and operation of a request; None = there is none."""
    for path in PATHS:
        found = DOCUMENT["paths"][path].get(method.lower().replace("head", "get"))
        if found and PATTERNS[path].fullmatch(address.rstrip("/")):
            return path, found
    return None


@cache
def validator(schema: str) -> Any:
    """Give what checks a value against a schema, given as JSON."""
    return jsonschema_rs.validator_for({**strict(json.loads(schema)), "components": COMPONENTS})


def check_value(schema: dict[str, Any], value: Any, what: str) -> None:
    """Fail when the value is not what the schema says."""
    errors = validator(json.dumps(schema)).iter_errors(value)
    wrong = [f"{'/'.join(map(str, error.instance_path))}: {error.message[:300]}" for error in errors]
    assert not wrong, f"{what} is not as documented: {wrong[:5]}"


def documented(method: str, address: str, status: int) -> tuple[str, dict[str, Any]]:
    """Give what is said of this answer, and its name. Fail when nothing is."""
    found = operation_at(method, address)
    assert found is not None, f"{method} {address} is not documented"
    path, operation = found
    what = f"{method} {path} {status}"
    assert str(status) in operation["responses"], f"{what} is not documented"
    response = operation["responses"][str(status)]
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return what, response


def check_answer(method: str, address: str, status: int, media_type: str, content: bytes | None) -> None:
    """Hold one answer against the document; no content = it is streamed and looked at elsewhere."""
    if method == "OPTIONS" or status in (405, 500) or not address.startswith(BEGIN):
        return
    if operation_at(method, address) is None and status in NO_METHOD:
        return
    what, response = documented(method, address, status)
    if "content" not in response:
        assert not content, f"{what} has a body, none is documented"
        return
    bare = media_type.partition(";")[0]
    assert bare in response["content"], f"{what} is {bare}, documented are {list(response['content'])}"
    if content is not None and bare == "application/json":
        check_value(response["content"][bare]["schema"], json.loads(content), what)


def check_response(request: Any, response: Any) -> None:
    """Hold what a view gives against the document, before it is rendered."""
    if getattr(response, "streaming", False):
        content, media_type = None, response.headers["Content-Type"]
    elif hasattr(response, "data"):
        content = b"" if response.data is None else JSONRenderer().render(response.data)
        media_type = "application/json"
    else:
        content, media_type = response.content, response.headers["Content-Type"]
    check_answer(request.method, request.path, response.status_code, media_type, content)
