"""Tests of the audit begin without the lines of the database's own making."""

import pytest
from django.db import connection


@pytest.fixture(autouse=True)
def _empty_audit(request: pytest.FixtureRequest) -> None:
    transactional = any(mark.kwargs.get("transaction") for mark in request.node.iter_markers("django_db"))
    request.getfixturevalue("transactional_db" if transactional else "db")
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE audit_auditevent, audit_auditlink")
