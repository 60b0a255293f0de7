"""Time zones to choose from by name: by region and city, as a list is read, and never typed."""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django import forms
from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

DEFAULT_ZONE = "UTC"
# Names of old, kept for schedules that were made with them: at the end.
OTHERS = "Other names"
REGIONS = (
    "Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific",
)  # fmt: skip


class ZoneSelect(forms.Select):
    """Draws the zones in one go: two templates for each of six hundred took most of a page's time."""

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        """Draw them, with the one that is chosen."""
        bears = flatatt(self.build_attrs(self.attrs, {**(attrs or {}), "name": name}))
        chosen = format_html('<option value="{}"', "" if value is None else value)
        options = _options().replace(f"{chosen}>", f"{chosen} selected>", 1)
        return format_html("<select{}>{}</select>", bears, mark_safe(options))  # noqa: S308 - made of what is escaped


class ZoneField(forms.ChoiceField):
    """A time zone; the page's script chooses the browser's own where nobody chose yet."""

    widget = ZoneSelect

    def __init__(self, **options: Any) -> None:
        said = {"invalid_choice": "%(value)r is no time zone: choose one as Europe/Berlin, or UTC."}
        super().__init__(choices=zones, error_messages=said, initial=DEFAULT_ZONE, **options)


def moment_of(typed: datetime, zone: str) -> datetime:
    """Give the moment of a time by the clock of a zone. Raise ValueError when that clock never shows it."""
    moment = typed.replace(tzinfo=ZoneInfo(zone))
    if moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) != typed:
        raise ValueError(f"{typed:%Y-%m-%d %H:%M} does not exist in {zone}: clocks are put forward then.")
    return moment


@cache
def zones() -> list[tuple[str, Any]]:
    """Give every zone that the system knows, by region; UTC first."""
    others = sorted(available_timezones() - {DEFAULT_ZONE}, key=lambda name: (_place(name), name))
    grouped = [
        (region or OTHERS, [(name, _city(name)) for name in names])
        for (_, region), names in groupby(others, key=_place)
    ]
    return [(DEFAULT_ZONE, DEFAULT_ZONE), *grouped]


@cache
def _options() -> str:
    first, *regions = zones()
    grouped = ((region, _drawn(names)) for region, names in regions)
    return _drawn([first]) + format_html_join("", '<optgroup label="{}">{}</optgroup>', grouped)


def _drawn(names: Iterable[tuple[str, str]]) -> SafeString:
    return format_html_join("", '<option value="{}">{}</option>', names)


def _place(name: str) -> tuple[bool, str]:
    region = name.split("/")[0]
    return (False, region) if "/" in name and region in REGIONS else (True, "")


def _city(name: str) -> str:
    _, in_region = _place(name)
    return name.partition("/")[2].replace("_", " ").replace("/", ", ") if in_region else name
