"""A receiver of hooks, and what a messenger does."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from campaigns.hooks import keeping, sending, telling
from campaigns.hooks.models import Hook
from tests.campaigns.hooks.receiver import Receiver, receiver
from tests.factories import make_person

RIGHTS = ("campaigns.add_hook", "campaigns.view_campaign", "campaigns.add_campaign")


@pytest.fixture
def there(settings: Any) -> Iterator[Receiver]:
    """Give a receiver on this machine, which hooks may reach."""
    settings.HOOKS_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    settings.PUBLIC_URL = "https://fleet.example"
    with receiver() as made:
        yield made


@pytest.fixture
def owner(db: None) -> User:
    """Give a person who may have hooks."""
    return make_person(*RIGHTS)


@pytest.fixture
def make_hook(there: Receiver, owner: User) -> Callable[..., Hook]:
    """Make hooks of the receiver."""

    def make(by: User | None = None, **changes: Any) -> Hook:
        return keeping.make(Hook(**{"name": "pager", "address": there.address, **changes}), by or owner)

    return make


@pytest.fixture
def deliver(db: None) -> Callable[[], None]:
    """Tell what happened and send what is due, once for each hook, as beat and the messenger do."""

    def run() -> None:
        Hook.objects.update(held_until=None)  # the tasks of the step before this one are done
        telling.step()
        for hook in Hook.objects.filter(held_until__gt=timezone.now()):
            sending.send(hook.pk, hook.lease)

    return run
