"""Texts of others on every page and fragment: markup stays text, and what cannot be seen is shown as marks."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.db import models
from django.test import Client
from django.urls import URLPattern, reverse

from agents.models import Host
from campaigns.console.urls import urlpatterns
from campaigns.models import Campaign, Result, Target
from tests.browser.test_every_page import things
from tests.factories import make_host

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board", "carves_folder")]

ODD = "<i>o\u202ed\u200bd"
# What nobody types and no host sends: states, keys, zones, addresses that are checked.
OWN = (
    "status", "state", "zone", "crontab", "digest", "token_key", "secret", "address", "carve_id", "key", "platform",
    "built_in", "kind", "waits_for", "kept_as", "paused_by", "session", "method", "etag", "content",
)  # fmt: skip
ATTRIBUTES = r"(?: value| href| action| hx-[\w-]+| data-[\w-]+)=\"[^\"]*\""
TYPED = re.compile(rf"<textarea.*?</textarea>|<script.*?</script>|{ATTRIBUTES}", re.S)


def make_texts_odd() -> None:
    """Make every text that somebody gave odd, in every row that there is."""
    for model in [*apps.get_app_config("agents").get_models(), *apps.get_app_config("campaigns").get_models(), Group]:
        names = [
            field.name
            for field in model._meta.fields
            if isinstance(field, models.CharField | models.TextField)
            and not (field.choices or field.primary_key or (field.name.startswith(OWN) and field.name != "addresses"))
        ]
        for row in model._default_manager.all():
            values = dict.fromkeys(names, f"{ODD}{row.pk}")
            model._default_manager.filter(pk=row.pk).update(**values)


def addresses(ids: dict[str, Any]) -> Iterator[str]:
    """Give every address of the console."""
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        yield reverse(pattern.name, kwargs={name: ids[name] for name in pattern.pattern.converters})


def test_no_page_shows_markup_or_what_cannot_be_seen_as_it_was_sent() -> None:
    ids, browser = things(), Client(raise_request_exception=False)
    make_texts_odd()
    make_host(hostname=Host.objects.get(pk=ids["host_id"]).hostname, host_identifier=f"{ODD}twin")
    browser.force_login(Campaign.objects.get().created_by)

    pages, wrong = 0, []
    for address in addresses(ids):
        told = browser.get(address, {"by": "name"} if address.endswith("/groups/") else {})
        if not told.headers.get("Content-Type", "").startswith("text/html"):
            continue
        pages += told.status_code == 200
        found = re.findall(r".{50}(?:\u202e|\u200b|<i>o)", TYPED.sub("", told.content.decode()), re.S)
        wrong += [f"{address} {' '.join(each.split())!r}" for each in found]
        assert told.status_code < 500, address

    assert "\n".join(wrong) == ""
    assert pages > 40
    assert (Host.objects.first().hostname, Target.objects.count() > 0, Result.objects.count()) != ("", False, 0)
