"""One reader per process, campaign and scope: it fetches from Postgres, encodes once, and serves all the sockets of
those who see the same hosts.

A ring of the doorbell makes it look; so does the clock, every two seconds, so that a lost ring delays and never loses.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from contextlib import suppress
from contextvars import Context
from typing import Any, NamedTuple

import msgspec
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.db import DatabaseError
from redis.exceptions import RedisError

from campaigns.answers import numbering, sight
from campaigns.answers.results import campaign_json, results_after
from campaigns.doorbell import group_of
from campaigns.models import Campaign, Result
from campaigns.people import scopes
from campaigns.people.scopes import Limits
from fleet.cancelling import end

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
PROGRESS_SECONDS = 0.5  # at most twice a second
FRAME_ITEMS = 200
FRAME_BYTES = 1_000_000
FRAMES_KEPT = 16  # for viewers who are a little apart
MOST_BEHIND = 2000  # items
RECOUNT_SECONDS = 10.0

encode = msgspec.json.Encoder().encode


class Page(NamedTuple):
    """One encoded `results` frame and the place of its last item."""

    frame: str
    place: int


class Reader:
    """What the viewers of one campaign in this process share who have the same limits."""

    def __init__(self, campaign_id: int, limits: Limits) -> None:
        self.campaign_id, self.limits = campaign_id, limits
        self._whole: dict[str, Any] = {}  # for those with limits: the campaign when their part was counted last
        self._part: dict[str, Any] = {}
        self._counted_at = 0.0
        self._newest = (0, 0)  # its number and its stored seq, as of the last count
        self.numbering = 0  # another one: hosts left the part, and answers that come bear numbers that were given out
        self.viewers = 0
        self.state: dict[str, Any] = {}
        self.generation = 0
        self._changed = asyncio.Condition()
        self._rung = asyncio.Event()
        self._pages: OrderedDict[int, asyncio.Future[Page]] = OrderedDict()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Look for the first time and begin to listen. Raise Campaign.DoesNotExist."""
        await self._look()
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._follow())]

    async def close(self) -> None:
        """Stop listening."""
        await end(self._tasks)

    @property
    def newest(self) -> int:
        """Give the place of the last answer there is, as of the last look. A place is a stored seq."""
        return self._newest[1] if self.limits else int(self.state["last_seq"])

    async def place_of(self, after: int | None) -> int:
        """Give the place after which results are wanted by whoever has them up to this number; None = new ones only."""
        number, newest = self._newest
        if after is None or not self.limits:
            return self.newest if after is None else after
        if after >= number:
            return newest + after - number
        place: int = await database_sync_to_async(numbering.stored)(self._seen, after)
        return place

    async def number_at(self, place: int) -> int:
        """Give the number up to which results are had by whoever has them up to this place."""
        number: int = await database_sync_to_async(numbering.number_at)(self._seen, place)
        return number

    @property
    def is_over(self) -> bool:
        """Say whether the campaign ended, as of the last look."""
        return self.state["ended_at"] is not None

    async def wait(self, generation: int, seconds: float) -> None:
        """Return when something changed since `generation`, or after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self.generation != generation)

    async def page_after(self, place: int) -> Page | None:
        """Give the results after a place as one frame, read and encoded once for all viewers; None = nothing more."""
        if place >= self.newest:
            return None
        if place not in self._pages:
            self._pages[place] = asyncio.ensure_future(database_sync_to_async(self._read)(place))
            while len(self._pages) > FRAMES_KEPT:
                self._pages.popitem(last=False)
        page = self._pages[place]
        try:
            return await asyncio.shield(page)
        except DatabaseError:
            self._pages.pop(place, None)
            raise

    def _read(self, place: int) -> Page:
        number = numbering.number_at(self._seen, place)
        items = results_after(self._seen, number, FRAME_ITEMS, FRAME_BYTES, omit_large=True)
        if not items:  # the seqs up to the newest were given to results that were not kept
            return Page("", self.newest)
        frame = encode({"type": "results", "items": items}).decode()
        last = numbering.stored(self._seen, items[-1]["seq"])
        return Page(frame, self.newest if last == numbering.BEYOND else last)  # hosts have left this moment

    async def behind(self, place: int) -> bool:
        """Say whether more than 2,000 items follow a place."""
        if self.newest - place <= MOST_BEHIND:
            return False
        following = Result.objects.filter(campaign_id=self.campaign_id, seq__gt=place).order_by("seq")
        following = scopes.within_limits(following, self.limits)
        return bool(await following[MOST_BEHIND : MOST_BEHIND + 1].acount())

    async def _look(self) -> None:
        state = await database_sync_to_async(self._state_now)()
        if state == self.state:
            return
        async with self._changed:
            self.state = state
            self.generation += 1
            self._changed.notify_all()

    def _state_now(self) -> dict[str, Any]:
        """Read the campaign; what those with limits see of it is counted when it changed, and every ten seconds.

        Hosts enter and leave labels: what was encoded for such viewers is kept no longer than that.
        """
        whole = Campaign.objects.select_related("created_by").get(pk=self.campaign_id)
        now, told = time.monotonic(), campaign_json(whole)
        if not self.limits:
            return told
        is_old = now - self._counted_at > RECOUNT_SECONDS
        if told != self._whole or is_old:
            self._part = campaign_json(sight.seen_within(whole, self.limits))
            self._whole = told
            self._check_numbers()
        if is_old:
            self._pages.clear()
            self._counted_at = now
        return self._part

    def _check_numbers(self) -> None:
        """Look whether the newest answer still bears its number, which hosts that enter or leave labels change."""
        number, place = self._newest
        now = numbering.number_at(self._seen, place)
        if now != number:
            self._pages.clear()
        if now < number:
            self.numbering += 1
        self._newest = numbering.newest(self._seen, self.limits)

    @property
    def _seen(self) -> Campaign:
        """Give what stands for the campaign where answers are read."""
        of = Campaign(pk=self.campaign_id)
        of.limits = self.limits
        return of

    async def _follow(self) -> None:
        """Look when rung and every two seconds, at most twice a second."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._rung.wait()
            self._rung.clear()
            try:
                await self._look()
            except DatabaseError as error:
                logger.warning("viewers wait campaign=%s reason=%s", self.campaign_id, str(error).strip())
            await asyncio.sleep(PROGRESS_SECONDS)

    async def _listen(self) -> None:
        """Hear the doorbell, on a channel of our own in the campaign's group."""
        layer = get_channel_layer()
        while True:
            try:
                channel = await layer.new_channel()
                await layer.group_add(group_of(self.campaign_id), channel)
                try:
                    while True:
                        await layer.receive(channel)
                        self._rung.set()
                finally:
                    await layer.group_discard(group_of(self.campaign_id), channel)
            except (RedisError, OSError) as error:
                logger.warning("doorbell lost campaign=%s reason=%s", self.campaign_id, error)
                await asyncio.sleep(LOOK_SECONDS)


class Readers:
    """The readers of this process, each open as long as somebody looks."""

    def __init__(self) -> None:
        self._readers: dict[tuple[int, Limits], Reader] = {}
        self._opening: dict[tuple[int, Limits], asyncio.Task[None]] = {}

    async def enter(self, campaign_id: int, limits: Limits) -> Reader:
        """Give the campaign's reader within these limits, opened. Raise Campaign.DoesNotExist."""
        key = campaign_id, limits
        reader = self._readers.get(key)
        if reader is None:
            reader = self._readers[key] = Reader(campaign_id, limits)
            # Apart from who comes first: a reader outlives his request, and with it the thread that its context names.
            self._opening[key] = asyncio.create_task(reader.open(), context=Context())
        reader.viewers += 1
        try:
            if key in self._opening:
                await asyncio.shield(self._opening[key])
        except BaseException:
            await self.leave(reader)
            raise
        return reader

    async def leave(self, reader: Reader) -> None:
        """Take a viewer off; the last one closes the reader."""
        reader.viewers -= 1
        key = reader.campaign_id, reader.limits
        if not reader.viewers and self._readers.get(key) is reader:
            del self._readers[key]
            await end([self._opening.pop(key)])
            await reader.close()


readers = Readers()
