"""Moments on pages: each is a `time` that the page's script shows by the clock that was chosen, in sentences too."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from campaigns.console.templatetags.console import sentence, told
from campaigns.launching import approvals
from campaigns.launching.launch import Order, launch
from campaigns.launching.models import Approval, ApprovalRule
from tests.factories import make_hosts
from tests.pages import bare_moments

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]

PAGES = ("/campaigns/{}/", "/campaigns/{}/about/", "/campaigns/{}/control/", "/approvals/{}/")


def test_what_waits_for_its_time_or_for_a_person_names_no_moment_but_by_the_clock_that_was_chosen(
    as_: Callable[[User], Client], operator: User
) -> None:
    later = timezone.now() + timedelta(hours=5)
    make_hosts(2)
    begins = launch(Order("SELECT 1", {"all": True}, start_at=later), operator)
    ApprovalRule.objects.create(hosts_above=0)
    waits = launch(Order("SELECT 2", {"all": True}, start_at=later), operator)
    late = launch(Order("SELECT 3", {"all": True}), operator)
    Approval.objects.filter(campaign=late).update(expires_at=timezone.now())
    approvals.expire(late.pk)

    addresses = [page.format(one.pk) for one in (begins, waits, late) for page in PAGES]
    pages = {address: as_(operator).get(address) for address in addresses}

    assert [text for page in pages.values() for text in bare_moments(page)] == []
    shown = [address for address, page in pages.items() if b"data-exact" in page.content]
    assert shown == [
        *(f"/campaigns/{begins.pk}/", f"/campaigns/{begins.pk}/control/", f"/approvals/{waits.pk}/"),
        *(page.format(late.pk) for page in PAGES),
    ]


def test_a_sentence_of_the_machine_shows_its_moments_as_times_and_what_others_wrote_as_it_is() -> None:
    said = "no <b>room\u202e</b> before 2026-01-31 08:00:00 UTC, not on 2026-13-31 08:00:00 UTC"

    assert told(said) == (
        "no &lt;b&gt;room⟨U+202E⟩&lt;/b&gt; before"
        ' <time datetime="2026-01-31T08:00:00+00:00" data-exact>2026-01-31 08:00:00 UTC</time>,'
        " not on 2026-13-31 08:00:00 UTC"
    )
    assert [*map(sentence, ("campaign 5 is over", "Done.", "why?"))] == ["Campaign 5 is over.", "Done.", "Why?"]
