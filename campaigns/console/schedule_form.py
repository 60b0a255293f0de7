"""The form of a schedule: when, in words or by a crontab, said back with its next runs; over whom; what is kept."""

from datetime import datetime, time
from typing import Any

from django import forms
from django.utils import timezone

from agents.models import Label
from campaigns.console.choices import NamedMany
from campaigns.console.order import BY_NAME
from campaigns.console.zones import ZoneField
from campaigns.recurring import times
from campaigns.recurring.models import Schedule
from fleet.errors import FleetError

UNITS = ((1, "minutes"), (60, "hours"), (1_440, "days"))
EVERY, DAILY, WEEKLY, CRONTAB = "every", "daily", "weekly", "crontab"
HOW = ((EVERY, "every"), (DAILY, "every day at"), (WEEKLY, "on some days, at"), (CRONTAB, "by a crontab of your own"))
DAYS = ((1, "Mon"), (2, "Tue"), (3, "Wed"), (4, "Thu"), (5, "Fri"), (6, "Sat"), (7, "Sun"))
WORKING_DAYS = [1, 2, 3, 4, 5]
MORNING = time(9)
ALL, LABELLED, AS_IT_IS = "all", "labels", "kept"
RUNS_TOLD = 3
# What is asked of each way to say when: the field, and what is said where it is empty.
ASKED = {
    EVERY: (("many", "Say how often."),),
    DAILY: (("daily_at", "Say at what time."),),
    WEEKLY: (("days", "Choose one day or more."), ("weekly_at", "Say at what time.")),
    CRONTAB: (("crontab", "Say when."),),
}


def _time_field(label: str) -> forms.TimeField:
    clock = forms.TimeInput(attrs={"type": "time"}, format="%H:%M")
    said = {"invalid": "Give a time of day as 09:00."}
    return forms.TimeField(required=False, initial=MORNING, label=label, widget=clock, error_messages=said)


class ScheduleForm(forms.Form):
    """When a query runs, over whom, and how much of it is kept."""

    how = forms.ChoiceField(choices=HOW, label="It runs", initial=DAILY)
    many = forms.IntegerField(required=False, min_value=1, max_value=527_040, label="How many", initial=15)
    unit = forms.TypedChoiceField(choices=UNITS, coerce=int, label="Counted in", initial=1, required=False)
    daily_at = _time_field("Time of every day")
    days = forms.TypedMultipleChoiceField(
        choices=DAYS, coerce=int, required=False, initial=WORKING_DAYS, widget=forms.CheckboxSelectMultiple
    )
    weekly_at = _time_field("Time of those days")
    crontab = forms.CharField(required=False, max_length=200, label="Crontab")
    zone = ZoneField(label="By the clock of")
    whom = forms.ChoiceField(choices=[(ALL, "every host"), (LABELLED, "hosts of the labels below")], label="It asks")
    labels = NamedMany(
        Label.objects.order_by(*BY_NAME), required=False, widget=forms.CheckboxSelectMultiple, label="Labels"
    )
    timeout = forms.IntegerField(initial=600, label="Seconds each run may take")
    runs_kept = forms.IntegerField(initial=30, label="Runs that are kept")

    def __init__(self, data: Any = None, *, shown: Schedule | None = None) -> None:
        initial = _initial(shown) if shown is not None else {}
        super().__init__(data, initial=initial)
        if initial.get("whom") == AS_IT_IS:
            self.fields["whom"].choices = [(AS_IT_IS, "the same as now"), *self.fields["whom"].choices]  # type: ignore[attr-defined]
        self.shown = shown

    def clean(self) -> dict[str, Any]:
        """Refuse times that are not given."""
        given = self.cleaned_data
        for name, said in ASKED.get(given.get("how", ""), ()):
            if not given.get(name) and given.get(name) != time(0) and name not in self.errors:
                self.add_error(name, said)
        if given.get("whom") == LABELLED and not given.get("labels"):
            self.add_error("labels", "Choose one or more.")
        return given

    def values(self) -> dict[str, Any]:
        """Give what a schedule keeps of it."""
        values = {**self._when(), **{name: self.cleaned_data[name] for name in ("timeout", "runs_kept")}}
        if self.cleaned_data["whom"] == AS_IT_IS:
            return values
        labels = [label.name for label in self.cleaned_data["labels"]]
        return {**values, "target": {"all": True} if self.cleaned_data["whom"] == ALL else {"labels": labels}}

    def _when(self) -> dict[str, Any]:
        given = self.cleaned_data
        if given["how"] == EVERY:
            return {"every": given["many"] * (given["unit"] or 1), "crontab": "", "zone": given["zone"]}
        return {"every": None, "crontab": self._crontab(), "zone": given["zone"]}

    def _crontab(self) -> str:
        given = self.cleaned_data
        if given["how"] == DAILY:
            return times.by_the_clock(given["daily_at"])
        if given["how"] == WEEKLY:
            return times.by_the_clock(given["weekly_at"], given["days"])
        return str(given["crontab"])

    # --- said back -------------------------------------------------------------------------------------------------

    @property
    def whens(self) -> list[tuple[str, str, bool]]:
        """Give each way to say when, and whether it is the chosen one."""
        chosen = self["how"].value()
        return [(value, str(words), value == chosen) for value, words in HOW]

    @property
    def others(self) -> list[forms.BoundField]:
        """Give the fields that do not say when."""
        return [self[name] for name in ("whom", "labels", "timeout", "runs_kept")]

    @property
    def when_errors(self) -> list[str]:
        """Say what is wrong with the times."""
        names = ("how", "many", "unit", "daily_at", "days", "weekly_at", "crontab", "zone")
        return [str(said) for name in names for said in self.errors.get(name, ())]

    @property
    def said_back(self) -> tuple[str, list[datetime]] | None:
        """Say when it runs, and when the next times; None while that is not known. What is wrong is in the errors."""
        planned = self._planned()
        if planned is None:
            return None
        try:
            times.check(planned.every, planned.crontab, planned.zone)
        except FleetError as error:
            self.add_error("crontab" if planned.crontab else "many", error.sentence)
            return None
        coming = planned.coming(timezone.now(), RUNS_TOLD)
        zone = f" in {planned.zone}" if planned.every is None else ""
        words = planned.when.removesuffix(f", {planned.zone}")
        return f"It runs {words[0].lower()}{words[1:]}{zone}.", coming

    def _planned(self) -> Schedule | None:
        if not self.is_bound:
            return self.shown or Schedule(crontab=times.by_the_clock(MORNING))
        self.is_valid()
        if self.when_errors:
            return None
        since = self.shown.created_at if self.shown is not None else timezone.now()
        return Schedule(**self._when(), created_at=since)


def _initial(shown: Schedule) -> dict[str, Any]:
    target, labels = shown.target, shown.target.get("labels")
    whom = ALL if target == {"all": True} else LABELLED if list(target) == ["labels"] else AS_IT_IS
    return {
        **(_initial_of_clock(shown.crontab) if shown.crontab else _initial_of_minutes(shown.every or 60)),
        "whom": whom,
        "labels": Label.objects.filter(name__in=labels) if whom == LABELLED else (),
        **{name: getattr(shown, name) for name in ("zone", "timeout", "runs_kept")},
    }


def _initial_of_minutes(every: int) -> dict[str, Any]:
    unit = max(minutes for minutes, _ in UNITS if every % minutes == 0)
    return {"how": EVERY, "many": every // unit, "unit": unit}


def _initial_of_clock(crontab: str) -> dict[str, Any]:
    read = times.read_clock(crontab)
    if read is None:
        return {"how": CRONTAB, "crontab": crontab}
    at, days = read
    return {"how": WEEKLY, "days": days, "weekly_at": at} if days else {"how": DAILY, "daily_at": at}
