"""Somebody who signs in with a password."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.fleet.signing_in import make_kim


@pytest.fixture
def quick_passwords(settings: Any) -> None:
    """Keep passwords in a form that costs no time to check."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def kim(quick_passwords: None) -> User:
    """Give an administrator with a password."""
    return make_kim()
