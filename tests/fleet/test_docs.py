"""The API's documents, the copy that is checked in, load nothing from elsewhere; what security.md names exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import call_command
from django.test import Client

from agents.board import keyspace


def test_the_openapi_document_that_is_checked_in_is_what_the_server_gives(tmp_path: Path) -> None:
    call_command("spectacular", file=str(tmp_path / "openapi.yaml"))

    checked_in = Path(__file__).parents[2] / "docs" / "openapi.yaml"
    assert (tmp_path / "openapi.yaml").read_text() == checked_in.read_text()


@pytest.mark.django_db
def test_the_docs_page_loads_nothing_from_elsewhere() -> None:
    page = Client().get("/api/docs/")

    assert page.status_code == 200
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//[^\"]*", page.content.decode())


# --- security.md -----------------------------------------------------------------------------------------------

TESTS = Path(__file__).parents[1]
SECURITY = (TESTS.parent / "docs" / "security.md").read_text()


def tables_in(heading: str) -> list[list[str]]:
    """Give the cells of every line of the tables below a heading, without their heads."""
    part = SECURITY.partition(f"## {heading}")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    heads = {number - 1 for number, line in enumerate(lines) if set(line) <= set("|- ")}
    return [line for number, line in enumerate(cells) if number not in heads and number - 1 not in heads]


@cache
def functions_of(file: str) -> set[str]:
    """Name the tests of a file, as they are written."""
    tree = ast.parse((TESTS / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_threat_is_covered_by_tests_that_exist() -> None:
    wrong = []

    for threat, _, covered in tables_in("Threats"):
        named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", covered)
        if not named or len(named) != covered.count("`") // 2:
            wrong.append(f"{threat}: {covered} names no test, or something else")
        wrong += [
            f"{threat}: there is no {file}::{name}"
            for file, name in named
            if not (TESTS / file).exists() or name not in functions_of(file)
        ]

    assert wrong == []
    assert len(tables_in("Threats")) > 40


def test_every_table_and_key_that_is_stored_is_in_the_docs() -> None:
    stored = " ".join(" ".join(line) for line in tables_in("What is stored where"))
    tables = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    documented = re.findall(r"^\| ((?!key )[a-z_]+[:*_ ,])", keyspace.__doc__ or "", re.M)

    missing = [table for table in sorted(tables) if f"`{table}`" not in stored]
    missing += [key for key in documented if f"`{key.strip(' ,*')}" not in stored]
    assert missing == []
    assert len(documented) > 30
