"""The agents' endpoint that needs Postgres. Everything else they say goes through `agents.gateway.app`."""

from functools import cache

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from agents.enrolling.addresses import address_of
from agents.enrolling.enrollment import Application, EnrollmentRefusedError, enroll
from agents.protocol.messages import members_of, value_of
from agents.protocol.node_key import NodeKeys


@cache
def _keys() -> NodeKeys:
    return NodeKeys(settings.NODE_KEY_SECRETS)


@csrf_exempt
@require_POST
def enroll_host(request: HttpRequest) -> JsonResponse:
    """Give a node key, or an `error` (agents look at nothing else of a refusal than the missing key)."""
    members = members_of(request.body)
    body = None if members is None else {name: value_of(raw) for name, raw in members.items()}
    try:
        host, enrolled = enroll(Application.read(body, address_of(request.META) or None))
    except EnrollmentRefusedError as refusal:
        return JsonResponse({"error": str(refusal)})
    return JsonResponse({"node_key": _keys().issue(host.pk, host.epoch, enrolled)})
