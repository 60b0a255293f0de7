"""Moments that people type: days or minutes by the clock that they chose, and unmistakable in the address.

The page's script (`moment_fields.ts`) sends the moment itself, with its zone. Without it what is typed is of UTC.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.utils.html import format_html
from django.utils.safestring import SafeString

DAY = timedelta(days=1)
A_DAY = re.compile(r"\d{4}-\d\d-\d\d")
A_TIME = re.compile(rf"{A_DAY.pattern}[T ]\d\d:\d\d(:\d\d(\.\d{{1,6}})?)?(Z|[+-]\d\d:\d\d)?", re.IGNORECASE)


def by_its_clock(words: str) -> SafeString:
    """Give a field's label with the clock that it is read by; the page's script names the one that was chosen."""
    return format_html("{} <span data-clock>(UTC)</span>", words)


class MomentInput(forms.DateTimeInput):
    """A day, or a time where a minute was asked for or no day begins then; it bears the moment for the script."""

    def __init__(self, *, days: bool = False, ends: bool = False) -> None:
        super().__init__({"autocomplete": "off"})
        self.days, self.ends = days, ends

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """Show the moment by UTC, as it is sent without a script."""
        context = super().get_context(name, None, attrs)
        moment = value if isinstance(value, datetime) else _read(str(value or ""), self.ends)
        widget = context["widget"]
        widget["type"], widget["value"] = self._shown(moment)
        widget["attrs"]["data-moment"] = moment.isoformat().replace("+00:00", "Z") if moment else ""
        widget["attrs"] |= {"data-days": self.days, "data-ends": self.ends}
        if moment is not None and moment.second:
            widget["attrs"]["step"] = 1  # else the browser takes the seconds for a mistake
        return context

    def _shown(self, moment: datetime | None) -> tuple[str, str | None]:
        """Give the kind of the field, and what stands in it."""
        begins = moment is not None and moment == moment.replace(hour=0, minute=0, second=0, microsecond=0)
        if self.days and (moment is None or begins):
            return "date", f"{moment - DAY if self.ends else moment:%Y-%m-%d}" if moment else None
        return (
            "datetime-local",
            f"{moment:%Y-%m-%dT%H:%M}{f':{moment:%S}' if moment.second else ''}" if moment else None,
        )


class MomentField(forms.Field):
    """A moment in UTC: typed as a day or a time of UTC, or sent with its zone.

    Of `days` a day is asked for instead of a minute. A day means its first moment; where it `ends` something, the first
    one after it.
    """

    widget: MomentInput

    def __init__(self, *, days: bool = False, ends: bool = False, **options: Any) -> None:
        self.ends = ends
        super().__init__(widget=MomentInput(days=days, ends=ends), **options)

    def to_python(self, value: Any) -> datetime | None:
        """Read it. Raise ValidationError."""
        if not value:
            return None
        moment = _read(str(value).strip(), self.ends)
        if moment is None:
            raise forms.ValidationError(
                f"{str(value)[:60]!r} is no moment: give a day as 2026-12-24, or a time with its zone as"
                " 2026-12-24T18:00:00Z."
            )
        return moment


def _read(text: str, ends: bool) -> datetime | None:
    is_day = bool(A_DAY.fullmatch(text))
    if not (is_day or A_TIME.fullmatch(text)):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return moment + DAY if ends and is_day else moment
    except (ValueError, OverflowError):
        return None
