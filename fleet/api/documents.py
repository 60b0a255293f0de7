"""The API's own documents: OpenAPI, and the page to read it."""

from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request

from fleet.api.parameters import Parameters
from fleet.api.views import ApiView
from fleet.errors import BadInputError

FORMATS = ("yaml", "json")


class ByFormat(DefaultContentNegotiation):
    """`format` says which of the renderers is wanted, else the Accept header does."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Give one. Raise BadInputError for a format that there is not."""
        wanted = request.query_params.get("format")
        if wanted is not None and wanted not in FORMATS:
            raise BadInputError(f"format {wanted!r} is unknown, allowed are {', '.join(FORMATS)}", "format")
        return super().select_renderer(request, renderers, wanted or format_suffix)


class OpenApiDocument(ApiView, SpectacularAPIView):
    """The document of the API, as YAML or JSON."""

    content_negotiation_class = ByFormat
    query_parameters: ClassVar[Parameters] = {
        "get": (OpenApiParameter("format", OpenApiTypes.STR, enum=FORMATS),),
    }


class DocsPage(ApiView, SpectacularSwaggerSplitView):
    """The page to read it; its script comes by the same address, so that none is in the page."""

    query_parameters: ClassVar[Parameters] = {
        "get": (OpenApiParameter("script", OpenApiTypes.STR), OpenApiParameter("lang", OpenApiTypes.STR)),
    }
