"""How one browser wants to see the console: its colours, and the zone of its times. Kept in cookies, for a year."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from campaigns.console.access import with_policy
from fleet.text import is_text

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
    back = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    response = HttpResponseRedirect(back if is_ours and back.startswith("/") and is_text(back) else reverse("home"))
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
