"""What monitors and load balancers ask: whether this process lives, whether the server can do its work."""

from django.http import HttpRequest, HttpResponse, JsonResponse

from agents.board.health import health


def livez(request: HttpRequest) -> HttpResponse:
    """Answer 200 as long as this process serves: what a load balancer asks, so that no tier leaves with another."""
    return HttpResponse("alive\n", content_type="text/plain")


def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when everything is in order, else 503: what a monitor asks, it speaks of all tiers together."""
    found = health()
    body = {"ready": not found.troubles, **found._asdict()}
    answer = JsonResponse(body, status=503 if found.troubles else 200)
    answer._has_been_logged = True  # type: ignore[attr-defined]  # a monitor asks every second: Django would log each
    return answer
