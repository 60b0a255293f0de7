"""Wrong enroll secrets, counted by address in Redis for all processes.

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


def count(address: str | None) -> bool:
    """Count one; give whether its address is above the limit of this minute."""
    key = keyspace.wrong_secrets_key(address or "")
    try:
        pipe = redis_client.client().pipeline()
        times = int(pipe.set(key, 0, ex=KEPT_SECONDS, nx=True).incr(key).execute()[1])
    except (RedisError, OSError) as error:
        logger.warning("wrong enroll secret not counted address=%s reason=%s", address, error)
        return False
    if times > settings.WRONG_SECRETS_PER_MINUTE:
        return True
    logger.warning("wrong enroll secret address=%s times=%s", address, times)
    return False
