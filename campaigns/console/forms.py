"""The console's smaller forms, and the admin's Add page of campaigns. Asking is `ask_form` and `target_form`.

A form gathers; the rules are in the verbs, whose sentences come back beside the fields they are about.
"""

import json
from typing import Any, ClassVar

from django import forms
from django.contrib.auth.models import User
from django.db.models import Q
from django.utils import timezone

from agents.enrolling import config_document
from agents.inventory import kept_sql, labels
from agents.models import EnrollSecret, HostQuerySet, Label, Platform, presence_is_online
from campaigns.answers.target_list import NO, SORTS, YES, TargetFilter
from campaigns.console.access import number_of
from campaigns.console.choices import Named, NamedMany
from campaigns.console.moments import MomentField, by_its_clock
from campaigns.console.order import BY_NAME
from campaigns.console.target_form import TargetForm
from campaigns.launching import rights
from campaigns.launching.launch import Order, launch
from campaigns.models import Campaign, CampaignQuerySet, Query
from campaigns.states import OVER, State, Status
from fleet.errors import BadInputError, FleetError


class HistoryForm(forms.Form):
    """What is looked for among the campaigns."""

    search = forms.CharField(required=False, max_length=200, label="Name or SQL")
    status = forms.ChoiceField(required=False, choices=[("", "any status"), ("open", "open"), *Status.choices])
    by = forms.CharField(required=False, max_length=150, label="Who launched it")
    since = MomentField(days=True, required=False, label=by_its_clock("since"))
    until = MomentField(days=True, ends=True, required=False, label=by_its_clock("until"))

    def narrow(self, found: CampaignQuerySet) -> CampaignQuerySet:
        """Give those that are like this; a field that is wrong narrows nothing. Needs `is_valid()` to have run."""
        given = self.cleaned_data
        if search := given.get("search"):
            named = Q(name__icontains=search) | Q(sql__icontains=search) | Q(pk=number_of(search.lstrip("#")))
            found = found.filter(named)
        if given.get("status") == "open":
            found = found.exclude(status__in=OVER)
        elif given.get("status"):
            found = found.filter(status=given["status"])
        if given.get("by"):
            found = found.filter(created_by__username=given["by"])
        if given.get("since"):
            found = found.filter(created_at__gte=given["since"])
        return found.filter(created_at__lt=given["until"]) if given.get("until") else found


class HostsForm(forms.Form):
    """What is looked for among the hosts."""

    search = forms.CharField(required=False, max_length=200, label="Name, address, UUID or serial")
    platform = forms.ChoiceField(required=False, choices=[("", "any platform"), *Platform.choices])
    label = Named(
        Label.objects.order_by(*BY_NAME),
        required=False,
        to_field_name="name",
        empty_label="any label",
        label="Label",
        error_messages={"invalid_choice": "There is no label %(value)s."},
    )
    online = forms.ChoiceField(required=False, choices=[("", "online or not"), ("yes", "online"), ("no", "offline")])
    doubt = forms.ChoiceField(required=False, choices=[("", "any identity"), ("yes", "in doubt")])
    gone = forms.ChoiceField(required=False, choices=[("", "enrolled"), ("yes", "revoked")])

    def found(self, visible: HostQuerySet, *, gone: bool = False) -> HostQuerySet:
        """Give those of the hosts that are like this; a field that is wrong narrows nothing. After `is_valid()`.

        `gone` = the revoked ones, whatever was asked.
        """
        given = self.cleaned_data
        found = visible.exclude(revoked_at=None) if gone or given.get("gone") else visible.enrolled()
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
    """What is looked for among a campaign's hosts, and in which order they stand."""

    state = forms.ChoiceField(required=False, choices=[("", "any state"), *State.choices])
    search = forms.CharField(required=False, max_length=500, label="Hostname or error")
    online = forms.ChoiceField(
        required=False, choices=[("", "online or not"), (YES, "online now"), (NO, "offline")], label="Online"
    )
    error = forms.RegexField(r"^[0-9a-f]{32}$", required=False)
    order = forms.ChoiceField(required=False, choices=[(way + name, name) for name in SORTS for way in ("", "-")])

    def filter(self) -> TargetFilter:
        """Give what is looked for; a field that is wrong narrows nothing. Needs `is_valid()` to have run."""
        names = ("state", "search", "online", "error")
        return TargetFilter(**{name: self.cleaned_data.get(name, "") for name in names})


class StopForm(forms.Form):
    """Why a campaign is stopped."""

    reason = forms.CharField(required=False, max_length=500, label="Why (kept with the campaign)")


class SecretForm(forms.ModelForm[EnrollSecret]):
    """A new enroll secret; the secret itself is made by the server. `by` is who makes it."""

    by: User
    valid_until = MomentField(required=False, label=by_its_clock("Valid until"))

    class Meta:
        model = EnrollSecret
        field_classes: ClassVar = {"labels": NamedMany}
        fields = ["name", "valid_until", "quota", "labels"]
        widgets = {"labels": forms.CheckboxSelectMultiple}
        labels = {"quota": "Hosts that may enroll with it"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        by_hand = Label.objects.filter(built_in="", queries=None).order_by(*BY_NAME)
        self.fields["labels"].queryset = by_hand  # type: ignore[attr-defined]

    def clean_labels(self) -> Any:
        """Let those choose labels who may change them: hosts that enroll with the secret are put in."""
        chosen = self.cleaned_data["labels"]
        try:
            if chosen:
                labels.check_may_put_in(self.by, "labels", chosen)
        except FleetError as error:
            raise forms.ValidationError(error.sentence) from error
        return chosen


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
        fields = ["name", "sql", "description", "observer_can_run"]
        labels = {"sql": "SQL", "observer_can_run": "Observers may run it, as it stands"}
        help_texts = {"observer_can_run": ""}
        widgets = {"description": forms.Textarea({"rows": 2})}

    def clean_sql(self) -> str:
        """Refuse what a launch would refuse, beside the field."""
        try:
            return kept_sql.check(self.cleaned_data["sql"], self.by, "sql")
        except FleetError as error:
            raise forms.ValidationError(error.sentence) from error

    def clean_observer_can_run(self) -> bool:
        """Let those write what observers run who may launch it themselves."""
        flagged: bool = self.cleaned_data["observer_can_run"]
        was_flagged = bool(self.instance.pk and Query.objects.filter(pk=self.instance.pk, observer_can_run=True))
        try:
            rights.check_flag(self.by, flagged or was_flagged)
        except FleetError as error:
            raise forms.ValidationError(error.sentence) from error
        return flagged


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
