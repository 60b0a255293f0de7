"""Who reads and takes away what hosts answered, as the audit tells: each file, and reading once a minute."""

from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from campaigns.answers.audit import note_read
from fleet.api.views import ApiView
from fleet.audit import note


class NotedReads(ApiView):
    """Views whose answers hold what hosts answered. What could not be noted is not given."""

    reads_of = "campaign"
    quiet: ClassVar[tuple[str, ...]] = ("list", "retrieve", "views")  # actions that give nothing of what hosts answered
    reads_by_post: ClassVar[tuple[str, ...]] = ("sql", "latest_sql")

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        """Note what is about to be given."""
        if response.status_code == 200 and "pk" in self.kwargs and request.method != "HEAD":
            self._note(request, response)
        return super().finalize_response(request, response, *args, **kwargs)

    def _note(self, request: Request, response: Any) -> None:
        action, subject = getattr(self, "action", None) or "", f"{self.reads_of} {self.kwargs['pk']}"
        if response.headers.get("Content-Disposition", "").startswith("attachment"):
            asked = {name: list(values) for name, values in request.query_params.lists()}
            note("results.exported", request=request, subject=subject, file=request.path, asked=asked)
        elif action not in self.quiet and (request.method == "GET" or action in self.reads_by_post):
            note_read(subject, action, request)
