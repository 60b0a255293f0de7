"""Wrong enroll secrets, counted by address and in all, in Redis for all processes.

Right ones pass whatever came before from their address: behind one address a single machine with an old secret must not
keep a whole site out, and the secrets we make are too long to be guessed. Above the limit a wrong one is neither logged
nor told why. When Redis is away nothing is counted.
"""

import logging

from django.conf import settings
from redis.exceptions import RedisError

from agents.board import keyspace, redis_client

logger = logging.getLogger(__name__)

KEPT_SECONDS = 60


def count(address: str | None) -> str:
    """Count one, for its address and for all; give why it is refused above a limit of this minute, "" below both.

    Each try has a number of its own, given at once by Redis: of any that come together as many are above the limit.
    """
    keys = (keyspace.wrong_secrets_key(address or ""), keyspace.wrong_secrets_key("all"))
    try:
        pipe = redis_client.client().pipeline()
        for key in keys:
            pipe.set(key, 0, ex=KEPT_SECONDS, nx=True).incr(key)
        _, times, _, in_all = pipe.execute()
    except (RedisError, OSError) as error:
        logger.warning("wrong enroll secret not counted address=%s reason=%s", address, error)
        return ""
    if times > settings.WRONG_SECRETS_PER_MINUTE:
        return "too many wrong enroll secrets came from this address within a minute"
    if in_all > settings.WRONG_SECRETS_IN_ALL_PER_MINUTE:
        return "too many wrong enroll secrets came within a minute"
    logger.warning("wrong enroll secret address=%s times=%s", address, times)
    return ""
