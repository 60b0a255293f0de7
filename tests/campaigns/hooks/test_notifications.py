"""Notifications of people through Apprise, in a process of its own that reaches no network within."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from campaigns.hooks import keeping, notifying
from campaigns.hooks.models import Delivery, Hook
from fleet.errors import BadInputError
from tests.campaigns.hooks.receiver import Receiver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]


@pytest.fixture
def address(there: Receiver, settings: Any) -> str:
    settings.NOTIFICATION_SERVICES = ["json"]
    return f"json://127.0.0.1:{there.server_port}/"


def test_a_person_is_notified_in_words_and_the_service_reaches_no_network_within(
    address: str, owner: User, deliver: Callable[[], None], there: Receiver, settings: Any
) -> None:
    hook = keeping.make(Hook(name="me", kind=Hook.Kind.NOTIFICATION, address=address), owner)
    keeping.test(hook, owner)
    deliver()
    settings.HOOKS_ALLOWED_NETWORKS = []
    refused = keeping.test(hook, owner)
    deliver()

    assert len(there.came) == 1
    told = json.loads(there.came[0][1])
    assert told["message"] == f"{owner.username} tries the hook me"
    assert told["title"] == "Fleet Live Queries: hook.test"
    assert Delivery.objects.exclude(pk=refused.pk).get().state == Delivery.State.DELIVERED
    refused.refresh_from_db()
    assert refused.state == Delivery.State.WAITING
    assert refused.error != ""
    assert hook.address_shown == "json://…"


@pytest.mark.parametrize(
    ("service", "sentence"),
    [
        ("json://[x", "address is none"),
        ("syslog://", "names the service 'syslog', allowed are json"),
        ("json://", "none that Apprise can read"),
    ],
)
def test_a_service_that_is_not_allowed_or_cannot_be_read_is_refused(
    address: str, owner: User, service: str, sentence: str
) -> None:
    with pytest.raises(BadInputError, match=sentence):
        keeping.make(Hook(name="me", kind=Hook.Kind.NOTIFICATION, address=service), owner)


def test_no_file_of_this_machine_is_read_for_a_message(settings: Any, tmp_path: Path) -> None:
    settings.NOTIFICATION_SERVICES = ["discord"]
    template = tmp_path / "secrets.json"
    template.write_text('{"content": "a secret of this machine"}')

    outcome = notifying.notify(f"discord://123456789012345678/abcdefghijklmnop?template={template}", "x", "y")

    assert outcome.status is None
    assert "could not be read" in outcome.error
    assert not outcome.error[0].isdecimal()  # as lines of a log begin
    assert "WARNING" not in outcome.error


def test_without_the_extra_a_sentence_says_what_to_install(
    address: str, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)

    with pytest.raises(BadInputError, match=r"pip install -r requirements-extra.txt"):
        keeping.make(Hook(name="me", kind=Hook.Kind.NOTIFICATION, address=address), owner)
    assert notifying.notify(address, "x", "y").error == notifying.MISSING
