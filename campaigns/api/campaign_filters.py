"""What a list of campaigns can be narrowed by."""

from typing import Any, cast

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from agents.models import Label
from campaigns.api.people_filters import person_in
from campaigns.models import Campaign
from campaigns.people.roles import LOOK
from campaigns.states import Status
from fleet.api.parameters import NAME, SINCE, choice_in, since_in, text_in
from fleet.errors import BadInputError

PARAMETERS = (
    OpenApiParameter("status", str, enum=Status.values, description="how far they are"),
    OpenApiParameter("search", str, description="part of the name, the SQL or the reason"),
    OpenApiParameter("created_by", NAME, description="name of the person who launched"),
    OpenApiParameter("since", SINCE, description="launched since: RFC 3339 with a zone, or seconds before now"),
    OpenApiParameter("label", NAME, description="a label that the target names"),
)


def filtered(campaigns: QuerySet[Campaign], request: Request) -> QuerySet[Campaign]:
    """Give those for which every filter of the request holds. Raise BadInputError."""
    conditions: dict[str, Any] = {
        "status": choice_in(request, "status", Status.values),
        "created_at__gte": since_in(request, "since", timezone.now()),
        "created_by": person_in(request, "created_by", others=cast(User, request.user).has_perm(LOOK)),
        "target__labels__contains": _label_in(request),
    }
    search = text_in(request, "search")
    if search:
        campaigns = campaigns.filter(Q(name__icontains=search) | Q(sql__icontains=search) | Q(reason__icontains=search))
    return campaigns.filter(**{name: value for name, value in conditions.items() if value is not None})


def _label_in(request: Request) -> list[str] | None:
    """Give the label as a list, to be contained in that of a target; it may be gone since."""
    name = request.query_params.get("label")
    if name is None:
        return None
    if not Label.objects.filter(name=name).exists():
        named = Campaign.objects.visible_to(cast(User, request.user)).filter(target__labels__contains=[name])
        if not named.exists():
            raise BadInputError(f"label {name!r} is unknown, allowed is the name of a label", "label")
    return [name]
