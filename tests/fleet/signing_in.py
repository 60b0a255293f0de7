"""Somebody with a password, and whether a browser is signed in."""

from django.contrib.auth.models import User
from django.test import Client

from tests.factories import make_user

PASSWORD = "a long one for tests"


def make_kim() -> User:
    """Make an administrator with the password, kept as the settings say."""
    kim = make_user("kim", admin=True)
    kim.set_password(PASSWORD)
    kim.save()
    return kim


def is_in(client: Client) -> bool:
    """Say whether somebody is signed in with this browser, with all that is asked of him."""
    return client.get("/account/").status_code == 200
