"""The gateways' own role in PostgreSQL: docker/gateway-role.sql gives what enrollment and carves need, and no more."""

import base64
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import ProgrammingError, connection
from django.test import Client

from agents.board.health import health
from agents.carving.models import Carve
from agents.enrolling import config_document
from agents.inventory import installation
from agents.models import EnrollSecret, Host
from tests.conftest import key_of
from tests.factories import make_campaign, make_host, make_label
from tests.postgresql import run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
SECRET = "long enough to be a secret"


@pytest.fixture
def as_gateway() -> Iterator[None]:
    """Speak to PostgreSQL as the gateways do."""
    role = str(settings.BASE_DIR / "docker/gateway-role.sql")
    with Path(role).open() as lock:  # roles are of all databases together
        fcntl.flock(lock, fcntl.LOCK_EX)
        for _ in range(2):
            run("psql", "-v", "ON_ERROR_STOP=1", "-v", "password=it's long", "-f", role)
    yield
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")


def become_gateway() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE fleet_gateway")


def post(verb: str, **body: Any) -> Any:
    answer = Client().post(f"/api/osquery/{verb}", json.dumps(body), content_type="application/json")
    assert answer.status_code == 200
    return answer.json()


@pytest.mark.usefixtures("as_gateway")
def test_enrollment_and_config_work(settings: Any) -> None:
    secret = EnrollSecret.objects.offer("all", SECRET)
    secret.quota = 5
    secret.save()
    secret.labels.add(make_label("laptops"))
    installation.here()  # is named by who writes the board
    become_gateway()

    for platform in ("9", "16", "9"):
        assert "node_key" in post("enroll", enroll_secret=SECRET, host_identifier="U-1", platform_type=platform)
    assert "is wrong" in post("enroll", enroll_secret="no", host_identifier="U-1")["error"]
    assert {label.name for label in Host.objects.get().labels.all()} == {"laptops", "Linux"}
    assert config_document.current() == {}
    assert not [trouble for trouble in health().troubles if "PostgreSQL" in trouble]


@pytest.mark.usefixtures("as_gateway")
def test_carves_work_with_the_role_of_gateways(settings: Any, tmp_path: Any) -> None:
    host, content = make_host(), b"content of a carve"
    make_campaign(host, sql="SELECT * FROM carves WHERE carve = 1 AND path = '/etc/hosts'")
    become_gateway()

    begun = post(
        "carve/begin",
        node_key=key_of(host),
        carve_id="5d1ae1a8-5c7c-4d2b-8e9f-0a1b2c3d4e5f",
        request_id="r",
        block_count=1,
        block_size=1024,
        carve_size=len(content),
    )
    data = base64.b64encode(content).decode()
    assert post("carve/block", session_id=begun["session_id"], block_id=0, request_id="r", data=data) == {}

    assert Carve.objects.values_list("completed_at", flat=True).get() is not None


@pytest.mark.usefixtures("as_gateway")
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM campaigns_result",
        "SELECT * FROM campaigns_campaign",
        "SELECT error FROM campaigns_target",
        "SELECT * FROM auth_user",
        "SELECT * FROM django_session",
        "SELECT * FROM campaigns_apitoken",
        "UPDATE campaigns_campaign SET status = 'stopped'",
        "UPDATE agents_enrollsecret SET digest = ''",
        "INSERT INTO agents_enrollsecret (name, digest, created_at) VALUES ('mine', 'x', now())",
        "UPDATE agents_configdocument SET document = '{}'",
        "UPDATE agents_installation SET name = 'x'",
        "DELETE FROM agents_host",
        "DELETE FROM agents_carve",
        "CREATE TABLE mine (id int)",
    ],
)
def test_the_role_of_gateways_lets_do_nothing_else(statement: str) -> None:
    become_gateway()

    with pytest.raises(ProgrammingError, match="permission denied"), connection.cursor() as cursor:
        cursor.execute(statement)
