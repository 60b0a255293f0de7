"""Every setting, with its unit, read from the environment once.

Nothing here opens a connection. DATABASE_URL and REDIS_URL are needed by everything that does; `make demo`,
`make test` and `make bench` start real PostgreSQL and Redis from wheels and set both.
"""

import secrets
from pathlib import Path
from urllib.parse import unquote, urlsplit

import django_stubs_ext
import environ
from django.core.exceptions import ImproperlyConfigured

# Django's generic classes (ModelForm[Host], …) take their type at run time as well.
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

# --- secrets and addresses -------------------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)


def _node_key_secrets() -> list[str]:
    """Read the list; an empty entry would let anybody make node keys."""
    listed = env.str("NODE_KEY_SECRETS", default="")
    given = [secret.strip() for secret in listed.split(",")] if listed.strip() else []
    if not all(given):
        raise ImproperlyConfigured(f"NODE_KEY_SECRETS has an empty entry, the {given.index('') + 1}. of {len(given)}")
    return given


# SECRET_KEY signs people's sessions, the first of NODE_KEY_SECRETS hosts' keys; the others, older ones, still verify.
# Consoles need the one and gateways the other, and do not start without it (fleet.asgi), so that the exposed tier never
# holds what signs sessions. A secret that was not given is random here and opens nothing.
_given = {"SECRET_KEY": env.str("SECRET_KEY", default=""), "NODE_KEY_SECRETS": _node_key_secrets()}
MISSING_SECRETS = {name for name, value in _given.items() if not value}
SECRET_KEY = _given["SECRET_KEY"] or secrets.token_urlsafe(48)
SECRET_KEY_FALLBACKS: list[str] = env.list("SECRET_KEY_FALLBACKS", default=[])  # older ones, which still verify
NODE_KEY_SECRETS: list[str] = _given["NODE_KEY_SECRETS"] or [secrets.token_urlsafe(48)]
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])
PUBLIC_URL = env.str("PUBLIC_URL", default="")  # origin in links of the API, "" = that of the request

# Proxies whose X-Forwarded-For is believed: addresses, or networks like 10.0.0.0/8.
TRUSTED_PROXIES: list[str] = env.list("TRUSTED_PROXIES", default=[])

DATABASE_URL = env.str("DATABASE_URL", default="postgres:///fleet")
REDIS_URL = env.str("REDIS_URL", default="redis://127.0.0.1:6379/0")

# --- live queries ----------------------------------------------------------------------------------------------

HOLD_SECONDS = env.float("HOLD_SECONDS", default=10.0)  # longest a read is held; 0 answers idle reads at once
MAX_HELD_READS = env.int("MAX_HELD_READS", default=20_000)  # per gateway process; above it idle reads end at once
WAKE_PER_SECOND = env.int("WAKE_PER_SECOND", default=600)  # held reads woken per second and process
LIVE_QUERIES_PER_READ = env.int("LIVE_QUERIES_PER_READ", default=3)
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", default=256 * 2**20)  # of one request of an agent
LARGE_BODIES_BYTES = env.int("LARGE_BODIES_BYTES", default=512 * 2**20)  # memory shared by bodies above 1 MiB
LOG_MAX_BYTES = env.int("LOG_MAX_BYTES", default=32 * 2**20)  # of one batch of log lines; a larger one is dropped
MAX_RESULT_BYTES = env.int("MAX_RESULT_BYTES", default=8 * 2**20)  # of one host's rows; what is above is cut
STREAM_MAX_BYTES = env.int("STREAM_MAX_BYTES", default=2**30)  # backlog at which no new work is handed out
DENYLISTED_BRAKE = env.int("DENYLISTED_BRAKE", default=3)  # hosts that died running the SQL and stop it; 0 = none
LATE_ANSWER_SECONDS = env.int("LATE_ANSWER_SECONDS", default=3600)  # answers are kept this long after the end
# Where log lines of agents go: file:///path/of.ndjson, a stream of a Redis that is not the board's as
# redis://host:port/db#key, or nowhere: agents hear that their lines were taken, and they are dropped.
LOG_SINK = env.str("LOG_SINK", default="")
LOG_FILE_MAX_BYTES = env.int("LOG_FILE_MAX_BYTES", default=0)  # of LOG_SINK's file, then it is rotated; 0 = never
LOG_FILES_KEPT = env.int("LOG_FILES_KEPT", default=5)  # full files that stay beside it
# Where lines of the audit are carried as they are written: /path/of.ndjson, unix:///dev/log, udp://host:514,
# tcp://host:601, or nowhere.
AUDIT_SINK = env.str("AUDIT_SINK", default="")
ENROLL_TAKEOVER = env.str("ENROLL_TAKEOVER", default="mark")  # refuse = not while a host of that name asks
if ENROLL_TAKEOVER not in ("mark", "refuse"):
    raise ImproperlyConfigured(f"ENROLL_TAKEOVER {ENROLL_TAKEOVER!r} is unknown: mark and refuse are allowed")
WRONG_SECRETS_IN_ALL_PER_MINUTE = env.int("WRONG_SECRETS_IN_ALL_PER_MINUTE", default=100)  # from all addresses
WRONG_SECRETS_PER_MINUTE = env.int("WRONG_SECRETS_PER_MINUTE", default=20)  # per address; those above it are not logged
HOUSEKEEPING_MINUTES = env.int("HOUSEKEEPING_MINUTES", default=60)  # between two detail and label queries; 0 = none
ONLINE_SECONDS = env.int("ONLINE_SECONDS", default=60)  # a host that asked within is online
LIVE_QUERIES_ENABLED = env.bool("LIVE_QUERIES_ENABLED", default=True)
# Tables and functions whose use in a campaign needs the permission campaigns.launch_restricted.
# What loads code into the agent (agents.inventory.sql.CODE_LOADING) needs it whatever this says.
RESTRICTED_TABLES: list[str] = env.list(
    "RESTRICTED_TABLES",
    default=[
        *("carve", "carves", "curl", "curl_certificate", "process_envs", "shadow", "shell_history"),
        *("yara", "yara_events"),
    ],
)
CARVE_MAX_BYTES = env.int("CARVE_MAX_BYTES", default=2**30)  # of one carve
CARVE_MAX_BLOCK_BYTES = env.int("CARVE_MAX_BLOCK_BYTES", default=8 * 2**20)  # of one block, before base64
CARVE_SESSION_SECONDS = env.int("CARVE_SESSION_SECONDS", default=86_400)  # without a block, then the carve is over
# Decides which hosts a person may see; agents and the ground know of no scopes.
SIGHT_OF_HOSTS = "campaigns.people.scopes"
# Says whether an answer of a host that may name carves is still to be stored; agents know of no campaigns.
CARVES_EXPECTED_BY = "campaigns.answers.carves.expects_carves_of"
CAMPAIGN_RETENTION_DAYS = env.int("CAMPAIGN_RETENTION_DAYS", default=180)  # since the end, unless pinned; 0 = for ever
# Quotas; 0 = no limit. Who has the permission campaigns.launch_unlimited is free of those per person but the first, and
# of targets. Rows of groups and people (admin, api/v1/quotas/) override the three that end in PER_PERSON.
LAUNCHES_PER_MINUTE = env.int("LAUNCHES_PER_MINUTE", default=60)  # per person, administrators excepted
OPEN_CAMPAIGNS_PER_PERSON = env.int("OPEN_CAMPAIGNS_PER_PERSON", default=50)
HOSTS_PER_HOUR_PER_PERSON = env.int("HOSTS_PER_HOUR_PER_PERSON", default=0)  # asked within any hour
ROWS_KEPT_PER_PERSON = env.int("ROWS_KEPT_PER_PERSON", default=0)  # in all campaigns of a person that are kept
TARGETS_PER_CAMPAIGN = env.int("TARGETS_PER_CAMPAIGN", default=0)  # hosts
# By group of the admin, the highest of a person's groups: helpdesk=50;responders=20000
TARGETS_PER_CAMPAIGN_BY_GROUP: dict[str, int] = env.dict(
    "TARGETS_PER_CAMPAIGN_BY_GROUP", cast={"value": int}, default={}
)
CAMPAIGN_MAX_ROWS = env.int("CAMPAIGN_MAX_ROWS", default=20_000_000)  # more is cut, and said
CAMPAIGN_MAX_BYTES = env.int("CAMPAIGN_MAX_BYTES", default=10 * 2**30)  # of rows as JSON; more is cut, and said

# Within a minute; 0 = any number. A token's requests count for its owner as well.
API_REQUESTS_OF_TOKEN_PER_MINUTE = env.int("API_REQUESTS_OF_TOKEN_PER_MINUTE", default=1200)
API_REQUESTS_OF_PERSON_PER_MINUTE = env.int("API_REQUESTS_OF_PERSON_PER_MINUTE", default=3000)
SOCKETS_OF_TOKEN_PER_MINUTE = env.int("SOCKETS_OF_TOKEN_PER_MINUTE", default=120)
SOCKETS_OF_PERSON_PER_MINUTE = env.int("SOCKETS_OF_PERSON_PER_MINUTE", default=300)

# --- analysis: SQL of people over answers, in processes of its own ----------------------------------------------

# Columnar copies of answers: a folder that consoles and workers share.
ANALYSIS_DIR = env.str("ANALYSIS_DIR", default=str(BASE_DIR / ".analysis"))
ANALYSIS_CACHE_BYTES = env.int("ANALYSIS_CACHE_BYTES", default=4 * 2**30)  # of all copies together
ANALYSIS_COPY_BYTES = env.int("ANALYSIS_COPY_BYTES", default=2 * 2**30)  # of rows as JSON; larger ones are not analysed
ANALYSIS_COPY_SECONDS = env.int("ANALYSIS_COPY_SECONDS", default=120)  # for one copy
ANALYSES_AT_ONCE = env.int("ANALYSES_AT_ONCE", default=2)  # per console process
ANALYSIS_WAIT_SECONDS = env.int("ANALYSIS_WAIT_SECONDS", default=5)  # how long the next one waits for its turn
ANALYSIS_SECONDS = env.float("ANALYSIS_SECONDS", default=20.0)  # of one question, beside copying
ANALYSIS_MEMORY_BYTES = env.int("ANALYSIS_MEMORY_BYTES", default=2**30)  # of one question
ANALYSIS_THREADS = env.int("ANALYSIS_THREADS", default=2)  # of one question
ANALYSIS_MAX_ROWS = env.int("ANALYSIS_MAX_ROWS", default=10_000)  # of a result; more is cut, and said
ANALYSIS_MAX_BYTES = env.int("ANALYSIS_MAX_BYTES", default=8 * 2**20)  # of a result as JSON; more is cut, and said

# --- what people and programs send -----------------------------------------------------------------------------

API_BODY_BYTES = env.int("API_BODY_BYTES", default=2**20)  # of one request of the API
FORM_BODY_BYTES = env.int("FORM_BODY_BYTES", default=5 * 2**19)  # of one form of the console or the admin
FORM_BODIES_BYTES = env.int("FORM_BODIES_BYTES", default=64 * 2**20)  # memory shared by bodies above 16 KiB
HEAD_SECONDS = env.float("HEAD_SECONDS", default=30.0)  # within which the lines above a body have to, agents' as well
BODY_SECONDS = env.float("BODY_SECONDS", default=20.0)  # within which a body has to arrive
DATA_UPLOAD_MAX_MEMORY_SIZE = FORM_BODY_BYTES

# --- figures for monitors, and log lines -----------------------------------------------------------------------

METRICS_TOKEN = env.str("METRICS_TOKEN", default="")  # who bears it reads /metrics of a gateway or console; "" = nobody
METRICS_PORT = env.int(
    "METRICS_PORT", default=0
)  # where this process shows its own figures to whoever reaches it; 0 = not
METRICS_BIND = env.str("METRICS_BIND", default="127.0.0.1")
LOG_FORMAT = env.str("LOG_FORMAT", default="line")  # json = one object a line, with what the event names as members
if LOG_FORMAT not in ("line", "json"):
    raise ImproperlyConfigured(f"LOG_FORMAT {LOG_FORMAT!r} is unknown: line and json are allowed")

# --- Django ----------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "campaigns.console",  # for its templates, filters and static files alone; some stand for those of the next ones
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "rest_framework",
    "knox",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "fleet.audit",
    "agents",
    "campaigns",
]
MIDDLEWARE = [
    "fleet.middleware.SafeHeaders",
    "django.middleware.security.SecurityMiddleware",
    "fleet.middleware.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "fleet.middleware.CommonForPeople",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "fleet.audit.requests.Served",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "fleet.guard.SessionGuard",
]
ROOT_URLCONF = "fleet.urls"
ASGI_APPLICATION = "fleet.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
_database = env.db_url_config(DATABASE_URL)
# A unix socket's folder stands in the host's place, percent-encoded, as in libpq's own addresses.
_database["HOST"] = unquote(_database.get("HOST") or "")
_database["OPTIONS"] = {
    **_database.get("OPTIONS", {}),
    "application_name": "fleet-live-queries",
    "options": "-c lock_timeout=10s",
}
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
AUTHENTICATION_BACKENDS = ["fleet.sign_in.PasswordBackend"]
# Wrong passwords until a name is locked at an address, an address for all names, and a name everywhere but where its
# owner signed in lately; and for how long.
WRONG_PASSWORDS_OF_NAME_AT_ADDRESS = env.int("WRONG_PASSWORDS_OF_NAME_AT_ADDRESS", default=5)
WRONG_PASSWORDS_OF_ADDRESS = env.int("WRONG_PASSWORDS_OF_ADDRESS", default=30)
WRONG_PASSWORDS_OF_NAME = env.int("WRONG_PASSWORDS_OF_NAME", default=50)
SIGN_IN_LOCK_MINUTES = env.int("SIGN_IN_LOCK_MINUTES", default=15)
PASSWORD_CHECKS_AT_ONCE = env.int("PASSWORD_CHECKS_AT_ONCE", default=2)  # per process: each takes a core for a moment
TOKEN_DAYS = env.int("TOKEN_DAYS", default=90)  # life of a token of the API when whoever makes it names none
# Sessions. 0 = no limit. What an open page asks by itself keeps none alive.
SESSION_IDLE_MINUTES = env.int("SESSION_IDLE_MINUTES", default=8 * 60)  # without a page opened or a form sent
SESSION_HOURS = env.int("SESSION_HOURS", default=7 * 24)  # since signing in
SESSION_COOKIE_AGE = SESSION_HOURS * 3600 or 365 * 86_400
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"  # Strict would lose who comes back from an OpenID provider
CONFIRM_MINUTES = env.int("CONFIRM_MINUTES", default=15)  # since who one is was shown, for what is dangerous; 0 = ever
REQUIRE_SECOND_FACTOR = env.bool("REQUIRE_SECOND_FACTOR", default=False)  # of staff, who may enter the admin
# An OpenID provider beside the passwords of here, or in their place. OIDC_GROUPS maps values of the claim to groups, as
# fleet-admins=Administrator;soc=Operator: at every sign-in its groups, and no others, follow the claim.
OIDC_ISSUER = env.str("OIDC_ISSUER", default="")  # its address, below which .well-known/openid-configuration lies
OIDC_CLIENT_ID = env.str("OIDC_CLIENT_ID", default="")
OIDC_CLIENT_SECRET = env.str("OIDC_CLIENT_SECRET", default="")
OIDC_NAME = env.str("OIDC_NAME", default="single sign-on")  # on the button
OIDC_SCOPES: list[str] = env.list("OIDC_SCOPES", default=["openid", "profile", "email"])
OIDC_USERNAME_CLAIM = env.str("OIDC_USERNAME_CLAIM", default="preferred_username")
OIDC_GROUPS_CLAIM = env.str("OIDC_GROUPS_CLAIM", default="groups")
OIDC_GROUPS: dict[str, str] = env.dict("OIDC_GROUPS", cast={"value": str}, default={})
OIDC_ADOPT_ACCOUNTS = env.bool("OIDC_ADOPT_ACCOUNTS", default=False)  # a name that is here already is the same person
LOCAL_PASSWORDS = env.bool("LOCAL_PASSWORDS", default=True)  # False: the provider is the only door
if OIDC_ISSUER and not (OIDC_CLIENT_ID and OIDC_CLIENT_SECRET):
    raise ImproperlyConfigured("OIDC_ISSUER is set: OIDC_CLIENT_ID and OIDC_CLIENT_SECRET are needed with it")
if not LOCAL_PASSWORDS and not OIDC_ISSUER:
    raise ImproperlyConfigured("LOCAL_PASSWORDS is off and OIDC_ISSUER is not set: nobody could sign in")
SOCIALACCOUNT_ADAPTER = "fleet.openid.OpenIdAdapter"
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "APPS": [
            {
                "provider_id": "openid",
                "name": OIDC_NAME,
                "client_id": OIDC_CLIENT_ID,
                "secret": OIDC_CLIENT_SECRET,
                "settings": {"server_url": OIDC_ISSUER.rstrip("/"), "scope": OIDC_SCOPES, "oauth_pkce_enabled": True},
            }
        ]
    }
}
# django-allauth signs in and keeps second factors and sessions; what it would mail or count by itself is left out.
ACCOUNT_ADAPTER = "fleet.accounts.AccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_NOTIFICATIONS = False
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_RATE_LIMITS = MFA_RATE_LIMITS = False  # fleet.sign_in counts, in Redis, for all processes
ACCOUNT_REAUTHENTICATION_TIMEOUT = CONFIRM_MINUTES * 60 or 365 * 86_400
MFA_ADAPTER = "fleet.accounts.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_FORMS = {
    "authenticate": "fleet.accounts.CodeForm",
    "authenticate_webauthn": "fleet.accounts.PasskeyForm",
    "activate_totp": "fleet.accounts.ActivateForm",
    "reauthenticate": "fleet.accounts.CodeAgainForm",
    "reauthenticate_webauthn": "fleet.accounts.PasskeyAgainForm",
}
MFA_TOTP_TOLERANCE = 1  # steps of 30 seconds that a telephone's clock may be off
MFA_TOTP_ISSUER = "Fleet Live Queries"
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_ALLOW_UNVERIFIED_EMAIL = True  # of addresses nothing is verified here
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "ask"
LOGOUT_REDIRECT_URL = "login"
# Carves lie as files of their own in a folder that gateways, workers and consoles share; another storage will do.
CARVES_DIR = env.str("CARVES_DIR", default=str(BASE_DIR / ".carves"))
# The archive of answers, where it is switched on: any Django storage, a folder unless told. For S3: install
# django-storages[s3], ARCHIVE_BACKEND=storages.backends.s3.S3Storage, ARCHIVE_OPTIONS={"bucket_name": "…"}.
ARCHIVE_ANSWERS = env.bool("ARCHIVE_ANSWERS", default=False)
ARCHIVE_BACKEND = env.str("ARCHIVE_BACKEND", default="django.core.files.storage.FileSystemStorage")
ARCHIVE_OPTIONS = env.json(
    "ARCHIVE_OPTIONS",
    default={
        "location": str(BASE_DIR / ".archive"),
        "file_permissions_mode": 0o600,
        "directory_permissions_mode": 0o700,
    },
)
STORAGES = {
    "archive": {"BACKEND": ARCHIVE_BACKEND, "OPTIONS": ARCHIVE_OPTIONS},
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "carves": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": CARVES_DIR, "file_permissions_mode": 0o600, "directory_permissions_mode": 0o700},
    },
}
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = "fleet.formats"
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
# Served from the apps themselves: nothing has to be collected before the first start.
WHITENOISE_USE_FINDERS = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("SECURE_COOKIES", default=True)
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=365 * 86_400)  # said over TLS alone; 0 = not
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", default=False)
# Names below this one are others' (W005), a list that browsers ship is for whole domains (W021), and where there is TLS
# nothing listens without it, or the proxy in front redirects (W008): agents do not follow.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W008", "security.W021"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_TLS_PROXY", default=False) else None
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "fleet.refusals.csrf_failure"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "fleet.text.LogLine", "format": "{asctime} {levelname} {name} {message}", "style": "{"},
        "json": {"()": "fleet.text.LogObject"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "httpx": {"level": "WARNING"},
        # What is refused is no trouble of the server: agents of other servers ask for /version and more, for ever.
        "django.request": {"level": "ERROR"},
        **{name: {"handlers": [], "propagate": True} for name in ("uvicorn", "uvicorn.access", "django.server")},
    },
}

# --- Channels: the doorbell ------------------------------------------------------------------------------------

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "doorbell"},
    }
}

# --- Celery: hints; the work itself is rows --------------------------------------------------------------------


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
    "campaigns.note_worker": "live",
    "campaigns.sweep": "sweeps",
    "campaigns.refresh_online": "sweeps",
    "campaigns.repair_board": "sweeps",
    "campaigns.forget": "sweeps",
    "campaigns.add_late_joiners": "sweeps",
    "campaigns.keep_audit": "sweeps",
    "campaigns.purge": "sweeps",
    "campaigns.end_sessions": "sweeps",
    "campaigns.archive": "live",  # a million rows take seconds, which no end of a campaign may wait for
    "audit.forward": "live",  # a destination may take its time, for which no end of a campaign may wait
    "agents.carry_presence": "sweeps",
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
    "late-joiners": _every(5.0, "campaigns.add_late_joiners"),
    "forget": _every(60.0, "campaigns.forget"),
    "forward-audit": _every(1.0, "audit.forward"),
    "keep-audit": _every(10.0, "campaigns.keep_audit"),
    **({"archive": _every(10.0, "campaigns.archive")} if ARCHIVE_ANSWERS else {}),
    "purge": _every(5.0, "campaigns.purge"),
    "end-sessions": _every(5.0, "campaigns.end_sessions"),
    "housekeep": _every(30.0, "agents.housekeep"),
    "check-carves": _every(10.0, "agents.check_carves"),
}
CELERY_BEAT_MAX_LOOP_INTERVAL = 1

# --- API -------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "fleet.api.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["fleet.api.ModelPermissions"],
    "DEFAULT_THROTTLE_CLASSES": ["campaigns.throttles.PerPersonAndToken"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "fleet.api.Negotiation",
    "DEFAULT_PARSER_CLASSES": ["fleet.api.StrictJson"],
    "DEFAULT_PAGINATION_CLASS": "fleet.api.Pages",
    "DEFAULT_SCHEMA_CLASS": "fleet.openapi.DocumentedParameters",
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
    "SWAGGER_UI_SETTINGS": {"validatorUrl": None},  # it would send the schema to a foreign server
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "StateEnum": "campaigns.states.State",
        "ApprovalStateEnum": "campaigns.launching.models.Approval.State",
    },
}
UNFOLD = {
    "SITE_TITLE": "Fleet Live Queries",
    "SITE_HEADER": "Fleet Live Queries",
    "SITE_URL": "/",
    "SITE_ICON": f"/{STATIC_URL}campaigns/icon.svg",
    "SITE_FAVICONS": [{"rel": "icon", "href": f"/{STATIC_URL}campaigns/icon.svg"}],
    # Font and colours are the console's: its tokens, under Unfold's names.
    "STYLES": [f"/{STATIC_URL}campaigns/tokens.css", f"/{STATIC_URL}campaigns/admin_look.css"],
    "SCRIPTS": [f"/{STATIC_URL}campaigns/admin_theme.js"],
    "THEME": "campaigns.admin.menu.theme",
    "SIDEBAR": {"navigation": "campaigns.admin.menu.groups"},
    "DASHBOARD_CALLBACK": "campaigns.admin.start_page.with_figures",
}
