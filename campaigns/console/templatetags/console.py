"""Filters of the console's templates."""

from typing import Any

from django import template

from campaigns.console import wording
from campaigns.models import Campaign

register = template.Library()


@register.filter
def thousands(number: int) -> str:
    """Write a number with commas: 12,345."""
    return f"{number:,}"


@register.filter
def duration(seconds: float | None) -> str:
    """Write seconds as `2 h 5 min`."""
    return "" if seconds is None else wording.duration(seconds)


@register.filter
def of(values: dict[Any, Any], key: Any) -> Any:
    """Look a key up."""
    return values.get(key, "")


@register.filter
def title_of(campaign: Campaign) -> str:
    """Give what the campaign is called."""
    return wording.title(campaign)


@register.filter
def target_in_words(target: Any) -> str:
    """Say whom a selection means."""
    return wording.target_in_words(target)


@register.filter
def segments(campaign: Campaign) -> list[wording.Segment]:
    """Give the campaign's states in the order of the bar."""
    return wording.segments(campaign)
