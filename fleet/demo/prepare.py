"""What the demo needs in the database: tables, an administrator, a token, an enroll secret. Safe to run again."""

import os
from pathlib import Path


def prepare(folder: Path) -> None:
    """Migrate, and make the accounts whose secrets lie in `folder`."""
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from knox.settings import CONSTANTS
    from rest_framework.exceptions import AuthenticationFailed

    from agents.models import EnrollSecret
    from campaigns.tokens import ApiToken
    from fleet.api.asking import BearerAuthentication
    from fleet.demo.secrets import read, write

    call_command("migrate", verbosity=0, interactive=False)
    admin, _ = User.objects.get_or_create(username="admin", defaults={"is_staff": True, "is_superuser": True})
    if not admin.check_password(read(folder, "admin-password")):
        admin.set_password(read(folder, "admin-password"))
        admin.save()
    try:
        BearerAuthentication().authenticate_credentials(read(folder, "token").encode())
    except AuthenticationFailed:
        write(folder, "token", ApiToken.objects.create(user=admin, expiry=None, name="demo")[1])
    token_key = read(folder, "token")[: CONSTANTS.TOKEN_KEY_LENGTH]
    ApiToken.objects.filter(token_key=token_key).update(is_throttled=False)
    EnrollSecret.objects.offer("demo", read(folder, "enroll-secret"))


if __name__ == "__main__":
    prepare(Path(os.environ["FLEET_DEMO_SECRETS"]))
