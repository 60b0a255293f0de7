"""What people and programs send, and the API itself."""

from fleet.settings.environment import env

# Within a minute; 0 = any number. A token's requests count for its owner as well.
API_REQUESTS_OF_TOKEN_PER_MINUTE = env.int("API_REQUESTS_OF_TOKEN_PER_MINUTE", default=1200)
API_REQUESTS_OF_PERSON_PER_MINUTE = env.int("API_REQUESTS_OF_PERSON_PER_MINUTE", default=3000)
SOCKETS_OF_TOKEN_PER_MINUTE = env.int("SOCKETS_OF_TOKEN_PER_MINUTE", default=120)
SOCKETS_OF_PERSON_PER_MINUTE = env.int("SOCKETS_OF_PERSON_PER_MINUTE", default=300)

MCP_CANARY_ABOVE = env.int("MCP_CANARY_ABOVE", default=50)  # hosts; what tools launch over more asks as many first

API_BODY_BYTES = env.int("API_BODY_BYTES", default=2**20)  # of one request of the API
FORM_BODY_BYTES = env.int("FORM_BODY_BYTES", default=5 * 2**19)  # of one form of the console or the admin
FORM_BODIES_BYTES = env.int("FORM_BODIES_BYTES", default=64 * 2**20)  # memory shared by bodies above 16 KiB
HEAD_SECONDS = env.float("HEAD_SECONDS", default=30.0)  # within which the lines above a body have to, agents' as well
BODY_SECONDS = env.float("BODY_SECONDS", default=20.0)  # within which a body has to arrive
DATA_UPLOAD_MAX_MEMORY_SIZE = FORM_BODY_BYTES

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "fleet.api.asking.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["fleet.api.asking.ModelPermissions"],
    "DEFAULT_THROTTLE_CLASSES": ["campaigns.throttles.PerPersonAndToken"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "fleet.api.asking.Negotiation",
    "DEFAULT_PARSER_CLASSES": ["fleet.api.asking.StrictJson"],
    "DEFAULT_PAGINATION_CLASS": "fleet.api.paging.Pages",
    "DEFAULT_SCHEMA_CLASS": "fleet.api.openapi.ExactAnswers",
    "EXCEPTION_HANDLER": "fleet.refusals.error_response",
    "DATETIME_FORMAT": "%Y-%m-%dT%H:%M:%S.%fZ",
    "URL_FORMAT_OVERRIDE": None,  # `format` is no parameter but where a view declares it
}
REST_KNOX = {
    "AUTH_HEADER_PREFIX": "Bearer",
    "TOKEN_TTL": None,  # lifetimes are chosen per token
    "AUTO_REFRESH": False,
}
# Our own token model stands in for knox's, whose migrations would make a table that nobody uses.
MIGRATION_MODULES = {"knox": None}
KNOX_TOKEN_MODEL = "campaigns.ApiToken"  # noqa: S105 - the name of a model
SPECTACULAR_SETTINGS = {
    "TITLE": "Fleet Live Queries",
    "DESCRIPTION": "Ask every machine a question in SQL, watch the answers arrive, keep them.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # The validator would send the schema to a foreign server; CodeSamples is docs_samples.js.
    "SWAGGER_UI_SETTINGS": '{"validatorUrl": null, "docExpansion": "list", "plugins": [CodeSamples]}',
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "fleet.api.openapi.complete"],
    "ENUM_NAME_OVERRIDES": {
        "AnswerStateEnum": "campaigns.api.answer_serializers.ANSWERS",
        "StatusEnum": "campaigns.states.Status",
        "PlatformEnum": "agents.models.Platform",
        "CarveStateEnum": "agents.carving.models.CarveState",
        "StateEnum": "campaigns.states.State",
        "ApprovalStateEnum": "campaigns.launching.models.Approval.State",
    },
}
