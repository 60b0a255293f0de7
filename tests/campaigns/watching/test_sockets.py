"""The viewers' sockets: who may look, and that nobody misses or repeats an answer."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings as server
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import AsyncClient

from agents.models import Host, Label, LabelMembership
from campaigns import doorbell
from campaigns.launching import control
from campaigns.models import Campaign, Result
from campaigns.people.scopes import Scope
from campaigns.tokens import ApiToken
from campaigns.watching import consumers, readers
from fleet.asgi import console
from tests.factories import answer, end, make_campaign, make_hosts, make_label

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board", "quick_passwords")]

ORIGIN = [(b"origin", b"https://testserver")]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
Make = Callable[..., Campaign]


async def cookie_of(user: User | None) -> list[tuple[bytes, bytes]]:
    if user is None:
        return []
    client = AsyncClient()
    await client.aforce_login(user)
    return [(b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode())]


class Viewer:
    """A browser's side of one socket."""

    def __init__(self, socket: ApplicationCommunicator) -> None:
        self.socket = socket
        self.code: int | None = None
        self.reason: str = ""

    async def frame(self) -> Any:
        """Give the next frame; None = closed, with `code`."""
        message = await self.socket.receive_output(timeout=90)
        if message["type"] == "websocket.close":
            self.code, self.reason = message["code"], message.get("reason", "")
            return None
        return json.loads(message["text"])

    async def until(self, kind: str | None) -> list[Any]:
        """Give the frames up to one of this kind; None = until it is closed."""
        frames = []
        while (frame := await self.frame()) is not None:
            frames.append(frame)
            if frame["type"] == kind:
                return frames
        assert kind is None, f"closed with {self.code} before {kind}"
        return frames


@asynccontextmanager
async def looking(
    campaign: int | str, user: User | None = None, query: str = "", origin: Any = ORIGIN, bearer: str | None = None
) -> AsyncIterator[Viewer]:
    """Open the socket of a campaign, or of a path, with a session or with a token."""
    scope = {
        "type": "websocket",
        "path": campaign if isinstance(campaign, str) else f"/ws/campaigns/{campaign}/",
        "query_string": query.encode(),
        "headers": [*origin, *await cookie_of(user)],
        "subprotocols": [] if bearer is None else ["bearer", bearer],
    }
    socket = ApplicationCommunicator(console, scope)
    await socket.send_input({"type": "websocket.connect"})
    accepted = await socket.receive_output(timeout=90)
    assert (accepted["type"], accepted["subprotocol"]) == ("websocket.accept", None if bearer is None else "bearer")
    yield Viewer(socket)
    await socket.send_input({"type": "websocket.disconnect", "code": 1001})
    await socket.wait(timeout=90)


@sync_to_async
def campaign_with(answers: int, *, ended: bool = False, rows: int = 1) -> Campaign:
    """Give a campaign over as many hosts and one, of which so many answered."""
    hosts = make_hosts(answers + 1)
    campaign = make_campaign(*hosts)
    for host in hosts[:answers]:
        answer(campaign, host, *({"value": host.hostname} for _ in range(rows)))
    return end(campaign) if ended else campaign


@sync_to_async
def answer_last(campaign: Campaign) -> None:
    """Let the host that did not answer yet do so, and end the campaign."""
    answer(campaign, Host.objects.order_by("-pk")[0], {"value": "last"})
    doorbell.ring(campaign.pk)


def seqs(frames: list[Any]) -> list[int]:
    return [item["seq"] for frame in frames if frame["type"] == "results" for item in frame["items"]]


# --- who -------------------------------------------------------------------------------------------------------


async def refused_with(**how: Any) -> int | None:
    async with looking(**how) as viewer:
        assert await viewer.frame() is None
    return viewer.code


async def test_who_may_not_look_hears_why(stranger: User, observer: User) -> None:
    campaign = (await campaign_with(0)).pk

    assert await refused_with(campaign=campaign) == 4401
    assert await refused_with(campaign=campaign, user=stranger) == 4403
    assert await refused_with(campaign=campaign + 1000, user=observer) == 4404
    assert await refused_with(campaign=campaign, bearer="wrong", origin=[]) == 4401


@pytest.mark.parametrize("origin", [[(b"origin", b"https://elsewhere.example")], [(b"origin", b"null")], []])
async def test_a_page_from_elsewhere_cannot_use_the_session(observer: User, origin: Any) -> None:
    campaign = (await campaign_with(0)).pk

    assert await refused_with(campaign=campaign, user=observer, origin=origin) == 4403


@pytest.mark.parametrize("origin", [b"https://[::1]:8412", b"https://FLEET.example"])
async def test_a_page_of_our_own_uses_the_session(observer: User, settings: Any, origin: bytes) -> None:
    settings.ALLOWED_HOSTS = ["[::1]", "fleet.example"]
    campaign = await campaign_with(0)

    async with looking(campaign.pk, user=observer, origin=[(b"origin", origin)]) as viewer:
        assert (await viewer.frame())["type"] == "snapshot"


async def test_a_token_needs_no_origin(observer: User) -> None:
    campaign = await campaign_with(1)
    _, token = await sync_to_async(ApiToken.objects.create)(user=observer, name="dashboard")

    async with looking(campaign.pk, bearer=token, origin=[]) as viewer:
        frame = await viewer.frame()

    assert (frame["type"], frame["campaign"]["id"]) == ("snapshot", campaign.pk)


async def test_a_program_may_send_its_token_as_a_header(observer: User) -> None:
    campaign = await campaign_with(1)
    _, token = await sync_to_async(ApiToken.objects.create)(user=observer, name="dashboard")

    async with looking(campaign.pk, origin=[(b"authorization", f"Bearer {token}".encode())]) as viewer:
        frame = await viewer.frame()

    assert (frame["type"], frame["campaign"]["id"]) == ("snapshot", campaign.pk)
    assert await refused_with(campaign=campaign.pk, origin=[(b"authorization", b"bearer wrong")]) == 4401
    assert await refused_with(campaign=campaign.pk, origin=[(b"authorization", b"Basic eDp5")]) == 4403


@pytest.mark.parametrize("after", ["abc", "-1", "1" + "0" * 20, "", "1.5", "0&after=%00", "é" * 200])
async def test_a_place_that_cannot_be_is_refused_with_a_reason(observer: User, after: str) -> None:
    campaign = await campaign_with(0)

    async with looking(campaign.pk, observer, query=f"after={after}") as viewer:
        assert await viewer.frame() is None

    assert viewer.code == 4400
    assert "is not a whole number from 0 on" in viewer.reason
    assert len(viewer.reason.encode()) <= 123


async def test_rights_that_are_taken_away_close_the_socket(observer: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "RIGHTS_SECONDS", 0.05)
    campaign = await campaign_with(0)

    async with looking(campaign.pk, observer) as viewer:
        assert (await viewer.frame())["type"] == "snapshot"
        await sync_to_async(observer.user_permissions.clear)()
        await viewer.until(None)

    assert viewer.code == 4403


async def test_a_scope_that_is_given_ends_the_view_within_ten_seconds(observer: User) -> None:
    campaign, began = await campaign_with(1), time.monotonic()

    def narrow() -> None:
        team = Group.objects.create(name="team")
        Scope.objects.create(group=team).labels.add(make_label("mine", campaign.targets.first().host))
        observer.groups.add(team)

    async with looking(campaign.pk, observer) as viewer:
        assert (await viewer.frame())["type"] == "snapshot"
        await sync_to_async(narrow)()
        frames = await viewer.until(None)

    assert viewer.code == 4403
    assert "which hosts you may see has changed" in viewer.reason
    assert [frame for frame in frames if frame["type"] != "ping"] == []
    assert time.monotonic() - began < 10


@sync_to_async
def see_every_third(observer: User, campaign: Campaign) -> Label:
    """Put this person into a team that sees the third, the sixth … host of a campaign."""
    label = make_label("thirds", *[target.host for target in campaign.targets.order_by("host_id")[2::3]])
    team = Group.objects.create(name="team")
    Scope.objects.create(group=team).labels.add(label)
    observer.groups.add(team)
    return label


async def test_who_sees_a_part_is_told_numbers_of_that_part(observer: User) -> None:
    campaign = await campaign_with(9, ended=True)
    await see_every_third(observer, campaign)

    async with looking(campaign.pk, observer, "after=0") as viewer:
        snapshot, *all_frames = await viewer.until(None)
    async with looking(campaign.pk, observer, "after=2") as viewer:
        later = await viewer.until(None)

    assert (snapshot["campaign"]["last_seq"], seqs(all_frames), all_frames[-1]["last_seq"]) == (3, [1, 2, 3], 3)
    assert seqs(later) == [3]


async def test_a_host_that_leaves_the_part_ends_the_view_before_numbers_mean_other_answers(
    observer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "RECOUNT_SECONDS", 0.0)
    campaign = await campaign_with(9)
    label = await see_every_third(observer, campaign)

    async with looking(campaign.pk, observer, "after=0") as viewer:
        assert seqs(await viewer.until("results")) == [1, 2, 3]
        await (await LabelMembership.objects.filter(label=label).order_by("host_id").afirst()).adelete()
        await viewer.until(None)

    assert viewer.code == 4403
    assert "which hosts you may see has changed" in viewer.reason


async def test_a_host_that_joins_the_part_leaves_views_open_and_numbers_rise(
    observer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "RECOUNT_SECONDS", 0.0)
    campaign = await campaign_with(8)
    label = await see_every_third(observer, campaign)  # the last of them is still to answer
    first = await Host.objects.order_by("pk").afirst()

    async with looking(campaign.pk, observer, "after=0") as viewer, looking(campaign.pk, observer) as counting:
        assert seqs(await viewer.until("results")) == [1, 2]
        await LabelMembership.objects.acreate(label=label, host=first)
        while (await viewer.until("progress"))[-1]["last_seq"] < 3:
            pass
        await answer_last(campaign)
        assert seqs(await viewer.until("results")) == [4]
        assert seqs(await counting.until("results")) == [4]


async def test_a_token_that_is_taken_away_closes_its_sockets(observer: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "RIGHTS_SECONDS", 0.05)
    campaign = await campaign_with(0)

    for change in (ApiToken.objects.all().delete, partial(ApiToken.objects.update, expiry=LONG_AGO)):
        _, token = await sync_to_async(ApiToken.objects.create)(user=observer)
        async with looking(campaign.pk, bearer=token, origin=[]) as viewer:
            assert (await viewer.frame())["type"] == "snapshot"
            await sync_to_async(change)()
            await viewer.until(None)
        assert viewer.code == 4401


def log_out(user: User) -> None:
    Session.objects.all().delete()


def let_the_session_end(user: User) -> None:
    Session.objects.update(expire_date=LONG_AGO)


def change_the_password(user: User) -> None:
    user.set_password("another")
    user.save()


def send_away(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def be_silent(user: User) -> None:
    session = Session.objects.get()
    UserSession.objects.create(user=user, session_key=session.session_key, ip="192.0.2.1", last_seen_at=LONG_AGO)


def be_staff_without_second_factor(user: User) -> None:
    server.REQUIRE_SECOND_FACTOR = True
    User.objects.filter(pk=user.pk).update(is_staff=True)


ENDS = [log_out, let_the_session_end, change_the_password, send_away, be_silent, be_staff_without_second_factor]


@pytest.mark.parametrize("change", ENDS)
async def test_a_session_that_ends_closes_its_sockets(
    observer: User, monkeypatch: pytest.MonkeyPatch, settings: Any, change: Callable[[User], None]
) -> None:
    settings.REQUIRE_SECOND_FACTOR = False
    monkeypatch.setattr(consumers, "RIGHTS_SECONDS", 0.05)
    campaign = await campaign_with(0)

    async with looking(campaign.pk, observer) as viewer:
        assert (await viewer.frame())["type"] == "snapshot"
        await sync_to_async(change)(observer)
        await viewer.until(None)

    assert viewer.code == 4401


@pytest.mark.usefixtures("standing_clock")
async def test_who_opens_too_many_is_told_when_to_come_again_and_a_tokens_use_is_noted(
    observer: User, settings: Any
) -> None:
    settings.SOCKETS_OF_TOKEN_PER_MINUTE, campaign = 2, await campaign_with(0)
    token, shown = await sync_to_async(ApiToken.objects.create)(user=observer)

    for _ in range(2):
        async with looking(campaign.pk, bearer=shown, origin=[]) as viewer:
            assert (await viewer.frame())["type"] == "snapshot"
    async with looking(campaign.pk, bearer=shown, origin=[]) as viewer:
        assert await viewer.frame() is None

    await sync_to_async(token.refresh_from_db)()
    assert (viewer.code, viewer.reason.startswith("too many sockets opened: come again in ")) == (4429, True)
    assert token.last_used_at is not None


@pytest.mark.parametrize("bearer", [None, "token"])
@pytest.mark.parametrize(
    "path", ["/ws/nope/", "/ws/campaigns/abc/", "/", "/api/osquery/distributed/write", f"/ws/campaigns/{'9' * 5000}/"]
)
async def test_where_no_socket_is_the_close_says_so(path: str, bearer: str | None) -> None:
    async with looking(path, bearer=bearer) as viewer:
        assert await viewer.frame() is None

    assert viewer.code == 4404


async def test_a_number_that_no_campaign_can_have_is_no_campaign(observer: User) -> None:
    assert await refused_with(campaign=10**30, user=observer) == 4404


@pytest.mark.parametrize("token", ["", "\xff", "\0", "\ud800", "x" * 5000])
async def test_a_token_that_cannot_be_one_is_not_signed_in(observer: User, token: str) -> None:
    campaign = await campaign_with(0)

    assert await refused_with(campaign=campaign.pk, bearer=token, origin=[]) == 4401


# --- what ------------------------------------------------------------------------------------------------------


async def test_without_after_only_what_comes_later_is_sent(observer: User) -> None:
    campaign = await campaign_with(3)

    async with looking(campaign.pk, observer) as viewer:
        assert (await viewer.frame())["type"] == "snapshot"
        await answer_last(campaign)
        frames = await viewer.until("results")

    assert seqs(frames) == [4]


async def test_a_viewer_that_comes_back_misses_nothing_and_gets_nothing_twice(
    observer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "FRAME_ITEMS", 2)
    campaign = await campaign_with(5, ended=True)

    async with looking(campaign.pk, observer, "after=0") as viewer:
        first = seqs(await viewer.until("results"))
    async with looking(campaign.pk, observer, f"after={first[-1]}") as viewer:
        frames = await viewer.until(None)

    assert first == [1, 2]
    assert seqs(frames) == [3, 4, 5]
    assert [frame["type"] for frame in frames][-2:] == ["progress", "ended"]
    assert (frames[-1]["last_seq"], frames[-1]["counts"]["targeted"], viewer.code) == (5, 6, 1000)


async def test_two_viewers_of_one_campaign_are_sent_the_same(observer: User) -> None:
    campaign = await campaign_with(2)

    async with looking(campaign.pk, observer, "after=0") as one, looking(campaign.pk, observer, "after=1") as other:
        assert seqs(await one.until("results")) == [1, 2]
        assert seqs(await other.until("results")) == [2]
        await answer_last(campaign)
        assert seqs(await one.until("results")) == seqs(await other.until("results")) == [3]


async def test_viewers_hear_of_a_pause_and_a_stop_as_they_do_of_counts(observer: User) -> None:
    campaign = await campaign_with(1)

    async with looking(campaign.pk, observer) as viewer:
        await viewer.until("snapshot")
        await sync_to_async(control.pause)(campaign.pk, "ann")
        paused = (await viewer.until("progress"))[-1]
        await sync_to_async(control.stop)(campaign.pk, "bob", "enough")
        stopping = (await viewer.until("progress"))[-1]

    assert [(frame["status"], frame["ended_by"]) for frame in (paused, stopping)] == [("paused", ""), ("paused", "bob")]
    assert paused["counts"] == stopping["counts"]


async def test_who_is_far_behind_is_told_to_page(observer: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MOST_BEHIND", 3)
    campaign = await campaign_with(4)

    async with looking(campaign.pk, observer, "after=0") as viewer:
        frames = await viewer.until("behind")
        await answer_last(campaign)
        frames += await viewer.until("progress")
    assert frames[1] == {"type": "behind", "after": 0}
    assert (frames[-1]["last_seq"], seqs(frames)) == (5, [])

    async with looking(campaign.pk, observer, "after=2") as viewer:
        assert seqs(await viewer.until("results")) == [3, 4, 5]


async def test_a_giant_item_comes_without_its_rows(observer: User) -> None:
    campaign = await campaign_with(1, ended=True)
    await Result.objects.aupdate(rows=[{"value": "x" * 1_100_000}])

    async with looking(campaign.pk, observer, "after=0") as viewer:
        frames = await viewer.until("results")

    assert (frames[-1]["items"][0]["rows"], frames[-1]["items"][0]["rows_omitted"]) == (None, True)


async def test_an_idle_socket_is_pinged(observer: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "PING_SECONDS", 0.05)
    campaign = await campaign_with(0)

    async with looking(campaign.pk, observer) as viewer:
        assert (await viewer.until("ping"))[-1] == {"type": "ping"}


# --- outages ---------------------------------------------------------------------------------------------------


async def test_a_socket_opens_and_follows_while_redis_is_away(observer: User, settings: Any) -> None:
    layer = {**settings.CHANNEL_LAYERS["default"], "CONFIG": {"hosts": ["redis://127.0.0.1:1/0"]}}
    settings.CHANNEL_LAYERS = {"default": layer}
    campaign = await campaign_with(3)

    async with looking(campaign.pk, observer, "after=0") as viewer:
        assert seqs(await viewer.until("results")) == [1, 2, 3]
        await answer_last(campaign)
        assert seqs(await viewer.until("results")) == [4]


@pytest.mark.parametrize("by_token", [False, True])
async def test_who_comes_while_the_database_is_away_is_told_to_come_again(observer: User, by_token: bool) -> None:
    campaign = await campaign_with(0)
    token = (await sync_to_async(ApiToken.objects.create)(user=observer, name="wall", expiry=None))[1]
    headers = [*ORIGIN, *([] if by_token else await cookie_of(observer))]

    async def come() -> tuple[Any, int | None]:
        async with looking(campaign.pk, None, origin=headers, bearer=token if by_token else None) as viewer:
            return await viewer.frame(), viewer.code

    await sync_to_async(lambda: connection.close())()  # of the thread that asks
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(connection.settings_dict, "PORT", "1")
        assert await come() == (None, 1012)
    assert (await come())[0]["type"] == "snapshot"
