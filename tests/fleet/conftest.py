"""Somebody who signs in with a password."""

import pytest
from django.contrib.auth.models import User

from tests.fleet.signing_in import make_kim


@pytest.fixture
def kim(quick_passwords: None) -> User:
    """Give an administrator with a password."""
    return make_kim()
