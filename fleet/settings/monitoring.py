"""Figures for monitors, log lines, and where the audit is carried."""

import logging

from fleet.settings import traces
from fleet.settings.environment import env

METRICS_TOKEN = env.str("METRICS_TOKEN", default="")  # who bears it reads /metrics of a gateway or console; "" = nobody
METRICS_PORT = env.int(
    "METRICS_PORT", default=0
)  # where this process shows its own figures to whoever reaches it; 0 = not
METRICS_BIND = env.str("METRICS_BIND", default="127.0.0.1")
# A file that workers, beat and collectors touch while they are at work, for `python -m fleet.healthy`; "" = none.
ALIVE_FILE = env.str("ALIVE_FILE", default="")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOG_LEVEL = env.choice("LOG_LEVEL", LOG_LEVELS, default="INFO")  # the least that is told
LOG_FORMAT = env.choice("LOG_FORMAT", ("line", "json"), default="line")  # json = an object a line, facts as members

# Where traces of campaigns go, over OTLP/HTTP, named as OpenTelemetry does, whose other variables hold as well.
TRACES = traces.are_on()
TRACES_HEADERS = traces.headers()

# Where lines of the audit are carried as they are written: /path/of.ndjson, unix:///dev/log, udp://host:514,
# tcp://host:601, or nowhere.
AUDIT_SINK = env.place("AUDIT_SINK", default="")

# Several lines a second of what beat sends and workers take, whatever is asked; what fails is an error.
CHATTY_LOGGERS = ["celery.beat", "celery.worker.strategy", "celery.app.trace", "mcp"]
logging.captureWarnings(True)  # they are events as well
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "fleet.text.LogLine", "format": "{asctime} {levelname} {name} {message}", "style": "{"},
        "json": {"()": "fleet.text.LogObject"},
    },
    "filters": {"in_a_line": {"()": "fleet.text.InALine"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "httpx": {"level": "WARNING"},
        **{name: {"level": "WARNING"} for name in CHATTY_LOGGERS},
        # What is refused is no trouble of the server: agents of other servers ask for /version and more, for ever.
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"filters": ["in_a_line"]},  # scanners ask addresses, not names, all day
        **{name: {"handlers": [], "propagate": True} for name in ("uvicorn", "uvicorn.access", "django.server")},
    },
}
