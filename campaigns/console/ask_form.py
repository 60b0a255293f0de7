"""The form of the page to ask from. It gathers; the rules are in `launching`, whose sentences come back beside the
fields they are about.
"""

from typing import Any
from uuid import uuid4

from django import forms

from campaigns.console.rollout_form import RolloutForm
from campaigns.console.target_form import FullTargetForm
from campaigns.console.zones import DEFAULT_ZONE, ZoneField, moment_of
from campaigns.launching.launch import DEFAULT_TIMEOUT, LONGEST_TIMEOUT, SHORTEST_TIMEOUT, Order, launch
from campaigns.launching.once import once
from campaigns.models import Campaign, Query
from campaigns.selecting.sql_support import NobodyCanRunItError
from fleet.errors import FleetError

CUSTOM = "custom"
ROLLOUT = ("canary", "then", "per_second", "failed_percent", "silent_percent", "median_wall_ms", "rows", "denylisted")
LATER = ("start_at", "answer_within", "include_late_joiners")
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
FORCE = "Ask all the same: hosts too whose tables, as far as they are known, speak against the SQL"


def in_words_of_the_form(error: FleetError) -> str:
    """Give its sentence, and how this page forces where that is what is to be done."""
    advice = ": tick “Ask all the same” if you know better" if isinstance(error, NobodyCanRunItError) else ""
    return f"{error.sentence}{advice}"


class AskForm(FullTargetForm, RolloutForm):
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
        label="Start at",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        error_messages={"invalid": "Give day and time as 2026-12-24 18:00."},
    )
    start_zone = ZoneField(required=False, label="By the clock of")
    answer_within = forms.IntegerField(
        required=False,
        label="Seconds one host may take to answer",
        widget=forms.NumberInput(attrs={"min": SHORTEST_TIMEOUT}),
    )
    include_late_joiners = forms.BooleanField(
        required=False, label="Ask hosts too that enroll or gain the label while it runs"
    )
    force = forms.BooleanField(required=False, label=FORCE)
    query = forms.ModelChoiceField(Query.objects.all(), required=False, widget=forms.HiddenInput)
    # Tells a second click on Run from a second question.
    page = forms.CharField(
        required=False, max_length=64, initial=lambda: uuid4().hex, widget=forms.HiddenInput({"autocomplete": "off"})
    )

    @classmethod
    def again(cls, earlier: Campaign) -> dict[str, Any]:
        """Give what has to be typed to ask again what an earlier campaign asked, of whom and how."""
        typed = {"sql": earlier.sql, "name": earlier.name, "reason": earlier.reason, "query": earlier.query_id}
        waits = {"timeout": str(earlier.timeout)}
        if earlier.timeout not in dict(TIMEOUTS):
            waits = {"timeout": CUSTOM, "seconds": str(earlier.timeout)}
        late = {"answer_within": earlier.answer_within, "include_late_joiners": earlier.include_late_joiners}
        return {**typed, **waits, **late, **cls.rollout_as_typed(earlier.rollout), **cls.as_typed(earlier.target)}

    @property
    def opens_rollout(self) -> bool:
        """Say whether something of the rollout is filled in or wrong, so that it is shown."""
        return self._says(*ROLLOUT[:1], *ROLLOUT[2:])

    @property
    def opens_later(self) -> bool:
        """Say the same of when, and how long."""
        return self._says(*LATER)

    def _says(self, *names: str) -> bool:
        return any(self[name].value() not in (None, "", False) or name in self.errors for name in names)

    def clean(self) -> dict[str, Any]:
        """Ask for the seconds when they are wanted."""
        given = super().clean() or self.cleaned_data
        if given.get("timeout") == CUSTOM and given.get("seconds") is None and "seconds" not in self.errors:
            self.add_error("seconds", f"Give the seconds to wait, {SHORTEST_TIMEOUT} to {LONGEST_TIMEOUT}.")
        if given.get("start_at") is not None and "start_zone" not in self.errors:
            self._place_start(given)
        return given

    def _place_start(self, given: dict[str, Any]) -> None:
        """Read the time of the start by the clock of its zone."""
        typed, zone = given["start_at"].replace(tzinfo=None), given["start_zone"] or DEFAULT_ZONE
        try:
            given["start_at"] = moment_of(typed, zone)
        except ValueError as error:
            self.add_error("start_at", str(error))

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
            rollout=self.rollout(),
            include_late_joiners=given["include_late_joiners"],
            force=given["force"],
        )

    def launch(self) -> Campaign | None:
        """Launch once for this page and order; None when it was refused, the reasons being in `errors`."""
        if not self.is_valid():
            return None
        order = self.order()
        try:
            key = f"console {self.cleaned_data['page']} {order.digest()}"
            return once(self.by, key, order.digest(), lambda: launch(order, self.by))[0]
        except FleetError as error:
            error.sentence = in_words_of_the_form(error)
            self.refuse(error)
            return None
