"""Ask again: a new campaign over the hosts of an ended one that came to nothing, with the same SQL."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from campaigns.answers import sight
from campaigns.launching.launch import Order, launch
from campaigns.models import Campaign, Target
from campaigns.people.roles import LOOK
from campaigns.selecting.earlier_targets import states_in
from campaigns.selecting.selection import MOST_HOSTS
from campaigns.states import FINAL_STATES, State
from fleet.audit import note
from fleet.counting import plural
from fleet.errors import BadInputError, ConflictError, ForbiddenError


def rerun(parent: Campaign, states: Sequence[str], by: User) -> Campaign:
    """Launch a campaign's SQL over its hosts in these final states. Raise ConflictError while it has not ended.

    Its rollout holds again, canary and brakes: what was held back is as many hosts as ever. Nobody joins late, since
    the hosts are those that were.
    What the launch itself refuses is refused here too: nobody in these states, a quota, a missing permission. Raise
    ForbiddenError when this person may not look at the campaign: its SQL would be asked unseen.
    """
    _check_sight(parent, by)
    seen = sight.seen_by(parent, by)
    chosen = _checked(seen, list(states))
    asks_denylisted = State.DENYLISTED in chosen and seen.count_denylisted > 0
    return _launch(parent, {"campaign": {"id": parent.pk, "states": chosen}}, by, asks_denylisted=asks_denylisted)


def rerun_hosts(parent: Campaign, targets: "QuerySet[Target]", by: User) -> Campaign:
    """Launch a campaign's SQL over some of its hosts, each chosen by itself. Raise as `rerun` does.

    They are named one by one, so they are no more than a target may name; revoked ones are left out.
    """
    _check_sight(parent, by)
    _check_over(parent)
    enrolled = targets.filter(host__revoked_at=None).order_by("host_id")
    ids = list(enrolled.values_list("host_id", flat=True)[: MOST_HOSTS + 1])
    if not ids:
        raise BadInputError("no host is chosen, or none of those is enrolled any more: choose one or more", "hosts")
    if len(ids) > MOST_HOSTS:
        raise BadInputError(
            f"more than {MOST_HOSTS:,} hosts are chosen, allowed are {MOST_HOSTS:,}: narrow the list, choose by state"
            " alone, or label them and ask the label",
            "hosts",
        )
    asks_denylisted = targets.filter(state=State.DENYLISTED).exists()
    return _launch(parent, {"hosts": ids}, by, asks_denylisted=asks_denylisted)


def _launch(parent: Campaign, target: dict[str, Any], by: User, *, asks_denylisted: bool) -> Campaign:
    order = Order(
        sql=parent.sql,
        target=target,
        timeout=parent.timeout,
        answer_within=parent.answer_within,
        rollout=parent.rollout,
        name=parent.name,
        reason=parent.reason,
        query=parent.query,
        force=parent.is_forced,
    )
    with transaction.atomic():
        campaign = launch(order, by)
        campaign.parent = parent
        if asks_denylisted:
            campaign.warnings = [*campaign.warnings, _of_denylisted(sight.seen_by(parent, by).count_denylisted)]
        campaign.save(update_fields=["parent", "warnings"])
        note("campaign.rerun", by=by, subject=f"campaign {parent.pk}", of=target, as_campaign=campaign.pk)
    return campaign


def _check_sight(parent: Campaign, by: User) -> None:
    if not Campaign.objects.visible_to(by).filter(pk=parent.pk).exists():
        raise ForbiddenError(f"campaign {parent.pk} was not launched by you: rerunning it needs {LOOK}")


def _check_over(parent: Campaign) -> None:
    if not parent.is_over:
        raise ConflictError(f"campaign {parent.pk} is {parent.status}: it can be rerun when it has ended")


def _checked(parent: Campaign, states: list[str]) -> list[str]:
    chosen = list(dict.fromkeys(states_in(states, "states")))
    if open_ := [state for state in chosen if state not in FINAL_STATES]:
        allowed = ", ".join(FINAL_STATES)
        raise BadInputError(f"states has {open_[0]!r}, which is not final, allowed are {allowed}", "states")
    _check_over(parent)
    if not chosen:
        raise BadInputError("states is empty: it selects nobody", "states")
    if not any(parent.counts[state] for state in chosen):
        raise BadInputError(f"no host of campaign {parent.pk} is {' or '.join(chosen)}", "states")
    return chosen


def _of_denylisted(hosts: int) -> str:
    refuse = plural(hosts, "refuses", "refuse")
    return (
        f"{hosts} of these hosts {refuse} this exact SQL for a day after it died there (denylisted) and"
        " will do so again: to ask them, once it is safe there, launch it with altered text; a comment is enough"
    )
