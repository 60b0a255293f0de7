"""What is wrong with the server, as every page shows it."""

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from agents.board.health import health
from campaigns.console.access import needs_sight_of_some

TROUBLES_SECONDS = 10


@needs_sight_of_some()
@require_GET
def troubles(request: HttpRequest) -> HttpResponse:
    """Say what is wrong with the server, if anything; looked up once for all viewers of this process."""
    found = cache.get_or_set("readiness", health, TROUBLES_SECONDS)
    return render(request, "campaigns/_troubles.html", {"health": found})
