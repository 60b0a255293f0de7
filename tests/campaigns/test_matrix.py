"""Who may what, by every door: each address of the resolver and each socket is in `matrix.csv`, and is as it says.

The parts of the table that take long have files of their own (`test_matrix_of_…`).
"""

import re

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.test import Client
from django.utils.http import urlencode

from campaigns.models import Campaign
from campaigns.watching.consumers import ENDED, NO_SUCH_CAMPAIGN, NOT_ALLOWED, NOT_SIGNED_IN
from campaigns.watching.socket_urls import websocket_urlpatterns
from fleet.asgi import console
from fleet.audit.models import AuditEvent
from tests.campaigns.matrix import (
    BODIES,
    OTHER_SECRET,
    PEOPLE,
    SECRET,
    SOCKET,
    Ones,
    World,
    every_line,
    lines,
    shape,
)
from tests.factories import end
from tests.fleet.test_every_address import ALL

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board", "carves_folder")]


def test_every_address_is_in_the_table() -> None:
    known = {(line["method"], shape(line["address"])) for line in lines()}
    missing = []

    for address in ALL:
        path, actions = address.at(), getattr(address.view, "actions", None) or {}
        if not any(path == known_path for _, known_path in known):
            missing.append(path)
        missing += [f"{name} {path}" for name in actions if name != "head" and (name.upper(), path) not in known]

    assert sorted(missing) == []


def test_no_form_is_taken_without_its_sessions_token(world: World) -> None:
    """As a page of another site would send it: with the cookie, and without what only our pages know."""
    browser = Client(enforce_csrf_checks=True, raise_request_exception=False)
    browser.force_login(world.users["administrator"])
    done, taken = AuditEvent.objects.exclude(action="request.refused"), []
    before = done.count()

    for line in lines():
        if line["method"] == "GET" or line["administrator"] != "y" or line["address"] in ("/livez", "/readyz"):
            continue
        body = urlencode(world.filled(BODIES.get(f"{line['method']} {line['address']}") or {}), doseq=True)
        address = line["address"].format_map(Ones(world.names))
        told = browser.generic(line["method"], address, body, "application/x-www-form-urlencoded")
        if told.status_code not in (403, 415):  # the API takes no form at all
            taken.append(f"{line['method']} {line['address']} {told.status_code}")

    assert taken == []
    assert done.count() == before


# --- sockets ---------------------------------------------------------------------------------------------------

OF_CLOSE = {NOT_SIGNED_IN: "l", NOT_ALLOWED: "n", NO_SUCH_CAMPAIGN: "-", ENDED: "y"}


def test_every_address_of_sockets_is_in_the_table() -> None:
    known = {line["address"] for line in every_line() if line["method"] == SOCKET}
    routes = [str(pattern.pattern) for pattern in websocket_urlpatterns]

    assert routes[-1] == ""  # whatever else there is: no such socket
    missing = {route for route in routes[:-1] if f"/{re.sub(r'<[^>]+>', '{campaign}', route)}" not in known}
    assert missing == set()


async def watched_by(world: World, name: str, address: str) -> tuple[str, str]:
    """Open a socket and read it to its end; give the verdict, and all that was told."""
    path = address.format_map(Ones(world.names))
    scope = {"type": "websocket", "path": path, "query_string": b"after=0", "subprotocols": []}
    socket = ApplicationCommunicator(console, {**scope, "headers": world.head_of(name)})
    await socket.send_input({"type": "websocket.connect"})
    told, message = "", await socket.receive_output(timeout=90)
    while message["type"] != "websocket.close":
        message = await socket.receive_output(timeout=90)
        told += message.get("text", "")
    await socket.send_input({"type": "websocket.disconnect", "code": message["code"]})
    await socket.wait(timeout=90)
    return OF_CLOSE.get(message["code"], str(message["code"])), told


@pytest.mark.django_db(transaction=True)
async def test_each_person_watches_what_the_table_says_and_no_byte_of_hosts_outside_of_his_scope(world: World) -> None:
    wrong, told_too_much, read = [], [], ""
    for campaign in ("campaign", "alone"):
        await sync_to_async(lambda pk: end(Campaign.objects.get(pk=pk)))(world.names[campaign])

    for line in (line for line in every_line() if line["method"] == SOCKET):
        for name in PEOPLE:
            found, told = await watched_by(world, name, line["address"])
            if found != line[name]:
                wrong.append(f"{name}: {line['address']}: {found}, not {line[name]}")
            if name.startswith("scoped") and (SECRET in told or OTHER_SECRET in told):
                told_too_much.append(f"{name}: {line['address']}")
            read += told if name == "administrator" else ""

    assert told_too_much == []
    assert wrong == []
    assert OTHER_SECRET in read  # those who may see it are told
