"""The list of time zones, drawn at once: what Django draws of it option by option."""

from typing import Any

import pytest
from django import forms
from django.test.html import parse_html

from campaigns.console.zones import DEFAULT_ZONE, ZoneField, zones

TYPED = ("UTC", "Europe/Berlin", "EST", "America/North_Dakota/Center", "", '"><b>&', "UTC\0", "Europe/Berlin ")


class Ours(forms.Form):
    zone = ZoneField()


class Djangos(forms.Form):
    zone = forms.ChoiceField(choices=zones, initial=DEFAULT_ZONE)


@pytest.mark.parametrize("typed", [None, {}, *({"zone": zone} for zone in TYPED)])
def test_the_list_is_drawn_as_django_draws_it(typed: Any) -> None:
    ours, djangos = str(Ours(typed)["zone"]), str(Djangos(typed)["zone"])

    assert parse_html(ours) == parse_html(djangos)
    assert ours.count(" selected") == djangos.count(" selected")
