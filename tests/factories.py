"""Make what a test needs; every argument changes one field of something plausible."""

from itertools import count
from typing import Any

from django.contrib.auth.models import User

from agents.models import Host, Label, LabelMembership
from campaigns.lifecycle import Order, launch
from campaigns.models import Campaign
from campaigns.targeting import write_range

_numbers = count(1)


def make_host(**changes: Any) -> Host:
    """Give an enrolled Linux host."""
    number = next(_numbers)
    facts = {"host_identifier": f"uuid-{number}", "hostname": f"host-{number}", "platform": "linux", **changes}
    return Host.objects.create(**facts)


def make_hosts(many: int, **changes: Any) -> list[Host]:
    """Give several."""
    return [make_host(**changes) for _ in range(many)]


def make_label(name: str, *hosts: Host) -> Label:
    """Give a label with these members."""
    label = Label.objects.create(name=name)
    LabelMembership.objects.bulk_create(LabelMembership(label=label, host=host) for host in hosts)
    return label


def make_user(name: str = "", *, admin: bool = False) -> User:
    """Give a user without any permission, or one with all."""
    name = name or f"user-{next(_numbers)}"
    return User.objects.create_superuser(name) if admin else User.objects.create_user(name)


def make_campaign(*hosts: Host, by: User | None = None, **order: Any) -> Campaign:
    """Launch over these hosts and write the ranges, as the worker would; give the running campaign."""
    asked = {"sql": "SELECT 1", "target": {"hosts": [host.pk for host in hosts]}, "timeout": 60, **order}
    campaign = launch(Order(**asked), by or make_user(admin=True))
    for number in list(campaign.ranges.values_list("number", flat=True)):
        write_range(campaign.pk, number)
    campaign.refresh_from_db()
    return campaign
