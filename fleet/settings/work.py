"""Celery: hints; the work itself is rows."""

from urllib.parse import unquote, urlsplit

from fleet.settings.servers import REDIS_URL
from fleet.settings.storage import ANSWERS_SINK, ARCHIVE_ANSWERS


def _broker(redis_url: str) -> str:
    """Give Celery's spelling of a Redis address; it has its own for unix sockets."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    number = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair).get("db", "0")
    password = f":{parts.password}@" if parts.password else ""
    return f"redis+socket://{password}{unquote(parts.path)}?virtual_host={number}"


# The one table of queues: every task and the queue it travels in. `live` carries launches, which people wait for;
# `sweeps` has a worker of its own, so that no launch can delay the end of a campaign.
QUEUES = {
    "campaigns.write_range": "live",
    "campaigns.write_small_ranges": "live",
    "campaigns.note_worker": "live",
    "campaigns.sweep": "sweeps",
    "campaigns.refresh_online": "sweeps",
    "campaigns.repair_board": "sweeps",
    "campaigns.forget": "sweeps",
    "campaigns.add_late_joiners": "sweeps",
    "campaigns.keep_audit": "sweeps",
    "campaigns.remember_audit_end": "live",
    "campaigns.purge": "sweeps",
    "campaigns.end_sessions": "sweeps",
    "campaigns.archive": "hooks",  # a storage may be slow or away, for which no launch may wait
    "campaigns.recur": "live",  # launching may take seconds, which no end of a campaign may wait for
    "audit.forward": "live",  # a destination may take its time, for which no end of a campaign may wait
    "campaigns.compare_runs": "hooks",  # comparing may take minutes, for which no launch may wait
    "campaigns.let_runs_go": "hooks",
    "campaigns.check_schedules": "hooks",
    "hooks.tell": "hooks",
    "hooks.check_rights": "hooks",
    "campaigns.carry": "hooks",  # as hooks: its destination may be slow, and keeps a thread of the messenger alone
    "hooks.send": "hooks",  # receivers may be slow, for which nothing of ours may wait
    "agents.carry_presence": "sweeps",
    "agents.sample_online": "live",  # counting a million hosts takes a second, which no end of a campaign may wait for
    "agents.housekeep": "sweeps",
    "agents.ask_everybody": "sweeps",
    "agents.check_carves": "live",  # reading a gigabyte takes seconds, which no end of a campaign may wait for
}
CELERY_BROKER_URL = _broker(REDIS_URL)
CELERY_TASK_ROUTES = {name: {"queue": queue} for name, queue in QUEUES.items()}
CELERY_TASK_DEFAULT_QUEUE = "live"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# Also when Redis is there and refuses: it is full, or a replica that nothing may be written to. Workers would end.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_WORKER_CONSUMER = "fleet.reconnecting:Consumer"
# A task that its worker took to the grave comes back after this many seconds; every task is shorter.
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 60, "socket_timeout": 10, "socket_connect_timeout": 2}
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.1}
CELERY_TIMEZONE = "UTC"


def _every(seconds: float, task: str) -> dict[str, object]:
    """Schedule `task`; a run that found no worker within its period is dropped, the next one does its work."""
    return {"task": task, "schedule": seconds, "options": {"expires": seconds, "queue": QUEUES[task]}}


CELERY_BEAT_SCHEDULE = {
    "sweep": _every(1.0, "campaigns.sweep"),
    "note-worker": _every(2.0, "campaigns.note_worker"),
    "refresh-online": _every(5.0, "campaigns.refresh_online"),
    "repair-board": _every(10.0, "campaigns.repair_board"),
    "carry-presence": _every(10.0, "agents.carry_presence"),
    "sample-online": _every(60.0, "agents.sample_online"),
    "late-joiners": _every(5.0, "campaigns.add_late_joiners"),
    "forget": _every(60.0, "campaigns.forget"),
    "forward-audit": _every(1.0, "audit.forward"),
    "remember-audit-end": _every(1.0, "campaigns.remember_audit_end"),
    "recur": _every(2.0, "campaigns.recur"),
    "check-rights-of-schedules": _every(60.0, "campaigns.check_schedules"),
    "compare-runs": _every(2.0, "campaigns.compare_runs"),
    "let-runs-go": _every(60.0, "campaigns.let_runs_go"),
    "tell-hooks": _every(1.0, "hooks.tell"),
    "check-rights-of-hooks": _every(60.0, "hooks.check_rights"),
    "keep-audit": _every(10.0, "campaigns.keep_audit"),
    **({"carry": _every(1.0, "campaigns.carry")} if ANSWERS_SINK else {}),
    **({"archive": _every(10.0, "campaigns.archive")} if ARCHIVE_ANSWERS else {}),
    "purge": _every(5.0, "campaigns.purge"),
    "end-sessions": _every(5.0, "campaigns.end_sessions"),
    "housekeep": _every(30.0, "agents.housekeep"),
    "check-carves": _every(10.0, "agents.check_carves"),
}
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
