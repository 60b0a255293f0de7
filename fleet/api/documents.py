"""The API's own documents: OpenAPI, and the page to read it."""

from functools import cache
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request

from fleet.api.parameters import Parameters
from fleet.api.views import ApiView
from fleet.errors import BadInputError

WRITERS = {"yaml": OpenApiYamlRenderer, "json": OpenApiJsonRenderer}


class ByFormat(DefaultContentNegotiation):
    """`format` says which of the renderers is wanted, else the Accept header does."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Give one. Raise BadInputError for a format that there is not."""
        wanted = request.query_params.get("format")
        if wanted is not None and wanted not in WRITERS:
            raise BadInputError(f"format {wanted!r} is unknown, allowed are {', '.join(WRITERS)}", "format")
        return super().select_renderer(request, renderers, wanted or format_suffix)


class OpenApiDocument(ApiView, SpectacularAPIView):
    """The document of the API, as YAML or JSON."""

    content_negotiation_class = ByFormat
    query_parameters: ClassVar[Parameters] = {
        "get": (OpenApiParameter("format", OpenApiTypes.STR, enum=tuple(WRITERS)),),
    }

    def _get_schema_response(self, request: Request) -> HttpResponse:
        renderer = request.accepted_renderer
        kind = f"{renderer.media_type}; charset={renderer.charset}" if renderer.charset else renderer.media_type
        response = HttpResponse(_document(renderer.format), content_type=kind)
        name = f"{settings.SPECTACULAR_SETTINGS['TITLE']}.{renderer.format}"
        response["Content-Disposition"] = f'inline; filename="{name}"'
        return response


@cache
def _document(kind: str) -> bytes:
    """Write the document in one of the formats, once in a process: it is the same for all, and takes half a second."""
    generator: Any = OpenApiDocument.generator_class
    writer: Any = WRITERS[kind]()
    written: bytes = writer.render(generator().get_schema(request=None, public=True))
    return written


class DocsPage(ApiView, SpectacularSwaggerSplitView):
    """The page to read it; its script comes by the same address, so that none is in the page."""

    query_parameters: ClassVar[Parameters] = {
        "get": (OpenApiParameter("script", OpenApiTypes.STR), OpenApiParameter("lang", OpenApiTypes.STR)),
    }
