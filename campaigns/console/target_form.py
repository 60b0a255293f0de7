"""Who is asked, as people choose it: the fields, and the way from a selection back to the fields.

`TargetForm` is what every launch by hand has; `FullTargetForm` says all that a selection can say but one: a mixture of
kinds is kept as it is and shown in words.
"""

import json
import re
from typing import Any

from django import forms
from django.contrib.auth.models import User

from agents.models import Label, Platform
from campaigns.answers.groups import Key
from campaigns.console import picks, wording
from campaigns.console.order import BY_NAME
from campaigns.people import scopes
from campaigns.selecting.selection import SELECTORS, Selection
from campaigns.states import State
from fleet.errors import BadInputError, FleetError

KINDS = [("all", "All hosts"), ("labels", "Labels"), ("platforms", "Platforms"), ("hosts", "Named hosts")]
OF_CAMPAIGN, KEPT = "campaign", "kept"
NOTHING_PICKED = {
    "labels": "Choose at least one label.",
    "platforms": "Choose at least one platform.",
    "hosts": "Name at least one host.",
}
# The field beside which a sentence about the target of this kind stands; others are called like their kind.
FIELD_OF_KIND = {"all": "kind", KEPT: "kind", OF_CAMPAIGN: "earlier"}
PERCENT, HOSTS = "percent", "count"
UNITS = [(PERCENT, "percent"), (HOSTS, "hosts")]
_BETWEEN_HOSTS = re.compile(r"[\n\r\t,;]+")


class _Names(forms.MultipleChoiceField):
    """Choices whose check is left to the launch: it names an unknown one in its own sentence."""

    def valid_value(self, value: str) -> bool:
        """Take any choice."""
        return True


class TargetForm(forms.Form):
    """Who is asked, by whom. Nothing is chosen beforehand: asking everybody is a decision."""

    by: User

    kind = forms.ChoiceField(
        choices=KINDS,
        widget=forms.RadioSelect,
        label="Ask",
        error_messages={"required": "Choose who to ask: all hosts, labels, platforms or named hosts."},
    )
    labels = _Names(required=False, widget=forms.CheckboxSelectMultiple)
    platforms = _Names(required=False, widget=forms.CheckboxSelectMultiple, choices=Platform.choices)
    hosts = forms.CharField(
        required=False,
        label="Hosts",
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "autocapitalize": "off"}),
        help_text="Hostnames, UUIDs, serials or host identifiers, one a line or with commas between. #42 is an id.",
    )
    online = forms.BooleanField(required=False, label="Only hosts that are online now")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["labels"].choices = self.label_choices()  # type: ignore[attr-defined]

    def label_choices(self) -> list[tuple[str, str]]:
        """Give every label; who shows them otherwise gives none."""
        return [(name, name) for name in Label.objects.order_by(*BY_NAME).values_list("name", flat=True)]

    def target(self) -> dict[str, Any]:
        """Give the selection as the API takes it; {} while no kind is chosen. Needs `is_valid()` to have run."""
        given = self.cleaned_data
        kind = given.get("kind")
        if kind is None:
            return {}
        target: dict[str, Any] = {"all": True} if kind == "all" else {kind: given.get(kind, [])}
        if kind == "labels" and given.get("platforms"):
            target["platforms"] = given["platforms"]
        if given.get("online"):
            target["online"] = True
        return target

    def clean(self) -> dict[str, Any]:
        """Ask for what the chosen kind needs."""
        given = super().clean() or self.cleaned_data
        kind = given.get("kind")
        if kind in NOTHING_PICKED and not given.get(kind) and kind not in self.errors:
            self.add_error(kind, NOTHING_PICKED[kind])
        return given

    def clean_hosts(self) -> list[int | str]:
        """Split what was typed or pasted into names, and ids behind a #; each once."""
        words = [word.strip() for word in _BETWEEN_HOSTS.split(self.cleaned_data["hosts"])]
        hosts = [int(word[1:]) if re.fullmatch(r"#[1-9]\d{0,17}", word) else word for word in words if word]
        return list(dict.fromkeys(hosts))

    def refuse(self, error: FleetError) -> None:
        """Put a sentence of the launch beside the field it is about."""
        field = error.field if error.field in self.fields else None
        if error.field == "target":
            kind = self.cleaned_data.get("kind", "kind")
            field = FIELD_OF_KIND.get(kind, kind)
        self.add_error(field, error.sentence)


class FullTargetForm(TargetForm):
    """Who is asked, with all that a selection can say."""

    kind = forms.ChoiceField(
        choices=[*KINDS, (OF_CAMPAIGN, "Hosts of a campaign"), (KEPT, "As it was")],
        widget=forms.RadioSelect,
        label="Ask",
        error_messages={"required": "Choose who to ask: all hosts, labels, platforms, named hosts or a campaign's."},
    )
    more_labels = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))
    earlier = forms.IntegerField(
        required=False, min_value=1, max_value=2**63 - 1, label="Campaign", widget=forms.NumberInput(attrs={"min": 1})
    )
    states = _Names(required=False, widget=forms.CheckboxSelectMultiple, choices=State.choices)
    group = forms.CharField(required=False)
    exclude_labels = _Names(required=False, widget=forms.CheckboxSelectMultiple)
    more_exclude_labels = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))
    sample = forms.FloatField(
        required=False, label="Only a sample", widget=forms.NumberInput(attrs={"min": 0, "step": "any"})
    )
    sample_unit = forms.ChoiceField(required=False, choices=UNITS, label="Of the sample")
    kept = forms.CharField(required=False, widget=forms.HiddenInput)

    def label_choices(self) -> list[tuple[str, str]]:
        """Give none: `label_boxes` are those that are chosen and the first of the others, however many there are."""
        return []

    @classmethod
    def as_typed(cls, target: dict[str, Any]) -> dict[str, Any]:
        """Give what has to be typed to mean this selection; a mixture of kinds is kept as it is."""
        meant = {name: value for name, value in target.items() if value is not False}
        typed = _filters_as_typed(meant) | _kind_as_typed(meant)
        form = FullTargetForm(typed)
        if form.is_valid() and form.target() == meant:
            return typed
        selectors = {name: meant[name] for name in SELECTORS if name in meant}
        return _filters_as_typed(meant) | {"kind": KEPT, "kept": json.dumps(selectors)}

    @property
    def kinds(self) -> list[Any]:
        """Give the kinds to choose from; what was kept only where something was."""
        return [radio for radio in self["kind"] if radio.data["value"] != KEPT or self["kept"].value()]

    @property
    def kept_in_words(self) -> str:
        """Say whom the kept selection means; "" = none is kept."""
        kept = self._read_kept(self["kept"].value() or "")
        return wording.target_in_words(kept) if kept else ""

    @property
    def group_in_words(self) -> str:
        """Say by what the group of answers is made."""
        try:
            by = Key.read(str(self["group"].value() or "")).by
        except BadInputError:
            return "which is none"
        return f"made by {', '.join(by)}" if by else "made by whole answers"

    @property
    def label_boxes(self) -> picks.Boxes:
        """Give the labels to choose from."""
        return picks.labels(self.by, picked=self["labels"].value() or ())

    @property
    def excluded_boxes(self) -> picks.Boxes:
        """Give the labels whose hosts may be left out."""
        return picks.labels(self.by, picked=self["exclude_labels"].value() or ())

    @property
    def platform_boxes(self) -> list[picks.Box]:
        """Give the platforms with how many hosts they have."""
        return picks.platforms(scopes.hosts_for(self.by), self["platforms"].value() or ())

    @property
    def is_narrowed(self) -> bool:
        """Say whether labels are left out or a sample is taken, so that it is shown."""
        return any(self[name].value() or self[name].errors for name in ("exclude_labels", "sample"))

    def clean_more_labels(self) -> str:
        """Join names that were typed to those that were ticked."""
        return self._join("labels", "more_labels")

    def clean_more_exclude_labels(self) -> str:
        """Join names that were typed to those that were ticked."""
        return self._join("exclude_labels", "more_exclude_labels")

    def _join(self, field: str, more: str) -> str:
        typed: str = self.cleaned_data[more]
        names = [name.strip() for name in typed.splitlines() if name.strip()]
        self.cleaned_data[field] = list(dict.fromkeys([*self.cleaned_data.get(field, []), *names]))
        return typed

    def clean_kept(self) -> dict[str, Any] | None:
        """Read what was kept; the launch checks it as it checks any target."""
        return self._read_kept(self.cleaned_data["kept"])

    def clean(self) -> dict[str, Any]:
        """Ask for what an earlier campaign's hosts, what was kept, and a sample need."""
        given = super().clean()
        if given.get("kind") == OF_CAMPAIGN and "earlier" not in self.errors:
            if not given.get("earlier"):
                self.add_error("earlier", "Give the number of the campaign whose hosts are meant.")
            elif not given.get("states") and not given.get("group"):
                self.add_error("earlier", "Choose at least one state that its hosts ended in.")
        if given.get("kind") == KEPT and not given.get("kept"):
            self.add_error("kind", "What was kept of the earlier selection cannot be read: choose who is asked.")
        check_part(self, "sample", "sample_unit")
        return given

    def target(self) -> dict[str, Any]:
        """Give the selection as the API takes it; {} while no kind is chosen."""
        given = self.cleaned_data
        target = super().target()
        if not target:
            return target
        if given["kind"] == OF_CAMPAIGN:
            target[OF_CAMPAIGN] = self._earlier()
        if given["kind"] == KEPT:
            target = (given.get("kept") or {}) | ({"online": True} if given.get("online") else {})
        if given.get("exclude_labels"):
            target["exclude_labels"] = given["exclude_labels"]
        if given.get("sample") is not None:
            target["sample"] = {given.get("sample_unit") or PERCENT: plain(given["sample"])}
        return target

    def _earlier(self) -> dict[str, Any]:
        given = self.cleaned_data
        earlier = {"id": given.get("earlier"), "states": given.get("states"), "group": given.get("group")}
        return {name: value for name, value in earlier.items() if value} if earlier["id"] else {}

    @staticmethod
    def _read_kept(text: str) -> dict[str, Any] | None:
        try:
            kept = json.loads(text)
            Selection.read(kept, scopes.UNLIMITED)
        except (ValueError, RecursionError, BadInputError):
            return None
        return kept if kept.keys() <= set(SELECTORS) else None


def _kind_as_typed(target: dict[str, Any]) -> dict[str, Any]:
    chosen = [name for name in SELECTORS if name in target]
    if chosen == ["labels", "platforms"]:
        return {"kind": "labels", "labels": target["labels"], "platforms": target["platforms"]}
    if len(chosen) != 1:
        return {}
    kind = chosen[0]
    if kind == OF_CAMPAIGN:
        earlier = target[OF_CAMPAIGN]
        named = {"earlier": earlier.get("id"), "states": earlier.get("states", []), "group": earlier.get("group", "")}
        return {"kind": kind, **named}
    if kind == "hosts":
        lines = [f"#{host}" if isinstance(host, int) else host for host in target["hosts"]]
        return {"kind": kind, "hosts": "\n".join(lines) + "\n"}
    return {"kind": kind} if kind == "all" else {"kind": kind, kind: target[kind]}


def _filters_as_typed(target: dict[str, Any]) -> dict[str, Any]:
    typed: dict[str, Any] = {}
    if target.get("online"):
        typed["online"] = True
    if target.get("exclude_labels"):
        typed["exclude_labels"] = target["exclude_labels"]
    for unit, number in target.get("sample", {}).items():
        typed |= {"sample": plain(number), "sample_unit": unit}
    return typed


def plain(number: float) -> float | int:
    """Give 5 for 5.0, as people write it."""
    return int(number) if number == int(number) else number


def check_part(form: forms.Form, field: str, unit: str) -> None:
    """Refuse a part of the hosts that is none: 0, 150 percent, half a host."""
    number = form.cleaned_data.get(field)
    if number is None or field in form.errors:
        return
    in_percent = (form.cleaned_data.get(unit) or UNITS[0][0]) == PERCENT
    if in_percent and not 0 < number <= 100:
        form.add_error(field, f"{plain(number)} percent is not above 0, up to 100.")
    if not in_percent and not (1 <= number < 2**53 and number == int(number)):
        form.add_error(field, f"{plain(number)} is not a number of hosts, 1 or more.")
