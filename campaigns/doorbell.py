"""Ring for the viewers of a campaign: "look again", never the answers themselves.

A lost ring delays a viewer by two seconds and loses nothing, so trouble here is logged and goes no further.
"""

import logging
from functools import partial

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


def group_of(campaign: int) -> str:
    """Name the group in which a campaign's readers listen."""
    return f"campaign-{campaign}"


def ring(campaign: int) -> None:
    """Ring once the current transaction has committed."""
    transaction.on_commit(partial(_ring, campaign))


def _ring(campaign: int) -> None:
    layer = get_channel_layer()
    try:
        async_to_sync(layer.group_send)(group_of(campaign), {"type": "rang", "campaign": campaign})
    except (RedisError, OSError) as error:
        logger.warning("doorbell not rung campaign=%s reason=%s", campaign, error)
