"""The API's documents: the copy that is checked in, and pages that load nothing from elsewhere."""

import re
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import Client


def test_the_openapi_document_that_is_checked_in_is_what_the_server_gives(tmp_path: Path) -> None:
    call_command("spectacular", file=str(tmp_path / "openapi.yaml"))

    checked_in = Path(__file__).parents[2] / "docs" / "openapi.yaml"
    assert (tmp_path / "openapi.yaml").read_text() == checked_in.read_text()


@pytest.mark.django_db
def test_the_docs_page_loads_nothing_from_elsewhere() -> None:
    page = Client().get("/api/docs/")

    assert page.status_code == 200
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//[^\"]*", page.content.decode())
