"""What a list of hosts can be narrowed by."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from agents.models import HostQuerySet, Label, Platform
from fleet.api.parameters import NAME, SINCE, choice_in, flag_in, since_in, text_in
from fleet.errors import BadInputError

EXACTLY = ("hostname", "uuid", "hardware_serial", "host_identifier")
PARAMETERS = (
    OpenApiParameter("search", str, description="part of the hostname, uuid, serial, host_identifier or address"),
    OpenApiParameter("online", bool, description="whether they are online"),
    OpenApiParameter("platform", str, enum=Platform.values, description="family of the system"),
    OpenApiParameter("label", NAME, description="name of a label that it is in"),
    OpenApiParameter("in_doubt", bool, description="whether a second machine uses its key"),
    OpenApiParameter("seen", SINCE, description="asked since: RFC 3339 with a zone, or seconds before now"),
    OpenApiParameter("hostname", str, description="its hostname, in any case"),
    *(OpenApiParameter(name, str, description=f"exactly its {name}") for name in EXACTLY[1:]),
)


def filtered(hosts: HostQuerySet, request: Request) -> HostQuerySet:
    """Give those, annotated with `online`, for which every filter of the request holds. Raise BadInputError."""
    in_doubt, exactly = flag_in(request, "in_doubt"), {name: text_in(request, name) for name in EXACTLY}
    conditions: dict[str, Any] = {
        "online": flag_in(request, "online"),
        "platform": choice_in(request, "platform", Platform.values),
        "labels": _label_in(request),
        "in_doubt_since__isnull": None if in_doubt is None else not in_doubt,
        "presence__last_seen__gte": since_in(request, "seen", timezone.now()),
        **{"hostname__iexact" if name == "hostname" else name: value or None for name, value in exactly.items()},
    }
    hosts = hosts.filter(**{name: value for name, value in conditions.items() if value is not None})
    search = text_in(request, "search")
    return hosts.searched(search) if search else hosts


def _label_in(request: Request) -> Label | None:
    name = request.query_params.get("label")
    label = None if name is None else Label.objects.filter(name=name).first()
    if name is not None and label is None:
        raise BadInputError(f"label {name!r} is unknown, allowed is the name of a label", "label")
    return label
