"""How one browser wants to see the console: its colours, and the zone of its times. Kept in cookies, for a year."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from campaigns.console.access import with_policy
from fleet.coming_back import page_named

YEAR = 365 * 24 * 3600  # seconds
THEMES = (("system", "as the system"), ("light", "light"), ("dark", "dark"))
TIME_ZONES = (("local", "here"), ("utc", "UTC"))
CHOICES = {"theme": THEMES, "times": TIME_ZONES}


def preference(request: HttpRequest, name: str) -> str:
    """Give what this browser prefers, the first choice when it says nothing or what nobody offers."""
    offered = [value for value, _ in CHOICES[name]]
    chosen = request.COOKIES.get(f"fleet_{name}", "")
    return chosen if chosen in offered else offered[0]


@with_policy
@require_POST
def prefer(request: HttpRequest) -> HttpResponse:
    """Keep what was chosen, and go back to the page."""
    response = HttpResponseRedirect(page_named(request) or reverse("home"))
    for name, choices in CHOICES.items():
        if request.POST.get(name) in dict(choices):
            response.set_cookie(
                f"fleet_{name}",
                request.POST[name],
                max_age=YEAR,
                samesite="Lax",
                secure=request.is_secure(),
                httponly=True,
            )
    return response
