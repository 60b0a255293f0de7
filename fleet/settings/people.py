"""Who signs in, how, and for how long: passwords, sessions, an OpenID provider, second factors."""

from django.core.exceptions import ImproperlyConfigured

from fleet.settings.environment import env

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
OIDC_ISSUER = env.place("OIDC_ISSUER", default="")  # its address, below which .well-known/openid-configuration lies
OIDC_CLIENT_ID = env.str("OIDC_CLIENT_ID", default="")
OIDC_CLIENT_SECRET = env.str("OIDC_CLIENT_SECRET", default="")
OIDC_NAME = env.str("OIDC_NAME", default="single sign-on")  # on the button
OIDC_SCOPES: list[str] = env.list("OIDC_SCOPES", default=["openid", "profile", "email"])
OIDC_USERNAME_CLAIM = env.str("OIDC_USERNAME_CLAIM", default="preferred_username")
OIDC_GROUPS_CLAIM = env.str("OIDC_GROUPS_CLAIM", default="groups")
OIDC_GROUPS: list[tuple[str, str]] = env.pairs("OIDC_GROUPS")
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
    "add_webauthn": "fleet.accounts.AddPasskeyForm",
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
