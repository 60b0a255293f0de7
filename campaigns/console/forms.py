"""The forms by which people launch: the console's Ask page and the admin's Add page share the fields and the order.

A form gathers; the rules are in `lifecycle.launch`, whose sentences come back beside the fields they are about.
"""

import json
import re
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib.auth.models import User
from django.utils import timezone

from agents.enrolling import config_document
from agents.inventory import kept_sql
from agents.models import EnrollSecret, Host, HostQuerySet, Label, Platform, presence_is_online
from campaigns.launching.launch import DEFAULT_TIMEOUT, LONGEST_TIMEOUT, SHORTEST_TIMEOUT, Order, launch, launch_once
from campaigns.models import Campaign, Query
from campaigns.states import State, Status
from fleet.errors import BadInputError, FleetError

KINDS = [("all", "All hosts"), ("labels", "Labels"), ("platforms", "Platforms"), ("hosts", "Named hosts")]
NOTHING_PICKED = {
    "labels": "Choose at least one label.",
    "platforms": "Choose at least one platform.",
    "hosts": "Name at least one host.",
}
CUSTOM = "custom"
ADVANCED = ("canary", "then", "failed_percent", "start_at", "answer_within", "include_late_joiners", "force")
TIMEOUTS = [
    (60, "1 minute"),
    (300, "5 minutes"),
    (600, "10 minutes"),
    (1_800, "30 minutes"),
    (3_600, "1 hour"),
    (28_800, "8 hours"),
    (86_400, "1 day"),
    (604_800, "7 days"),
]
_BETWEEN_HOSTS = re.compile(r"[\n\r\t,;]+")


class _Names(forms.MultipleChoiceField):
    """Choices whose check is left to the launch: it names an unknown one in its own sentence."""

    def valid_value(self, value: str) -> bool:
        return True


class TargetForm(forms.Form):
    """Who is asked. Nothing is chosen beforehand: asking everybody is a decision."""

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
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="Hostnames, UUIDs, serials or host identifiers, one a line or with commas between. #42 is an id.",
    )
    online = forms.BooleanField(required=False, label="Only hosts that are online now")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = Label.objects.values_list("name", flat=True)
        self.fields["labels"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]

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
        """Split what was typed or pasted into names, and ids behind a #."""
        words = [word.strip() for word in _BETWEEN_HOSTS.split(self.cleaned_data["hosts"])]
        return [int(word[1:]) if re.fullmatch(r"#\d{1,18}", word) else word for word in words if word]

    def refuse(self, error: FleetError) -> None:
        """Put a sentence of the launch beside the field it is about."""
        field = error.field if error.field in self.fields else None
        if error.field == "target":
            field = self.cleaned_data.get("kind", "kind")
        self.add_error("kind" if field == "all" else field, error.sentence)


class AskForm(TargetForm):
    """A launch by the console."""

    sql = forms.CharField(
        label="SQL",
        strip=False,
        widget=forms.Textarea(attrs={"rows": 7, "spellcheck": "false", "autocapitalize": "off", "autofocus": True}),
        error_messages={"required": "The SQL is empty: write what every host shall be asked."},
    )
    timeout = forms.ChoiceField(
        label="Wait for answers",
        choices=[(str(seconds), words) for seconds, words in TIMEOUTS] + [(CUSTOM, "custom…")],
        initial=str(DEFAULT_TIMEOUT),
    )
    seconds = forms.IntegerField(
        required=False,
        label="Seconds",
        widget=forms.NumberInput(attrs={"min": SHORTEST_TIMEOUT, "max": LONGEST_TIMEOUT}),
    )
    name = forms.CharField(required=False, max_length=200, label="Name")
    reason = forms.CharField(required=False, max_length=2_000, label="Reason or ticket")
    start_at = forms.DateTimeField(
        required=False,
        label="Start at (UTC)",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    answer_within = forms.IntegerField(
        required=False, label="Seconds one host may take", widget=forms.NumberInput(attrs={"min": SHORTEST_TIMEOUT})
    )
    canary = forms.IntegerField(
        required=False, min_value=1, label="Hosts to ask first", widget=forms.NumberInput(attrs={"min": 1})
    )
    then = forms.ChoiceField(
        required=False,
        label="And then",
        choices=[("ask", "pause and ask me"), ("auto", "widen by itself, four times as many each step")],
    )
    failed_percent = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=100,
        label="Stop when more percent fail",
        widget=forms.NumberInput(attrs={"min": 0, "max": 100}),
    )
    include_late_joiners = forms.BooleanField(required=False, label="Hosts that enroll or gain the label later join")
    force = forms.BooleanField(
        required=False, label="Ask also hosts whose learned tables and functions speak against the SQL"
    )
    query = forms.ModelChoiceField(Query.objects.all(), required=False, widget=forms.HiddenInput)
    # Tells a second click on Run from a second question.
    page = forms.CharField(
        required=False, max_length=64, initial=lambda: uuid4().hex, widget=forms.HiddenInput({"autocomplete": "off"})
    )

    @property
    def advanced(self) -> list[forms.BoundField]:
        """Give the fields that few launches need."""
        return [self[name] for name in ADVANCED]

    @property
    def advanced_errors(self) -> bool:
        """Say whether one of them is wrong, so that it is shown."""
        return any(name in self.errors for name in ADVANCED)

    def clean(self) -> dict[str, Any]:
        """Ask for the seconds when they are wanted."""
        given = super().clean() or self.cleaned_data
        if given.get("timeout") == CUSTOM and given.get("seconds") is None and "seconds" not in self.errors:
            self.add_error("seconds", f"Give the seconds to wait, {SHORTEST_TIMEOUT} to {LONGEST_TIMEOUT}.")
        return given

    def order(self) -> Order:
        """Give what was asked for."""
        given = self.cleaned_data
        wait = given["seconds"] if given["timeout"] == CUSTOM else int(given["timeout"])
        query: Query | None = given["query"]
        if query is not None and query.sql.strip() != given["sql"].replace("\r\n", "\n").strip():
            query = None  # it was changed since it was picked
        return Order(
            sql=given["sql"].replace("\r\n", "\n"),
            target=self.target(),
            timeout=wait,
            name=given["name"],
            reason=given["reason"],
            query=query,
            start_at=given["start_at"],
            answer_within=given["answer_within"],
            rollout=self._rollout(),
            include_late_joiners=given["include_late_joiners"],
            force=given["force"],
        )

    def _rollout(self) -> dict[str, Any] | None:
        given = self.cleaned_data
        rollout: dict[str, Any] = {}
        if given["canary"] is not None:
            rollout |= {"canary": {"count": given["canary"]}, "then": given["then"] or "ask"}
        if given["failed_percent"] is not None:
            rollout["stop_if"] = {"failed_percent": given["failed_percent"]}
        return rollout or None

    def launch(self, by: User) -> Campaign | None:
        """Launch once for this page and order; None when it was refused, the reasons being in `errors`."""
        if not self.is_valid():
            return None
        order = self.order()
        try:
            return launch_once(order, by, f"console {self.cleaned_data['page']} {order.digest()}")[0]
        except FleetError as error:
            self.refuse(error)
            return None


class HistoryForm(forms.Form):
    """What is looked for among the campaigns."""

    search = forms.CharField(required=False, max_length=200, label="Name or SQL")
    status = forms.ChoiceField(required=False, choices=[("", "any status"), ("open", "open"), *Status.choices])


class HostsForm(forms.Form):
    """What is looked for among the hosts."""

    search = forms.CharField(required=False, max_length=200, label="Name, address, UUID or serial")
    platform = forms.ChoiceField(required=False, choices=[("", "any platform"), *Platform.choices])
    label = forms.ModelChoiceField(
        Label.objects.all(), required=False, to_field_name="name", empty_label="any label", label="Label"
    )
    online = forms.ChoiceField(required=False, choices=[("", "online or not"), ("yes", "online"), ("no", "offline")])
    doubt = forms.ChoiceField(required=False, choices=[("", "any identity"), ("yes", "in doubt")])
    gone = forms.ChoiceField(required=False, choices=[("", "enrolled"), ("yes", "revoked")])

    def found(self) -> HostQuerySet:
        """Give the hosts that are like this; a field that is wrong narrows nothing. Needs `is_valid()` to have run."""
        given = self.cleaned_data
        found = Host.objects.exclude(revoked_at=None) if given.get("gone") else Host.objects.enrolled()
        if search := given.get("search", "").strip():
            found = found.searched(search)
        if given.get("platform"):
            found = found.filter(platform=given["platform"])
        if given.get("label"):
            found = found.filter(labels=given["label"])
        if given.get("doubt"):
            found = found.exclude(in_doubt_since=None)
        if given.get("online"):
            online = presence_is_online(timezone.now(), "presence__")
            found = found.filter(online) if given["online"] == "yes" else found.exclude(online)
        return found


class TargetsForm(forms.Form):
    """What is looked for among a campaign's hosts."""

    state = forms.ChoiceField(required=False, choices=[("", "any state"), *State.choices])
    search = forms.CharField(required=False, max_length=500, label="Hostname or error")


class StopForm(forms.Form):
    """Why a campaign is stopped."""

    reason = forms.CharField(required=False, max_length=500, label="Why (kept with the campaign)")


class SecretForm(forms.ModelForm[EnrollSecret]):
    """A new enroll secret; the secret itself is made by the server."""

    class Meta:
        model = EnrollSecret
        fields = ["name", "valid_until", "quota", "labels"]
        widgets = {
            "valid_until": forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
            "labels": forms.CheckboxSelectMultiple,
        }
        labels = {"valid_until": "Valid until (UTC)", "quota": "Hosts that may enroll with it"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        by_hand = Label.objects.filter(built_in="", queries=None)
        self.fields["labels"].queryset = by_hand  # type: ignore[attr-defined]


class ConfigForm(forms.Form):
    """The config that agents are served, as JSON; checked as agents will."""

    document = forms.CharField(
        strip=False,
        label="Config",
        widget=forms.Textarea(attrs={"rows": 14, "spellcheck": "false", "class": "code"}),
        error_messages={"required": "The config is empty: an object without members is {}."},
    )

    def clean_document(self) -> Any:
        """Read it. Refuse what is no JSON, and what agents would refuse."""
        try:
            document = json.loads(self.cleaned_data["document"])
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"This is no JSON: {error}") from error
        try:
            config_document.check(document)
        except BadInputError as error:
            raise forms.ValidationError(error.sentence) from error
        return document


class SwitchForm(forms.Form):
    """The kill switch; throwing it wants to be confirmed."""

    to = forms.ChoiceField(choices=[("on", "on"), ("off", "off")])
    reason = forms.CharField(required=False, max_length=500, label="Why (shown to whoever launches)")


class QueryForm(forms.ModelForm[Query]):
    """Saved SQL, checked as a launch would."""

    by: User

    class Meta:
        model = Query
        fields = ["name", "sql", "description"]
        labels = {"sql": "SQL"}
        widgets = {"description": forms.Textarea({"rows": 2})}

    def clean_sql(self) -> str:
        """Refuse what a launch would refuse, beside the field."""
        try:
            return kept_sql.check(self.cleaned_data["sql"], self.by, "sql")
        except FleetError as error:
            raise forms.ValidationError(error.sentence) from error


class LaunchForm(TargetForm, forms.ModelForm[Campaign]):
    """A launch by the admin: saving the form is the launch, and what it says against it is the form's errors."""

    by: User

    class Meta:
        model = Campaign
        fields = ["sql", "timeout", "name", "reason"]

    def _post_clean(self) -> None:
        if self.errors:
            return
        given = self.cleaned_data
        order = Order(given["sql"], self.target(), given["timeout"], given["name"], given["reason"])
        try:
            self.instance = launch(order, self.by)
        except FleetError as error:
            self.refuse(error)
