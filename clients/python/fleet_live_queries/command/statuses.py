"""How the command ends, as its exit status."""

from fleet_live_queries.errors import BadInputError, FleetError

ANSWERED, TROUBLE, BAD_INPUT, SILENT, FAILED, NOBODY = range(6)


class LeftError(Exception):
    """The person leaves; the campaign goes on."""


def status_of(error: FleetError) -> int:
    """Give the exit status of an error."""
    return BAD_INPUT if isinstance(error, BadInputError) else TROUBLE
