"""Django: its apps and middleware, its templates, the pages and how browsers are spoken to."""

from fleet.settings.environment import env

INSTALLED_APPS = [
    "campaigns.console",  # for its templates, filters and static files alone; some stand for those of the next ones
    "unfold",
    "django.contrib.admin.apps.SimpleAdminConfig",  # its pages are loaded with the addresses: workers have none
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
    "fleet.allauth_sessions.SessionsConfig",
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
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "fleet.middleware.CommonForPeople",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "fleet.audit.requests.Served",
    "fleet.audit.refusing.NotedRefusals",
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
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = "fleet.formats"
STATIC_URL = "static/"
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

UNFOLD = {
    "SITE_TITLE": "Fleet Live Queries",
    "SITE_HEADER": "Fleet Live Queries",
    "SITE_URL": "/",
    "SITE_ICON": f"/{STATIC_URL}campaigns/icon.svg",
    "SITE_FAVICONS": [{"rel": "icon", "href": f"/{STATIC_URL}campaigns/icon.svg"}],
    # Font and colours are the console's: its tokens, under Unfold's names.
    "STYLES": [f"/{STATIC_URL}campaigns/tokens.css", f"/{STATIC_URL}campaigns/admin_look.css"],
    "SCRIPTS": [f"/{STATIC_URL}campaigns/admin_theme.js"],
    "COLORS": "campaigns.admin.menu.no_colors",
    "THEME": "campaigns.admin.menu.theme",
    "SIDEBAR": {"navigation": "campaigns.admin.menu.groups"},
    "DASHBOARD_CALLBACK": "campaigns.admin.start_page.with_figures",
}
