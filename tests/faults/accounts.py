"""The accounts after a fault: every answer, every target, and everything that could have been left behind.

Each check gives sentences of what is wrong; none is what tests want to hear.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.agents import Manner, Sent
from tests.faults.stage import Stage, wait_for

FINAL = ("answered", "failed", "denylisted", "unsupported", "no_answer", "missed", "held_back", "stopped")
BY_ANSWER = ("answered", "failed", "denylisted")
# What was sent before Redis lost its last moment, or so soon after, may be lost though it was acknowledged. Its host is
# asked again, and that answer is late when it comes after the end: which of two is stored says the number in its rows.
LOSS_SECONDS = 5.0
CLOCKS_APART = 0.2  # seconds between an agent's notes and Redis' clock, on one machine
TARGETS = """
SELECT target.host_id, target.state, target.late, target.deliveries,
    (SELECT json_agg(json_build_array(seq, rows, state, late)) FROM campaigns_result AS result
     WHERE result.campaign_id = target.campaign_id AND result.host_id = target.host_id)
FROM campaigns_target AS target WHERE target.campaign_id = %s
"""
CAMPAIGN = """
SELECT status, extract(epoch FROM started_at), extract(epoch FROM ended_at), last_seq, count_targeted, ended_reason,
    ended_by FROM campaigns_campaign WHERE id = %s
"""


class Ended(NamedTuple):
    """A campaign as PostgreSQL has it."""

    number: int
    status: str
    started_at: float
    ended_at: float
    last_seq: int
    targeted: int
    reason: str
    ended_by: str


def check(stage: Stage, campaigns: list[int]) -> list[str]:
    """Compare every target and every stored answer with what its host did and was told."""
    return [sentence for number in campaigns for sentence in _campaign(stage, number)]


def _campaign(stage: Stage, number: int) -> Iterator[str]:
    status, started, *rest = stage.sql(CAMPAIGN, number)[0]
    if status not in ("completed", "expired", "stopped"):
        yield f"campaign {number} is {status}"
        return
    campaign = Ended(number, status, float(started or 0), float(rest[0]), *rest[1:])
    targets = stage.sql(TARGETS, number)
    yield from _sums(stage, campaign, Counter(state for _, state, *_ in targets))
    manners = {agent.host: agent.manner for agent in stage.crowd.agents}
    seqs: list[int] = []
    for host, state, late, deliveries, results in targets:
        found = results or []
        seqs += [result[0] for result in found]
        for sentence in _target(stage, campaign, host, manners[host], state, late, deliveries, found):
            yield f"campaign {number} ({status}: {campaign.reason}) host {host} ({manners[host].value}): {sentence}"
    if len(set(seqs)) != len(seqs) or max(seqs, default=0) > campaign.last_seq:
        yield f"campaign {number}: seqs {sorted(seqs)} do not fit last_seq {campaign.last_seq}"


def _sums(stage: Stage, campaign: Ended, states: "Counter[str]") -> Iterator[str]:
    answer = stage.http.get(f"/api/v1/campaigns/{campaign.number}/").json()
    counts = {name: answer["counts"][name] for name in FINAL if answer["counts"][name]}
    if counts != dict(states) or sum(counts.values()) != campaign.targeted:
        yield f"campaign {campaign.number} counts {counts} of {campaign.targeted}, its targets are {dict(states)}"


def _target(
    stage: Stage,
    campaign: Ended,
    host: int,
    manner: Manner,
    state: str,
    late: bool,
    deliveries: int,
    results: list[list[Any]],
) -> Iterator[str]:
    ledger = stage.crowd.ledger
    sent = ledger.sent.get((campaign.number, host), {})
    acknowledged = ledger.acknowledged(campaign.number, host)
    in_time = [each for each in acknowledged if (each.acknowledged or 0) < campaign.ended_at - CLOCKS_APART]
    lost = [each for each in acknowledged if any(each.sent < moment + LOSS_SECONDS for moment in stage.lossy)]
    if state not in FINAL:
        yield f"it is {state}, which is not final"
    if len(results) != (state in BY_ANSWER):
        yield f"it is {state} and has {len(results)} results"
    if in_time and state not in BY_ANSWER and not lost:
        yield f"its answer was acknowledged {in_time[0]} and it is {state}"
    if late and (wronged := [each for each in in_time if each not in lost or each.number in _numbers(results)]):
        yield f"its answer was acknowledged in time {wronged[0]} and is shown as late"
    if state in BY_ANSWER:
        yield from _answer(manner, state, sent, results)
    elif state == "missed" and _asked(ledger.reads.get(host, []), campaign):
        yield "it is missed and asked in between"
    elif state == "missed" and ledger.handed.get((campaign.number, host)):
        yield "it is missed and was handed the SQL"
    elif state == "held_back" and ledger.handed.get((campaign.number, host)):
        yield "it was held back and was handed the SQL"
    elif state == "no_answer" and not deliveries:
        yield "it has no answer and was never delivered"


def _numbers(results: list[list[Any]]) -> list[str]:
    return [row["n"] for _, rows, *_ in results for row in rows]


def _answer(manner: Manner, state: str, sent: dict[str, Sent], results: list[list[Any]]) -> Iterator[str]:
    if not sent:
        yield f"it is {state} and never answered"
    if state != manner.value:
        yield f"it is {state} and answered as {manner.value}"
    for _, rows, its_state, _ in results:
        if its_state != state:
            yield f"it is {state} and its result is {its_state}"
        numbers = [row["n"] for row in rows]
        if state == "answered" and (len(numbers) != 1 or numbers[0] not in sent):
            yield f"it sent {list(sent)} and {numbers} is stored"


def _asked(reads: list[float], campaign: Ended) -> bool:
    """Say whether a read ended well within the campaign's time, so that the host surely asked meanwhile."""
    return any(campaign.started_at + 1 < read < campaign.ended_at - 1 for read in reads)


# --- what may not be left behind -----------------------------------------------------------------------------------


def leftovers(stage: Stage) -> list[str]:
    """Look what campaigns leave behind two hours after they ended; the agents may live on."""
    stage.sql("UPDATE campaigns_campaign SET ended_at = ended_at - interval '2 hours' WHERE ended_at IS NOT NULL")
    try:
        wait_for(lambda: _forgets(stage), "the board forgets campaigns", 90)
    except AssertionError:
        return [f"left on the board: {_keys(stage)[:20]}"]
    return [*_strange_keys(stage), *_queues(stage), *_files(stage), *_sessions(stage), *_dead_letters(stage)]


def _forgets(stage: Stage) -> bool:
    """Say whether no campaign is left; else let a worker forget, as beat does each minute: closing may come after."""
    if not _keys(stage):
        return True
    stage.send_task("campaigns.forget", "sweeps")
    time.sleep(1)
    return False


def _keys(stage: Stage) -> list[str]:
    pattern = re.compile(r"(campaign|owed|offer|flight):[0-9].*")
    return [key for key in (key.decode() for key in stage.board.scan_iter(count=1000)) if pattern.fullmatch(key)]


KNOWN = re.compile(
    r"board:.*|audit:end|log:(seen|claim):.*|hint:.*|results|throttle:.*|signin:.*|enroll:wrong:.*|_kombu\..*|unacked.*|live|sweeps|hooks|unanswered:.*"
    r"|(campaign|owed|offer|flight):-.*"  # housekeeping, which never ends
)


def _strange_keys(stage: Stage) -> Iterator[str]:
    for key in stage.board.scan_iter(count=1000):
        if not KNOWN.fullmatch(key.decode()):
            yield f"key left in Redis: {key.decode()}"
        elif key.startswith((b"unanswered:", b"throttle:", b"log:", b"hint:")) and stage.board.ttl(key) == -1:
            yield f"key without an end in Redis: {key.decode()}"


def _queues(stage: Stage) -> Iterator[str]:
    try:
        wait_for(lambda: stage.board.xlen("results") <= 1, "the stream is stored", 90)
    except AssertionError:
        yield f"{stage.board.xlen('results')} entries are left in the stream"
    for queue in ("live", "sweeps", "hooks"):
        if (waiting := stage.board.llen(queue)) > 50:
            yield f"{waiting} messages wait in the queue {queue}"


def _files(stage: Stage) -> Iterator[str]:
    for name in ("tmp", "carves", "analysis"):
        left = [path for path in (stage.folder / name).rglob("*") if path.is_file()]
        if left:
            yield f"files left behind: {left[:10]}"


def _sessions(stage: Stage) -> Iterator[str]:
    old = stage.sql(
        "SELECT pid, state, query FROM pg_stat_activity WHERE state LIKE 'idle in%%' AND usename = 'fleet_owner'"
        " AND state_change < now() - interval '15 s'"
    )
    if old:
        yield f"transactions left open: {old}"


def _dead_letters(stage: Stage) -> Iterator[str]:
    for entry, campaign, host, reason in stage.sql(
        "SELECT entry, campaign_id, host_id, reason FROM campaigns_deadletter"
    ):
        yield f"dead letter {entry} of campaign {campaign} host {host}: {reason}"


def log_lines(stage: Stage) -> list[str]:
    """Compare the log lines that agents were told are taken with those in the sink."""
    file = Path(stage.folder / "agent-logs.ndjson")
    kept = [json.loads(line)["line"]["name"] for line in file.read_text().splitlines()] if file.exists() else []
    lost = stage.crowd.ledger.lines - set(kept)
    return [f"log lines were acknowledged and are not in the sink: {sorted(lost)[:10]}"] if lost else []


ENDS = r"( *[A-Za-z_.]+(?:Error|Exception|Interrupt).*)"
TRACEBACK = re.compile(r"^ *Traceback \(most recent call last\):\n(?: +.*\n|\n)*?" + ENDS, re.MULTILINE)


def tracebacks(stage: Stage, since: dict[str, int]) -> list[str]:
    """Give what ended in a traceback, by process, since these places of the logs."""
    found = []
    for name, process in stage.processes.items():
        text = process.log.read_bytes()[since.get(name, 0) :].decode(errors="replace")
        ends = Counter(match[1].strip()[:200] for match in TRACEBACK.finditer(text))
        found += [f"{name}: {times} times {end}" for end, times in ends.items()]
    return found


def log_places(stage: Stage) -> dict[str, int]:
    """Give where each log ends now."""
    return {name: process.log.stat().st_size for name, process in stage.processes.items()}
