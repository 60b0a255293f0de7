"""What the page to ask from begins with: what its address names, as far as there is such a thing for who looks.

Addresses are kept and sent on, so what they name may be gone. That is said, and never leaves more hosts meant than they
name: then nobody is chosen.
"""

from typing import Any

from django.contrib.auth.models import User
from django.http import QueryDict

from agents.models import Label
from campaigns.answers import sight
from campaigns.answers.groups import Key
from campaigns.console.access import number_of
from campaigns.console.ask_form import AskForm
from campaigns.console.asked_before import saved_queries
from campaigns.console.target_form import OF_CAMPAIGN
from campaigns.models import Campaign
from campaigns.people import scopes
from campaigns.people.roles import SEE_HOSTS
from campaigns.states import State
from fleet.errors import BadInputError

NOBODY: dict[str, Any] = {"kind": ""}
GONE_NAMED = 5  # hosts that are gone, in a sentence
NUMBER_SHOWN = 20  # characters of what should be one


class Beginning:
    """Take over what an address names: an earlier campaign with its target, a query, SQL, a label, hosts."""

    def __init__(self, asked: QueryDict, by: User) -> None:
        self._asked = asked
        self._by = by
        self.not_taken: list[str] = []

    def as_typed(self) -> dict[str, Any]:
        """Give what the form holds at first; what the address names and cannot be taken is in `not_taken`."""
        begin: dict[str, Any] = {}
        earlier = self._found("campaign", Campaign.objects.visible_to(self._by), "campaign")
        if earlier is not None:
            begin = AskForm.again(sight.seen_by(earlier, self._by))
        query = self._found("query", saved_queries(self._by), "saved query", "ask")
        if query is not None:
            begin |= {"sql": query.sql, "name": query.name, "query": query.pk}
        if text := self._asked.get("sql", "").replace("\0", ""):
            begin |= {"sql": text, "query": None}
        return begin | self._whom()

    def _found(self, name: str, there: Any, word: str, may: str = "look at") -> Any:
        text = self._asked.get(name, "")
        found = there.filter(pk=number_of(text)).first() if text else None
        if text and found is None:
            self.not_taken.append(f"There is no {word} {text[:NUMBER_SHOWN]} that you may {may}.")
        return found

    def _whom(self) -> dict[str, Any]:
        if self._asked.get("label"):
            label = self._found("label", Label.objects.all(), "label")
            return NOBODY if label is None else {"kind": "labels", "labels": [label.name]}
        if self._asked.getlist("host"):
            return self._hosts(self._asked.getlist("host"))
        return self._part_of_earlier() if {"group", "states"} & self._asked.keys() else {}

    def _hosts(self, named: list[str]) -> dict[str, Any]:
        visible = scopes.hosts_for(self._by).enrolled()
        hosts = visible.filter(pk__in=map(number_of, named)) if self._by.has_perm(SEE_HOSTS) else visible.none()
        ids = list(hosts.order_by("pk").values_list("pk", flat=True))
        gone = [text[:NUMBER_SHOWN] for text in dict.fromkeys(named) if number_of(text) not in ids]
        for text in gone[:GONE_NAMED]:
            self.not_taken.append(f"There is no enrolled host {text} that you may look at.")
        if len(gone) > GONE_NAMED:
            self.not_taken.append(f"Nor are there {len(gone) - GONE_NAMED} more of the hosts that the address names.")
        return {"kind": "hosts", "hosts": "".join(f"#{pk}\n" for pk in ids)} if ids else NOBODY

    def _part_of_earlier(self) -> dict[str, Any]:
        """Mean the hosts of a campaign that ended in some states, or that are in one group of its answers."""
        earlier = self._found("of", Campaign.objects.visible_to(self._by), "campaign")
        if earlier is None:
            return NOBODY
        states = [state for state in self._asked.getlist("states") if state in State.values]
        if states:
            return {"kind": OF_CAMPAIGN, "earlier": earlier.pk, "states": states, "group": ""}
        try:
            key = str(Key.read(self._asked.get("group", "")))
        except BadInputError:
            self.not_taken.append(f"The address names no state and no group of answers of campaign {earlier.pk}.")
            return NOBODY
        return {"kind": OF_CAMPAIGN, "earlier": earlier.pk, "states": [], "group": key}
