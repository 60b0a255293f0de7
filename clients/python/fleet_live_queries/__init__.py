"""Ask hosts questions through a Fleet Live Queries server, and take their answers as they come.

What is said to the server, and in which order, is written once, as steps without I/O (`steps`, `verbs`, `following`);
`Client` and `AsyncClient` are two thin shells that carry them out.
"""

from fleet_live_queries.async_client import AsyncCampaign, AsyncClient
from fleet_live_queries.client import Campaign, Client
from fleet_live_queries.errors import (
    BadInputError,
    ConflictError,
    FleetError,
    ForbiddenError,
    MissingLibraryError,
    NotFoundError,
    NotSignedInError,
    ServerError,
    TooManyError,
    UnreachableError,
)
from fleet_live_queries.rows import Row

__all__ = [
    "AsyncCampaign",
    "AsyncClient",
    "BadInputError",
    "Campaign",
    "Client",
    "ConflictError",
    "FleetError",
    "ForbiddenError",
    "MissingLibraryError",
    "NotFoundError",
    "NotSignedInError",
    "Row",
    "ServerError",
    "TooManyError",
    "UnreachableError",
]
