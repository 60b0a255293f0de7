"""Moments on pages: each is a `time` that the page's script shows by the clock that was chosen, in sentences too."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from campaigns.console.moments import MomentField
from campaigns.console.templatetags.console import sentence, told
from campaigns.launching import approvals
from campaigns.launching.launch import Order, launch
from campaigns.launching.models import Approval, ApprovalRule
from campaigns.models import Campaign
from tests.factories import make_campaign, make_host, make_hosts, make_user
from tests.pages import bare_moments, words_of

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


@pytest.mark.parametrize(
    ("typed", "begins", "ends"),
    [
        ("2026-03-29", datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC)),
        ("2026-03-29T02:30", *(datetime(2026, 3, 29, 2, 30, tzinfo=UTC),) * 2),
        ("2026-03-29t02:30:01.5+02:00", *(datetime(2026, 3, 29, 0, 30, 1, 500_000, tzinfo=UTC),) * 2),
        ("", None, None),
    ],
)
def test_a_day_means_its_first_moment_or_the_first_after_it_and_a_time_without_a_zone_is_of_utc(
    typed: str, begins: datetime | None, ends: datetime | None
) -> None:
    assert MomentField(required=False).clean(typed) == begins
    assert MomentField(required=False, ends=True).clean(typed) == ends


@pytest.mark.parametrize(
    "typed", ["soon", "2026-02-30", "9999-12-31", "9999-12-31T23:59-01:00", "2026-W01-1", "2026-01-01T00:00:00\0"]
)
def test_what_is_no_moment_is_refused_with_what_was_typed(typed: str) -> None:
    with pytest.raises(ValidationError) as refused:
        MomentField(ends=True).clean(typed)

    assert refused.value.messages[0].startswith(f"{typed!r} is no moment: give a day as 2026-12-24")


def test_a_filter_that_cannot_be_used_is_named_where_nothing_is_filtered_by_it(
    as_: Callable[[User], Client], operator: User
) -> None:
    boss, campaign = as_(make_user(admin=True)), make_campaign(make_host(), by=operator)
    since = "'soon' is no moment: give a day as 2026-12-24, or a time with its zone as 2026-12-24T18:00:00Z."
    a_choice = "Select a valid choice. soon is not one of the available choices."
    asked = [
        *(("/campaigns/", "since", since), ("/campaigns/", "status", a_choice), ("/audit/", "until", since)),
        *(("/hosts/", "platform", a_choice), ("/hosts/", "label", "There is no label soon.")),
        (f"/campaigns/{campaign.pk}/hosts/", "state", a_choice),
    ]

    pages = [words_of(boss.get(page, {name: "soon"})) for page, name, _ in asked]
    Campaign.objects.update(columns=["pid"])
    rows = words_of(boss.get(f"/campaigns/{campaign.pk}/", {"where": "soon:1"}))
    groups = words_of(boss.get(f"/campaigns/{campaign.pk}/groups/", {"by": ["soon", "pid"]}))

    for said, (_, name, why) in zip(pages, asked, strict=True):
        assert f"This is not filtered by {name}: {why}" in said
    assert "This is not filtered as its address says: where 'soon:1'" in rows
    assert "Groups are not made by soon: there is no such column." in groups
