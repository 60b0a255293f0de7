"""What is wrong with the server, and whether live queries are switched off, as every page shows it."""

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from agents.board.health import health
from campaigns.console.access import needs_sight_of_some, signed_in

TROUBLES_SECONDS = 10


@needs_sight_of_some()
@require_GET
def troubles(request: HttpRequest) -> HttpResponse:
    """Say what is wrong with the server, if anything; looked up once for all viewers of this process."""
    found = cache.get_or_set("readiness", health, TROUBLES_SECONDS)
    return render(request, "campaigns/_troubles.html", {"health": found})


@signed_in()
@require_GET
def switch(request: HttpRequest) -> HttpResponse:
    """Say whether live queries are switched off; every page asks now and then."""
    return render(request, "campaigns/_switch.html")
