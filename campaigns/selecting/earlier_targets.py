"""The hosts of an earlier campaign: by what became of them there, by the group of their answer, or both."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q

from campaigns.answers.groups import Key, members
from campaigns.models import Campaign, Target
from campaigns.people.roles import LOOK
from campaigns.people.scopes import UNLIMITED, Limits
from campaigns.states import State
from fleet.errors import BadInputError, ForbiddenError


@dataclass(frozen=True)
class Earlier:
    """Hosts of a campaign, checked for shape. None = whatever the state, or the group."""

    campaign_id: int
    states: tuple[str, ...] | None
    group: Key | None

    @classmethod
    def read(cls, value: Any, path: str, id_name: str = "id") -> "Earlier":
        """Read `{"id", "states", "group"}`, with states or group or both. Raise BadInputError; `path` leads there."""
        field = path.partition(".")[0]
        if not isinstance(value, dict):
            raise BadInputError(f"{path} {value!r} is not an object like {{'{id_name}': 1, 'states': […]}}", field)
        for name in value:
            if name not in (id_name, "states", "group"):
                raise BadInputError(
                    f"{path} has an unknown member {name!r}, allowed are {id_name}, states, group", field
                )
        campaign_id = value.get(id_name)
        if isinstance(campaign_id, bool) or not isinstance(campaign_id, int) or not 0 < campaign_id < 2**63:
            raise BadInputError(f"{path}.{id_name} {campaign_id!r} is not the id of a campaign", field)
        if "states" not in value and "group" not in value:
            raise BadInputError(f"{path} selects nobody: give states or group", field)
        states = states_in(value["states"], f"{path}.states") if "states" in value else None
        return cls(campaign_id, states, _group(value["group"], field) if "group" in value else None)

    def check_rights(self, by: User, path: str) -> None:
        """Raise ForbiddenError for a campaign, be there one or not, that this person may not look at.

        Raise BadInputError for one of which he sees no host, as for one that there is not.
        """
        if not Campaign.objects.shows(self.campaign_id, by):
            raise ForbiddenError(
                f"campaign {self.campaign_id} was not launched by you: meaning its hosts needs {LOOK}",
                path.partition(".")[0],
            )
        if not Campaign.objects.visible_to(by).filter(pk=self.campaign_id).exists():
            raise BadInputError(f"unknown campaign: {self.campaign_id}", path.partition(".")[0])

    def check(self, path: str, limits: Limits) -> None:
        """Raise BadInputError when there is no such campaign, or nobody within these limits is in such a group of it.

        Keys of other campaigns, and of rows that no host has, are well written as well.
        """
        field = path.partition(".")[0]
        if not Campaign.objects.filter(pk=self.campaign_id).exists():
            raise BadInputError(f"unknown campaign: {self.campaign_id}", field)
        if self.group is not None and not members(self.campaign_id, self.group, limits).exists():
            raise BadInputError(f"{str(self.group)!r} is no group of the answers of campaign {self.campaign_id}", field)

    def hosts(self) -> Q:
        """Give the condition that holds for the ids of these hosts; whoever selects narrows to his scope."""
        chosen = Q()
        if self.states is not None:
            targets = Target.objects.filter(campaign_id=self.campaign_id, state__in=self.states)
            chosen &= Q(pk__in=targets.values("host_id"))
        if self.group is not None:
            chosen &= Q(pk__in=members(self.campaign_id, self.group, UNLIMITED).order_by().values("host_id"))
        return chosen


def states_in(value: Any, path: str) -> tuple[str, ...]:
    """Read a list of states. Raise BadInputError naming one that is unknown."""
    field = path.partition(".")[0]
    if not isinstance(value, list):
        raise BadInputError(f"{path} {value!r} is not a list", field)
    for state in value:
        if state not in State.values:
            raise BadInputError(f"{path} has {state!r}, allowed are {', '.join(State.values)}", field)
    return tuple(value)


def _group(value: Any, field: str) -> Key:
    if not isinstance(value, str):
        raise BadInputError(f"group {value!r} is not a key that groups/ gave", field)
    try:
        return Key.read(value)
    except BadInputError as error:
        raise BadInputError(error.sentence, field) from error
