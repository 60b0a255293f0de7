"""How fast and how far a campaign goes, in plain words: a canary, a pace, brakes."""

from typing import Any

from django import forms

from campaigns.console.target_form import HOSTS, UNITS, check_part, plain
from campaigns.launching.rollout import BRAKES, LARGEST


def _number(label: str, **attrs: Any) -> forms.FloatField:
    """Make a field for a limit, 0 or more."""
    most = attrs.get("max", LARGEST)
    return forms.FloatField(
        required=False,
        min_value=0,
        max_value=most,
        label=label,
        widget=forms.NumberInput(attrs={"min": 0, "step": "any", **attrs}),
    )


def _whole(label: str) -> forms.IntegerField:
    widget = forms.NumberInput(attrs={"min": 1})
    return forms.IntegerField(required=False, min_value=1, max_value=2**31 - 1, label=label, widget=widget)


class RolloutForm(forms.Form):
    """A part of the form to ask by; a field that is empty orders nothing."""

    canary = forms.FloatField(
        required=False, label="Ask first", widget=forms.NumberInput(attrs={"min": 0, "step": "any"})
    )
    canary_unit = forms.ChoiceField(required=False, choices=UNITS[::-1], label="Of the canary")
    then = forms.ChoiceField(
        required=False,
        label="When those have answered",
        choices=[("ask", "pause and ask me"), ("auto", "go on by itself, four times as many each step")],
    )
    per_second = _whole("Ask at most this many hosts a second")
    failed_percent = _number("percent of answers are errors", max=100)
    silent_percent = _number("percent of the hosts asked stay silent", max=100)
    median_wall_ms = _number("ms are what the median host takes")
    rows = _number("rows have come in all")
    denylisted = _whole("hosts refuse it, because osquery died running it before")

    @property
    def brakes(self) -> list[forms.BoundField]:
        """Give the fields by which a campaign stops itself."""
        return [self[name] for name in ("failed_percent", "silent_percent", "median_wall_ms", "rows", "denylisted")]

    @staticmethod
    def rollout_as_typed(rollout: dict[str, Any] | None) -> dict[str, Any]:
        """Give what has to be typed to order this rollout."""
        ordered = rollout or {}
        typed = {name: plain(limit) for name, limit in ordered.get("stop_if", {}).items()}
        for unit, number in ordered.get("canary", {}).items():
            typed |= {"canary": plain(number), "canary_unit": unit, "then": ordered.get("then", "ask")}
        if "per_second" in ordered:
            typed["per_second"] = ordered["per_second"]
        return typed

    def clean(self) -> dict[str, Any]:
        """Refuse a canary that is none."""
        given = super().clean() or self.cleaned_data
        self.cleaned_data["canary_unit"] = given.get("canary_unit") or HOSTS
        check_part(self, "canary", "canary_unit")
        return given

    def rollout(self) -> dict[str, Any] | None:
        """Give what was ordered as the API takes it; None = nothing. Needs `is_valid()` to have run."""
        given = self.cleaned_data
        rollout: dict[str, Any] = {}
        if given["canary"] is not None:
            rollout |= {"canary": {given["canary_unit"]: plain(given["canary"])}, "then": given["then"] or "ask"}
        if given["per_second"] is not None:
            rollout["per_second"] = given["per_second"]
        if stop_if := {name: plain(given[name]) for name in BRAKES if given[name] is not None}:
            rollout["stop_if"] = stop_if
        return rollout or None
