"""Whoever is refused for who he is (401) or for what he may (403) leaves a line, at whatever door he stood.

Once a minute of one person or token and address of this server; of nobody, of one network that he comes from: lines
are kept for good, and who is turned away can ask as often as he likes.
"""

import logging
from datetime import timedelta
from typing import Any

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from fleet.addresses import network_of
from fleet.audit import note_seldom, requests

logger = logging.getLogger(__name__)

STATUSES = (401, 403)
NOTED_EVERY = timedelta(minutes=1)


def note_refusal(request: Any, status: int, sentence: str = "") -> None:
    """Add the line, when the status is one of a refusal. The refusal itself stands where nothing can be written."""
    if status not in STATUSES:
        return
    asked = requests.origin(request)
    subject = request.path if asked.person is not None else f"network {network_of(asked.address)}"
    details = {"status": status, "method": request.method, "path": request.path, "sentence": sentence}
    try:
        note_seldom("request.refused", every=NOTED_EVERY, request=request, subject=subject, **details)
    except DatabaseError as error:
        logger.warning("refusal not noted path=%r status=%s reason=%s", request.path, status, str(error).strip())


class NotedRefusals(MiddlewareMixin):
    """Middleware that notes what Django refused: by the API, pages, the admin and forms of other sites."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Note it with the sentence that was said."""
        body = getattr(response, "data", None)  # of the API; pages have none
        sentence = str(body.get("error", "")) if isinstance(body, dict) else ""
        note_refusal(request, response.status_code, sentence)
        return response
