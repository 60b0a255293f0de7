"""How views are described in the OpenAPI document: exactly what is answered, refusals too, with an example of each.

A serializer with `example` shows that answer, and each of its members; `says` tells what members mean where their
field does not, `bounds` between which numbers they are taken where something else than the field checks that, `either`
which of them exclude each other; what it names in `sometimes` may be missing, all other members are in every answer.
Bodies take no other members.
"""

from collections.abc import Iterable
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import force_instance
from rest_framework.permissions import AllowAny

from fleet.api.described import BODY_STATUSES, BYTES, COMMON, DISPOSITION, ErrorSerializer, none_of, reference
from fleet.api.parameters import declared_by
from fleet.api.samples import samples_of


class ExactAnswers(AutoSchema):
    """The OpenAPI document names the query parameters that the view declares, and all that it answers."""

    def get_override_parameters(self) -> list[Any]:
        """Give what the action takes."""
        return [*super().get_override_parameters(), *declared_by(self.view, self.method)]

    def get_operation(self, *args: Any) -> Any:
        """Describe one, with the refusals that all of its kind have."""
        operation = super().get_operation(*args)
        if operation is None:
            return None
        self.resolve_serializer(ErrorSerializer, "response")  # `COMMON` refers to it
        responses = operation["responses"]
        for status in self._common_refusals(operation):
            responses.setdefault(str(status), reference(status))
        operation["responses"] = {status: _as_written(responses[status], status) for status in sorted(responses)}
        if "parameters" in operation:
            operation["parameters"] = [_typed(parameter, self.path) for parameter in operation["parameters"]]
        return operation

    def _common_refusals(self, operation: dict[str, Any]) -> Iterable[int]:
        yield from (400, 413, 503)  # an unknown query parameter; a body that is refused before anybody reads it
        if not any(isinstance(permission, AllowAny) for permission in self.view.get_permissions()):
            yield from (401, 403, 429)  # 403: a session that has to set up its second factor may do nothing
        if "{" in self.path:
            yield 404
        if self.method not in ("GET", "HEAD"):
            yield from BODY_STATUSES

    def _map_serializer(self, serializer: Any, direction: Any, bypass_extensions: bool = False) -> Any:
        mapped = super()._map_serializer
        schema = mapped(serializer, direction, bypass_extensions)  # type: ignore[no-untyped-call]
        instance = force_instance(serializer)  # type: ignore[no-untyped-call]
        properties, example = schema.get("properties", {}), getattr(instance, "example", {})
        _say_more(properties, instance)
        if direction == "request":
            schema["additionalProperties"] = False
            eithers, is_change = getattr(instance, "either", ()), bool(instance.partial)
            schema |= none_of([wrong for either in eithers for wrong in either.wrong(is_change=is_change)])
            for name, bounds in getattr(instance, "bounds", {}).items():
                properties[name] |= bounds
            for name, member in properties.items():
                properties[name] = _as_text(member)
        if example:
            schema["example"] = {name: value for name, value in example.items() if name in properties}
        if direction == "response" and properties:
            always = sorted(set(properties) - set(getattr(instance, "sometimes", ())))
            schema.pop("required", None)
            schema |= {"required": always} if always else {}
        return schema


NO_NUL = r"^[^\u0000]*$"  # no text has one: PostgreSQL takes none
NOT_BLANK = r"^\s*[^\s\u0000][^\u0000]*$"  # outer blanks are taken away before its length is looked at


def _as_text(schema: dict[str, Any]) -> dict[str, Any]:
    """Say of a free text, or a list of such, which letters it may have."""
    if schema.get("type") == "array" and "type" in schema["items"]:
        items = {name: said for name, said in schema["items"].items() if name != "nullable"}  # no list holds nothings
        return {**schema, "items": _as_text(items)}
    if schema.get("type") != "string" or not schema.keys().isdisjoint(("enum", "format", "pattern")):
        return schema
    return {**schema, "pattern": NOT_BLANK if schema.get("minLength") else NO_NUL}


def _say_more(properties: dict[str, Any], serializer: Any) -> None:
    """Add what a serializer says of its members beside their types: sentences, examples, and which may be null."""
    for name, sentence in getattr(serializer, "says", {}).items():
        if name in properties:
            _describe(properties, name, sentence)
    for name, value in {**getattr(serializer, "shows", {}), **getattr(serializer, "example", {})}.items():
        if name in properties and "$ref" not in properties[name]:
            properties[name]["example"] = value
    for name in getattr(serializer, "nullable", ()):
        properties[name]["nullable"] = True


def _describe(properties: dict[str, Any], name: str, sentence: str) -> None:
    """Say what a member means, before the list of its choices if it has one."""
    known = properties[name].get("description", "")
    if not known or known.startswith("* "):
        described = {"description": f"{sentence}\n\n{known}".strip()}
        own = {"allOf": [properties[name]]} if "$ref" in properties[name] else properties[name]
        properties[name] = {**own, **described}


EXAMPLES = {"seq": 41, "place": 1, "view": 2, "key": "WyJwb3J0Il0.5f2c", "with": 11}


def _typed(parameter: dict[str, Any], path: str) -> dict[str, Any]:
    """Give a parameter with an example, and one of the path as the number that its pattern makes it."""
    schema, name = dict(parameter["schema"]), parameter["name"]
    if parameter["in"] == "path" and schema.get("pattern", "").startswith(("^[0-9]", "^\\d")):
        schema = {"type": "integer", "minimum": 1}
    if parameter["in"] == "query":
        schema = _as_text(schema)
    if parameter["in"] == "path" or parameter.get("required"):
        schema["example"] = EXAMPLES.get(name, 12)
        if schema["type"] == "array":
            schema["example"] = ["12", "web-02.example"]
    before = path.split(f"{{{name}}}")[0].rstrip("/").rpartition("/")[2].replace("-", " ")
    known = parameter.get("description") or f"which of the {before}" * (parameter["in"] == "path")
    return {**parameter, "schema": schema, **({"description": known} if known else {})}


SENTENCES = {
    "200": "What was asked for.",
    "201": "It was made.",
    "202": "It was taken up, and is done soon.",
    "204": "It is gone; there is no body.",
}


def _as_written(response: dict[str, Any], status: str) -> dict[str, Any]:
    """Give a reference as one, since it was taken for a schema; let every other answer say what it is."""
    schema: dict[str, Any] = next((content["schema"] for content in response.get("content", {}).values()), {})
    if schema.get("$ref", "").startswith("#/components/responses/"):
        return dict(schema)
    if response.get("description") or "$ref" in response:
        return response
    return {**response, "description": SENTENCES[status]}


def complete(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add what refusals look like, and the headers of files."""
    result["components"]["responses"] = {
        name: {
            "description": description,
            **({"headers": headers} if headers else {}),
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
        for name, description, headers in COMMON.values()
    }
    schemas = result["components"]["schemas"]
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            operation["x-codeSamples"] = samples_of(path, method, operation, schemas)
            for response in operation["responses"].values():
                if BYTES in response.get("content", {}) or "text/csv" in response.get("content", {}):
                    response["headers"] = DISPOSITION
    return result
