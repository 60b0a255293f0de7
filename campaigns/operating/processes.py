"""What the doctor sees of the other processes: who was heard of lately, what waits, what could not be stored."""

from collections.abc import Iterator

from django.conf import settings
from django.db import DatabaseError
from redis.exceptions import RedisError

from agents.board import heartbeats, keyspace
from agents.board.health import health, remarks
from campaigns.answers import archive, carrying
from campaigns.collecting.models import DeadLetter
from campaigns.hooks.models import Hook
from campaigns.operating.figures import queues
from campaigns.operating.finding import Finding, broken, warning, well
from campaigns.operating.servers import forbidden, may_not
from fleet.audit import forwarding
from fleet.counting import counted, plural
from fleet.text import shown

OLD_MESSAGE_SECONDS = 15.0
CROWDED = 0.8
BEHIND_SECONDS = 60.0
HOOKS_NAMED = 10


def processes() -> Iterator[Finding]:
    """Look at what sweeper, worker, gateways and collector told, and at what waits for them."""
    found = health()
    for sentence in found.troubles:
        yield broken("processes", sentence, "start what is missing, and see its log")
    if not found.troubles:
        yield well("processes", "sweeper, worker, gateway and collector do their work")
    for look in (_load, _queues, _dead_letters, _sink, _archive, _hooks, _audit, _remarks):
        try:
            yield from look()
        except DatabaseError as error:
            if may_not(error):
                yield forbidden("processes", error)
        except (RedisError, OSError):
            continue  # said above, by those who look at the server itself


def _load() -> Iterator[Finding]:
    load = heartbeats.load()
    gateways = f"{counted(load.gateways, 'gateway')} {plural(load.gateways, 'holds', 'hold')}"
    waiting = f"{counted(load.answers_waiting, 'answer')} {plural(load.answers_waiting, 'waits', 'wait')}"
    said = f"{gateways} {counted(load.held_reads, 'read')}; {waiting} to be stored"
    if load.held_reads > CROWDED * load.most_held_reads:
        yield warning(
            "processes", said, f"they can hold {load.most_held_reads}: start another gateway (docs/capacity.md)"
        )
    else:
        yield well("processes", said)


def _queues() -> Iterator[Finding]:
    for queue, waiting in queues().items():
        if waiting.seconds > OLD_MESSAGE_SECONDS:
            said = (
                f"a message has waited {counted(round(waiting.seconds), 'second')} in the queue {queue}"
                f" ({counted(waiting.messages, 'message')})"
            )
            yield broken("processes", said, f"start a worker with -Q {queue}, or see why it is busy")


def _dead_letters() -> Iterator[Finding]:
    if number := DeadLetter.objects.count():
        letters = plural(number, "is kept as a dead letter", "are kept as dead letters")
        said = f"{counted(number, 'answer')} could not be stored and {letters}"
        yield warning("processes", said, "see them in the admin, Inner workings, with the reason of each")


def _sink() -> Iterator[Finding]:
    lag = carrying.lag()
    if lag is None:
        return
    if lag.failing_since is not None:
        said = f"ANSWERS_SINK takes no answers since {lag.failing_since:%Y-%m-%d %H:%M:%S} UTC: {lag.error}"
        yield broken("processes", said, "mend the destination: they are kept and carried then")
    elif lag.seconds > BEHIND_SECONDS:
        said = f"ANSWERS_SINK is {counted(round(lag.seconds), 'second')} behind"
        yield warning("processes", said, "is beat alive, and a worker with -Q hooks?")
    else:
        yield well("processes", "ANSWERS_SINK has every answer that is stored")


def _archive() -> Iterator[Finding]:
    if failures := archive.failures():
        many = f"the answers of {counted(len(failures), 'ended campaign')} are not in the archive"
        advice = "mend the storage (ARCHIVE_OPTIONS): they are kept, and written then"
        yield broken("processes", f"{many}; {failures[0]}", advice)


def _hooks() -> Iterator[Finding]:
    for hook in Hook.objects.select_related("owner").failing()[:HOOKS_NAMED]:
        said = f"the hook {shown(hook.name)} of {shown(hook.owner.get_username())} is not taken: {shown(hook.trouble)}"
        advice = "mend the receiver or the hook's address: what is given up after a day is sent again by hand"
        yield warning("processes", said, advice)


def _audit() -> Iterator[Finding]:
    if reason := forwarding.reason():
        advice = "mend the destination: every line is kept and carried then"
        yield broken("processes", f"AUDIT_SINK takes no lines: {reason}", advice)


def _remarks() -> Iterator[Finding]:
    client = keyspace.connect(settings.REDIS_URL)
    try:
        for remark in remarks(client):
            said, _, advice = remark.partition(": ")
            yield warning("processes", said, advice)
    finally:
        client.close()
