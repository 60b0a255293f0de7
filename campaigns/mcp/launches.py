"""Launching by a tool: as the API launches, over many hosts never without some that go first."""

import dataclasses

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from campaigns.launching import launch
from campaigns.launching.rollout import Rollout
from campaigns.models import Campaign
from campaigns.people import scopes
from campaigns.selecting.selection import Selection
from fleet.counting import counted, plural
from fleet.errors import BadInputError, ConflictError


def launched(order: launch.Order, by: User) -> tuple[Campaign, list[str]]:
    """Launch, with a canary where more hosts than MCP_CANARY_ABOVE are meant; give what is to be told of that too.

    What begins later, or takes hosts in that join, always has one: how many they will be is not known yet.
    """
    most = max(1, settings.MCP_CANARY_ABOVE)
    hosts = None if order.start_at is not None or order.include_late_joiners else _count(order, by)
    rollout = Rollout.read(order.rollout)
    if rollout is not None and rollout.has_canary:
        _check_canary(rollout, hosts, most)
        return launch.launch(order, by), []
    if hosts is not None and hosts <= most:
        return _launched_over_few(order, by, most), []
    with_canary = {"then": "ask", **(order.rollout or {}), "canary": {"count": most}}
    campaign = launch.launch(dataclasses.replace(order, rollout=with_canary), by)
    then = "others follow once they answered" if with_canary["then"] == "auto" else "then a person widens or stops it"
    sentence = (
        f"a canary was added, since over more than {counted(most, 'host')} (MCP_CANARY_ABOVE) tools launch only so"
    )
    return campaign, [f"{sentence}: {counted(most, 'host')} {plural(most, 'is', 'are')} asked first, {then}"]


def _count(order: launch.Order, by: User) -> int:
    """Count who is meant now. Raise BadInputError or ForbiddenError as the launch would."""
    selection = Selection.read(order.target, scopes.limits_of(by))
    selection.check_rights(by)
    return int(selection.hosts(timezone.now()).count())


def _check_canary(rollout: Rollout, hosts: int | None, most: int) -> None:
    """Raise BadInputError when so many go first that some would have to go before them. None = not known how many."""
    if hosts is None and rollout.canary_count is None:
        raise BadInputError(f"rollout.canary needs a count, {most} at most, where hosts may still join", "rollout")
    first = rollout.canary_count if hosts is None else rollout.canary_of(hosts)
    if first is not None and first > most:
        sentence = f"rollout.canary means {counted(first, 'host')}: tools ask {most} first at most (MCP_CANARY_ABOVE)"
        raise BadInputError(sentence, "rollout")


def _launched_over_few(order: launch.Order, by: User, most: int) -> Campaign:
    """Launch over as few as were counted a moment ago. Raise ConflictError, and launch nothing, when more are meant."""
    with transaction.atomic():
        campaign = launch.launch(order, by)
        if campaign.expected > most:
            raise ConflictError(
                f"target means {counted(campaign.expected, 'host')} now, {most} at most before: launch again"
            )
    return campaign
