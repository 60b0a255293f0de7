"""Secrets, addresses, and what lies at them: PostgreSQL, Redis, and the doorbell through it."""

import secrets
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured

from fleet.settings.environment import address, env

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
PUBLIC_URL = env.place("PUBLIC_URL", default="")  # origin in links of the API, "" = that of the request

# Proxies whose X-Forwarded-For is believed: addresses, or networks like 10.0.0.0/8.
TRUSTED_PROXIES: list[str] = env.list("TRUSTED_PROXIES", default=[])

# The password may be in the address, or apart from it.
DATABASE_URL = address("DATABASE_URL", "DATABASE_PASSWORD", default="postgres:///fleet")
REDIS_URL = address("REDIS_URL", "REDIS_PASSWORD", default="redis://127.0.0.1:6379/0")

_database = env.db_url_config(DATABASE_URL)
_database["ENGINE"] = "fleet.database"
# A unix socket's folder stands in the host's place, percent-encoded, as in libpq's own addresses.
_database["HOST"] = unquote(_database.get("HOST") or "")
_database["OPTIONS"] = {
    **_database.get("OPTIONS", {}),
    "application_name": "fleet-live-queries",
    "options": "-c lock_timeout=10s",
}
DATABASES = {"default": _database}

DOORBELL_PREFIX = "doorbell"
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": DOORBELL_PREFIX},
    }
}
