"""How to call each operation with curl, Python and JavaScript, for the readable docs: made of the document itself."""

import json
import shlex
from typing import Any
from urllib.parse import quote, urlencode

PYTHON = """import os

import httpx

answer = httpx.request(
    "{method}",
    os.environ["FLEET"] + "{address}",
    headers={headers},{content}
    timeout=90,
)
answer.raise_for_status()
{shown}
"""
JAVASCRIPT = """const answer = await fetch(process.env.FLEET + "{address}", {{
  method: "{method}",
  headers: {{ {headers} }},{content}
}});
if (!answer.ok) throw new Error((await answer.json()).error);
{shown}
"""


def samples_of(path: str, method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> list[dict[str, str]]:
    """Give the examples of one operation. FLEET is the server's origin, TOKEN a token of its API."""
    address = _address(path, operation.get("parameters", []))
    body, method = _body(operation, schemas), method.upper()
    kept = _kept_as(path, operation)
    sources = {
        "curl": _curl(method, address, body, kept),
        "Python": _python(method, address, body, kept),
        "JavaScript": _javascript(method, address, body, kept),
    }
    words = {"curl": "Shell", "Python": "Python", "JavaScript": "JavaScript"}
    return [{"lang": words[label], "label": label, "source": source} for label, source in sources.items()]


def _address(path: str, parameters: list[dict[str, Any]]) -> str:
    for parameter in parameters:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(str(parameter["schema"]["example"]), safe=""))
    needed = {
        one["name"]: one["schema"]["example"] for one in parameters if one["in"] == "query" and one.get("required")
    }
    return f"{path}?{urlencode(needed, doseq=True)}" if needed else path


def _body(operation: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Give an example of the body; None = it takes none."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    return schemas[content["schema"]["$ref"].rpartition("/")[2]].get("example", {})


def _kept_as(path: str, operation: dict[str, Any]) -> str:
    """Give the name of the file that is answered, "" = there is none, and "-" = there is no content at all."""
    if "204" in operation["responses"]:
        return "-"
    has_file = any("application/json" not in one.get("content", {"application/json": 0}) for one in _answers(operation))
    return path.rpartition("/")[2] if has_file else ""


def _answers(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return [response for status, response in operation["responses"].items() if status.startswith("2")]


def _curl(method: str, address: str, body: Any, kept: str) -> str:
    lines = [f'curl --fail-with-body -X {method} "$FLEET{address}"', '-H "Authorization: Bearer $TOKEN"']
    if body is not None:
        lines += ['-H "Content-Type: application/json"', f"-d {shlex.quote(json.dumps(body, ensure_ascii=False))}"]
    if kept not in ("", "-"):
        lines.append(f"-o {kept}")
    return " \\\n  ".join(lines)


def _python(method: str, address: str, body: Any, kept: str) -> str:
    shown = "print(answer.json())"
    if kept:
        shown = "print(answer.status_code)" if kept == "-" else f'open("{kept}", "wb").write(answer.content)'
    return PYTHON.format(
        method=method,
        address=address,
        headers='{"Authorization": "Bearer " + os.environ["TOKEN"]}',
        content="" if body is None else f"\n    json={body!r},",
        shown=shown,
    ).rstrip()


def _javascript(method: str, address: str, body: Any, kept: str) -> str:
    headers = "Authorization: `Bearer ${process.env.TOKEN}`"
    shown = "console.log(await answer.json());"
    if kept:
        shown = "console.log(answer.status);" if kept == "-" else "const content = await answer.arrayBuffer();"
    return JAVASCRIPT.format(
        method=method,
        address=address,
        headers=headers if body is None else f'{headers}, "Content-Type": "application/json"',
        content="" if body is None else f"\n  body: JSON.stringify({json.dumps(body, ensure_ascii=False)}),",
        shown=shown,
    ).rstrip()
