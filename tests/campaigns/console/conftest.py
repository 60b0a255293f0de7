"""Browsers in which somebody is logged in."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client


@pytest.fixture
def as_(client: Client) -> Callable[[User], Client]:
    """Give a browser in which this person is logged in."""

    def log_in(user: User) -> Client:
        client.force_login(user)
        return client

    return log_in
