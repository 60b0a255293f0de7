"""The agents' endpoints for carves, which need Postgres and the storage.

What an agent does next depends on more than `error` here (protocol notes 6.2, 6.3). A begin without a session fails
the carve at once, so what is refused is JSON. A block is taken for accepted whenever the answer is JSON, whatever it
says, so a refusal is a sentence that is none: the agent tries twice more and gives the carve up. Trouble that may
pass is such a sentence for both (`agents.gateway.django_bridge`).
"""

import logging
from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from agents.carving import carves
from agents.carving.carves import CarveRefusedError, Start
from agents.carving.models import Carve
from agents.inventory import installation
from agents.models import Host
from agents.protocol.messages import members_of, node_key_of, refusal, value_of
from agents.protocol.node_key import NodeKeys
from fleet.once import Once

logger = logging.getLogger(__name__)
refused = Once()


@cache
def _keys() -> NodeKeys:
    return NodeKeys(settings.NODE_KEY_SECRETS)


@csrf_exempt
@require_POST
def begin_carve(request: HttpRequest) -> JsonResponse:
    """Give a session to send blocks in, or an `error`."""
    body, key = _body(request)
    host = _host_of(key)
    if host is None:
        return JsonResponse({"node_invalid": True})
    try:
        return JsonResponse({"session_id": carves.begin(host, Start.read(body))})
    except CarveRefusedError as error:
        if refused.is_due(("begin", host.pk)):
            logger.warning("carve refused host=%s reason=%s", host.pk, error)
        return JsonResponse({"error": str(error)})


@csrf_exempt
@require_POST
def take_block(request: HttpRequest) -> HttpResponse:
    """Store a block of an open session. Agents before 5.23 send no key with it."""
    body, key = _body(request)
    carve = None
    try:
        carve = _carve_of(body.get("session_id"), key)
        carves.take(carve, body)
    except CarveRefusedError as error:
        if carve is not None and refused.is_due(("block", carve.pk)):  # strangers may send anything
            logger.warning("block refused carve=%s host=%s reason=%s", carve.pk, carve.host_id, error)
        return HttpResponse(refusal(str(error)), content_type="text/plain")
    return JsonResponse({})


def _body(request: HttpRequest) -> tuple[dict[str, Any], object]:
    """Give the members of the body and the node key, None when there is none. The gateway bounded the body."""
    members = members_of(request.read()) or {}
    key = node_key_of(members, request.headers.get("Authorization", "").encode())
    return {name: value_of(raw) for name, raw in members.items()}, key


def _carve_of(session_id: object, key: object) -> Carve:
    carve = carves.session(session_id)
    if key is not None and _host_of(key) != carve.host:
        raise CarveRefusedError("the session is that of another host, or the node key is not valid")
    return carve


def _host_of(key: object) -> Host | None:
    identity = _keys().verify(key)
    if identity is None:
        return None
    return installation.host_of(identity)
