"""Hints that some kind of work waits, of which one is enough for all the work that comes before it is taken."""

import logging

from redis.exceptions import RedisError

from agents.board import keyspace, redis_client

logger = logging.getLogger(__name__)

GOOD_SECONDS = 1  # a hint that was lost keeps others from being sent no longer


def is_first(task: str) -> bool:
    """Say whether no hint of this task is on its way, after what it is for was committed; then it counts as sent."""
    try:
        return bool(redis_client.client().set(keyspace.hint_key(task), 1, nx=True, ex=GOOD_SECONDS))
    except (RedisError, OSError) as error:
        logger.warning("hint not counted task=%s reason=%s", task, error)
        return True


def take(task: str) -> None:
    """Let the next one be sent; called before one looks at what waits, so that nothing is missed."""
    redis_client.client().delete(keyspace.hint_key(task))
