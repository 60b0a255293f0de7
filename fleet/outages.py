"""Whether an error says that PostgreSQL or Redis is away, full or overloaded: that is waited out and told in one line.

By the names of classes and modules, so that gateways, which know neither Django nor psycopg2, can ask as well.
"""

CLASSES = {
    "django.db": ("OperationalError", "InterfaceError"),
    "psycopg2": ("OperationalError", "InterfaceError"),
    "redis": ("ConnectionError", "TimeoutError", "OutOfMemoryError", "ExecAbortError", "ReadOnlyError"),
    "kombu": ("OperationalError",),
    "agents.board": ("NoBoardError",),  # Redis answers, and what is written there is not whole yet
    "celery.beat": ("SchedulingError",),  # beat could not send what is due, and says why
}
# What Redis says through a script: full, its disk full, a replica, still loading.
REFUSALS = ("-OOM ", "-MISCONF ", "-READONLY ", "-LOADING ", "-MASTERDOWN ")
# PostgreSQL calls these operational as well, and they are of what was asked: deadlocks, locks, cancelled statements.
OF_THE_STATEMENT = ("40", "55", "57014")
NO_LOCK = "55P03"


def is_outage(error: BaseException | None) -> bool:
    """Say whether an error, or what it was raised from, is that of a server which cannot answer now."""
    while error is not None:
        if is_in_the_way(error):
            return False
        if any(map(_is_one, type(error).__mro__)) or _is_refusal(error):
            return True
        error = error.__cause__
    return False


def is_in_the_way(error: BaseException) -> bool:
    """Say whether PostgreSQL gave a statement up since others held what it needs: asked again, it may go through."""
    return _code_of(error).startswith(OF_THE_STATEMENT)


def is_held_up(error: BaseException) -> bool:
    """Say whether a lock was waited for in vain, as of a process that stands still in the middle of a transaction."""
    return _code_of(error) == NO_LOCK


def _code_of(error: BaseException) -> str:
    return getattr(error, "pgcode", None) or getattr(error.__cause__, "pgcode", None) or ""


def _is_refusal(error: BaseException) -> bool:
    kind = type(error)
    return kind.__name__ == "ResponseError" and any(word in str(error) for word in REFUSALS)


def _is_one(kind: type) -> bool:
    return any(kind.__module__.startswith(begin) and kind.__name__ in names for begin, names in CLASSES.items())
