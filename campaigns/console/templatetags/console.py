"""Filters and tags of the console's templates."""

import re
from datetime import UTC, datetime
from typing import Any

from django import template
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from agents.models import Platform
from campaigns.console import browsers, wording
from campaigns.console import namesakes as hosts_of_one_name
from campaigns.console.places import Place, may_go_anywhere, places_of
from campaigns.console.preferences import CHOICES, preference
from campaigns.launching import kill_switch as switch
from campaigns.launching import quotas
from campaigns.models import Campaign
from fleet import second_factor
from fleet import text as others_text

register = template.Library()

MOMENT = re.compile(r"\b(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC)\b")  # as sentences of the machine name one
NOTE = ' <span class="dim">({})</span>'  # behind what a host sent


@register.filter
def thousands(number: int | None) -> str:
    """Write a number with commas: 12,345; a dash where nobody told one."""
    return "—" if number is None else f"{number:,}"


@register.filter
def has_app(user: User) -> bool:
    """Say whether codes of an app are among what this person can type."""
    return second_factor.has_app(user)


@register.filter
def duration(seconds: float | None) -> str:
    """Write seconds as `2 h 5 min`."""
    return "" if seconds is None else wording.duration(seconds)


@register.filter
def seconds(length: float | None) -> str:
    """Write a short length of time: `0.4 s`, and from ten seconds on as `duration` does."""
    if length is None:
        return ""
    return f"{length:.1f} s" if length < 10 else wording.duration(length)


@register.filter
def namesakes(items: Any) -> frozenset[int]:
    """Give the ids of hosts that share their name with another one of these."""
    return hosts_of_one_name.among(items)


@register.filter
def column_names(names: list[str]) -> str:
    """Join names of columns; one may be empty."""
    return ", ".join(others_text.visible(name) or "(no name)" for name in names)


@register.filter
def of(values: dict[Any, Any], key: Any) -> Any:
    """Look a key up."""
    return values.get(key, "")


@register.filter
def title_of(campaign: Campaign) -> str:
    """Give what the campaign is called."""
    return wording.title(campaign)


@register.filter
def nothing_sent(campaign: Campaign) -> str:
    """Say why an ended campaign has no rows."""
    return wording.nothing_sent(campaign)


@register.filter
def has_run(campaign: Campaign) -> bool:
    """Say whether a host may have run the SQL."""
    ended = (campaign.count_answered, campaign.count_failed, campaign.count_denylisted, campaign.count_no_answer)
    return any(ended)


@register.filter
def target_in_words(target: Any) -> str:
    """Say whom a selection means."""
    return wording.target_in_words(target)


@register.filter
def segments(campaign: Campaign) -> list[wording.Segment]:
    """Give the campaign's states in the order of the bar."""
    return wording.segments(campaign)


@register.filter
def quota_words(name: str) -> str:
    """Say what a quota counts."""
    return quotas.TITLES[name]


@register.filter
def quota_counts(name: str) -> str:
    """Say what a quota counts, of whomever."""
    return quotas.WORDS[name].capitalize()


@register.filter
def platform_name(platform: str) -> str:
    """Write a platform as people call it: macOS, not darwin."""
    return dict(Platform.choices).get(platform, platform)


@register.filter
def theme(request: HttpRequest) -> str:
    """Give the colours that this browser wants."""
    return preference(request, "theme")


@register.filter
def times(request: HttpRequest) -> str:
    """Give the zone in which this browser wants times."""
    return preference(request, "times")


@register.filter
def choices(name: str) -> tuple[tuple[str, str], ...]:
    """Give what a preference may be, with words."""
    return CHOICES[name]


@register.filter
def places(user: User, at: str) -> list[Place]:
    """Give the menu."""
    return places_of(user, at)


register.filter(may_go_anywhere)


@register.simple_tag
def icon(name: str) -> SafeString:
    """Draw an icon of the one set; it says nothing by itself, so words stand beside it."""
    return format_html(
        '<svg class="icon" aria-hidden="true"><use href="{}#{}"></use></svg>', static("campaigns/built/icons.svg"), name
    )


@register.simple_tag
def when(at: datetime | None, missing: str = "—") -> SafeString | str:
    """Show a moment: exact as it stands; the page's script makes it relative, with the exact one on hover."""
    if at is None:
        return missing
    return format_html('<time datetime="{}" data-when>{}</time>', *_written(at))


@register.filter
def moment(at: datetime) -> str:
    """Write a moment where no element may stand, as in an option, which then bears `data-told`."""
    return wording.moment(at)


@register.simple_tag
def exactly(at: datetime) -> SafeString:
    """Show a moment as `when` does, but exact, by the clock that was chosen, with the relative one on hover."""
    return format_html('<time datetime="{}" data-exact>{}</time>', *_written(at))


def _written(at: datetime) -> tuple[str, str]:
    utc = at.astimezone(UTC)
    return utc.isoformat(timespec="seconds"), wording.moment(utc)


@register.filter
def told(sentence: object) -> SafeString:
    """Show a sentence of the machine's: what others wrote in it as `visible` does, its moments as `exactly` does."""
    parts = MOMENT.split(visible(sentence))
    return format_html_join("", "{}{}", zip(parts[::2], [*map(_exact, parts[1::2]), ""], strict=True))


def _exact(text: str) -> SafeString | str:
    try:
        return exactly(datetime.strptime(text, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC))
    except ValueError:
        return text  # somebody wrote what is no moment


@register.filter
def sentence(text: object) -> SafeString:
    """Show a sentence as `told` does where it stands alone: with a capital, and a stop. `in_place.ts` does the same."""
    whole = str(text).strip()
    return told(whole[:1].upper() + whole[1:] + ("" if whole.endswith((".", "!", "?")) else "."))


@register.filter
def state_word(campaign: Campaign) -> str:
    """Say how far a campaign is."""
    return wording.state_word(campaign)


@register.filter
def at_its_clock(moment: datetime) -> str:
    """Show a moment by the clock of the zone that it bears."""
    return f"{moment:%a %d %b %Y, %H:%M} {moment.tzname()}"


@register.filter
def binary_size(number: int | None) -> str:
    """Write bytes as people count memory: 64 GiB, 1.5 GiB."""
    return wording.binary_size(number)


@register.filter
def visible(text: object) -> str:
    """Show what cannot be seen in a host's text, or moves what stands beside it, as marks: ⟨U+202E⟩."""
    return others_text.visible("" if text is None else text)


@register.filter
def excerpt(text: object, most: int) -> str:
    """Show the first characters of a text as `visible` does, without looking at the rest: it may have megabytes."""
    whole = "" if text is None else str(text)
    return visible(whole if len(whole) <= most else f"{whole[: most - 1]}…")


@register.filter
def blanks(text: object) -> SafeString | str:
    """Say of a host's text what of it nobody sees: that there is none, or blanks at its ends."""
    whole = "" if text is None else str(text)
    if not whole.strip():
        return format_html(NOTE, "blanks only" if whole else "empty")
    ends = [word for word, end in (("begins", whole[:1]), ("ends", whole[-1:])) if end.isspace()]
    return format_html(NOTE, f"{' and '.join(ends)} with a blank") if ends else ""


@register.filter
def browser(agent: str) -> str:
    """Name a browser and its system by what it calls itself."""
    return browsers.in_words(agent)


@register.simple_tag
def kill_switch() -> str:
    """Say who switched live queries off; "" while they are on."""
    sentence = switch.sentence()
    return f"{sentence[0].upper()}{sentence[1:]}".rstrip(".") + "." if sentence else ""
