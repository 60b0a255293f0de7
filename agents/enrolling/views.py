"""The agents' endpoint that needs Postgres, for who reaches Django itself; gateways go to the desk."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from agents.enrolling.desk import Sent, keep
from fleet.addresses import address_of, certificate_of


@csrf_exempt
@require_POST
def enroll_host(request: HttpRequest) -> HttpResponse:
    """Give a node key, or an `error`."""
    sent = Sent(request.body, address_of(request.META) or None, certificate_of(request.META))
    return HttpResponse(keep([sent])[0], content_type="application/json")
