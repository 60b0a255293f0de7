"""Every key, script and client of Redis. Redis is the fast board, Postgres is the truth.

| key                  | type   | written by            | read by                | goes away                          |
|----------------------|--------|-----------------------|------------------------|------------------------------------|
| board:epoch          | string | rebuild, last         | every script, first    | at the start of a rebuild          |
| board:version        | string | arm, close, restore   | gateways, every second | never                              |
| board:slow_pollers   | set    | housekeeping          | claim                  | members: when quick again          |
| board:housekept      | string | housekeeping          | housekeeping           | never                              |
| board:pieces         | hash   | arm, close, restore   | gateways               | fields: when a campaign is closed  |
| board:campaigns      | set    | arm, restore          | rebuild, forget        | members: LATE_ANSWER_SECONDS after |
| board:floors         | hash   | revoke, restore       | gateways               | never: a revoked host stays so     |
| board:installation   | hash   | restore               | gateways, enrollment   | never                              |
| board:hosts          | hash   | enrollment, restore   | gateways               | never: a version per range         |
| board:hosts:R        | string | enrollment, restore   | gateways               | never: a tag of four bytes per host |
| board:strangers      | string | gateways, each second | /readyz                | a minute after the last            |
| board:reads          | hash   | gateways, each second | sweep, presence        | never: one small field per host    |
| board:writes         | hash   | gateways, each second | presence               | never: one small field per host    |
| board:addresses      | hash   | gateways, each second | enrollment             | never: one small field per host    |
| board:keys           | hash   | gateways, each second | gateways               | never: one small field per host    |
| board:doubts         | hash   | gateways, each second | presence               | fields: when carried to Postgres   |
| board:old_secrets    | hash   | gateways, each second | /readyz                | never: two fields per secret       |
| board:config         | string | config document       | gateways               | never                              |
| log:seen:H           | set    | gateways              | gateways               | two hours after its last line      |
| log:claim:D          | string | gateways              | gateways               | when written, or after 30 seconds  |
| enroll:wrong:A       | string | enrollment            | enrollment             | a minute after the first           |
| signin:*             | string | sign-in               | sign-in                | SIGN_IN_LOCK_MINUTES; 30 days    |
| audit:end            | hash   | a worker, each second | verify_audit           | never: one hash                    |
| throttle:*           | string | API, sockets          | API, sockets           | a minute after the last            |
| board:gateways       | hash   | gateways, each second | sweep, /readyz         | fields: when silent for a minute   |
| board:held           | hash   | gateways, each second | gateways               | fields: when silent for a minute   |
| board:swept          | string | sweep, each second    | claim, /readyz         | never                              |
| board:off            | string | kill switch, rebuild  | claim                  | when live queries are enabled      |
| board:worked         | string | a worker, each 2 s    | /readyz                | never                              |
| campaign:C           | hash   | arm, close, restore   | claim, accept          | LATE_ANSWER_SECONDS after its end  |
| owed:C:R             | bitmap | arm, accept, restore  | accept                 | with campaign:C                    |
| offer:C:R            | bitmap | arm, claim, accept    | claim, gateways        | when the campaign is closed        |
| flight:C             | hash   | claim, accept, give_back | claim, give_back, presence | when that is closed         |
| unanswered:C         | hash   | close                 | presence               | ten minutes after C was closed     |
| results              | stream | claim, accept, give_back | collector           | entries: when stored in Postgres   |
| board:rang:N         | pubsub | whoever raises the version | gateways          |                                    |
| doorbell*            | pubsub | channels              | sockets                |                                    |
| hint:*               | string | launches              | launches               | when taken, or after a second      |
| live, sweeps, _kombu* | list, … | Celery              | workers                | when done                          |

C is a campaign's id, or the negative id of a housekeeping query, whose bits are set by `ask` and which has neither end
nor flight. R is a range of 65,536 host ids (`host >> 16`), N the number of the Redis database, because pub/sub knows no
databases. Bit B of a bitmap is the host `R << 16 | B`. *owed*: this host may still answer; *offer*: it may still be
handed the SQL. A is an IP address, H an hour of Unix time, D the digest of a log line; log:* lie in LOG_SINK's
Redis when it names one. Times are milliseconds of Redis' own clock.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import redis
import redis.asyncio
from hiredis import pack_command

EPOCH = "board:epoch"
VERSION = "board:version"
PIECES = "board:pieces"
CAMPAIGNS = "board:campaigns"
FLOORS = "board:floors"
INSTALLATION = "board:installation"
HOSTS = "board:hosts"
STRANGERS = "board:strangers"
READS = "board:reads"
WRITES = "board:writes"
ADDRESSES = "board:addresses"
KEYS_IN_USE = "board:keys"
DOUBTS = "board:doubts"
OLD_SECRETS = "board:old_secrets"
CONFIG = "board:config"
GATEWAYS = "board:gateways"
SLOW_POLLERS = "board:slow_pollers"
HOUSEKEPT = "board:housekept"
HELD = "board:held"
SWEPT = "board:swept"
OFF = "board:off"
WORKED = "board:worked"
AUDIT_END, AUDIT_END_MISSED = "audit:end", "missed"  # the field is there while the audit lacks that line
STREAM = "results"

OLD_FORM_FIELD = -1  # of OLD_SECRETS: uses of keys that name no installation

RANGE_BITS = 16
RANGE_SIZE = 1 << RANGE_BITS

NO_BOARD = b"no board"  # what every script says without an epoch, or with another one than the copy's


class NoBoardError(Exception):
    """The board is not whole, or another one than the copy knows: nobody may be told that he owes nothing.

    What was to be written there follows when the sweep has rebuilt it.
    """

    def __init__(self) -> None:
        super().__init__("the board is not whole")


def campaign_key(campaign: int) -> str:
    """Name the hash with a campaign's SQL, times and whether it is open."""
    return f"campaign:{campaign}"


def owed_key(campaign: int, number: int) -> str:
    """Name the bitmap of hosts that may still answer."""
    return f"owed:{campaign}:{number}"


def offer_key(campaign: int, number: int) -> str:
    """Name the bitmap of hosts that may still be handed the SQL."""
    return f"offer:{campaign}:{number}"


def flight_key(campaign: int) -> str:
    """Name the hash of deliveries that were not answered: host -> "deliveries delivered_at holder further_at"."""
    return f"flight:{campaign}"


def unanswered_key(campaign: int) -> str:
    """Name what became of the hash of deliveries when the campaign was closed: hosts do not hear of that."""
    return f"unanswered:{campaign}"


def hosts_key(number: int) -> str:
    """Name the tags of the hosts of a range, four bytes each (`agents.protocol.node_key.tag_of`), zero = no host."""
    return f"board:hosts:{number}"


def wrong_secrets_key(address: str) -> str:
    """Name the count of wrong enroll secrets that came from an address within a minute; "all" = from anywhere."""
    return f"enroll:wrong:{address}"


def log_seen_key(hour: int) -> str:
    """Name the set of digests of log lines that came within an hour."""
    return f"log:seen:{hour}"


def log_claim_key(digest: bytes) -> str:
    """Name what says that a gateway is writing a log line just now."""
    return f"log:claim:{digest.hex()}"


def hint_key(task: str) -> str:
    """Say that a message of this task is on its way."""
    return f"hint:{task}"


def piece_field(campaign: int, number: int) -> str:
    """Name the field of PIECES that holds the version of one bitmap."""
    return f"{campaign}:{number}"


def server_of(redis_url: str) -> tuple[str, int, str]:
    """Name the server behind an address, whichever of its databases it is: host, port and path of the socket."""
    parts = redis.connection.parse_url(redis_url)  # type: ignore[no-untyped-call]
    return parts.get("host", "localhost"), parts.get("port", 6379), parts.get("path", "")


def bell_channel(redis_url: str) -> str:
    """Name the channel that is rung when the version was raised."""
    number = redis.connection.parse_url(redis_url).get("db", 0)  # type: ignore[no-untyped-call]
    return f"board:rang:{number}"


class Seat(NamedTuple):
    """Where a host's bit stands: the number of its range, and the bit in it."""

    number: int
    bit: int


def seat_of(host: int) -> Seat:
    """Split a host's id into range and bit."""
    return Seat(host >> RANGE_BITS, host & (RANGE_SIZE - 1))


@cache
def script(name: str) -> str:
    """Give the text of `lua/<name>.lua`."""
    return (Path(__file__).parent / "lua" / f"{name}.lua").read_text()


def connect(redis_url: str) -> Any:
    """Open a `redis.Redis` for the operators' side; Any, since redis-py's types fit no client that decodes nothing.

    It waits two seconds for a connection and ten for an answer."""
    return redis.Redis.from_url(redis_url, socket_connect_timeout=2, socket_timeout=10)


def connect_async(redis_url: str) -> Any:
    """Open a `redis.asyncio.Redis` for the agents' side, of the running event loop."""
    client = redis.asyncio.Redis.from_url(redis_url, socket_connect_timeout=2, socket_timeout=10)
    pool = client.connection_pool
    pool.connection_class = type("Connection", (_PacksQuickly, pool.connection_class), {})
    return client


class _PacksQuickly:
    """Writes pipelines by hiredis, which redis-py does for single commands alone: a third of what an answer costs."""

    def pack_commands(self, commands: Iterable[tuple[Any, ...]]) -> list[bytes]:
        """Give the commands as they are sent."""
        return [b"".join([pack_command(command) for command in commands])]


def now_ms(client: Any) -> int:
    """Give Redis' own clock."""
    seconds, microseconds = client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def entry_after(entry: str) -> str:
    """Give the smallest id of a stream entry that is larger than `entry`."""
    milliseconds, number = entry.split("-")
    return f"{milliseconds}-{int(number) + 1}"


def entry_order(entry: str) -> tuple[int, int]:
    """Give what sorts entries of a stream by their ids."""
    milliseconds, number = entry.split("-")
    return int(milliseconds), int(number)


def entry_ms(entry: str) -> int:
    """Give the moment at which Redis took an entry, in milliseconds."""
    return int(entry.split("-")[0])


def throttle_key(counted_for: str, minute: int) -> str:
    """Name the count of what a person or token asked within a minute of Unix time."""
    return f"throttle:{counted_for}:{minute}"


def sign_in_key(kind: str, *parts: str) -> str:
    """Name the count of wrong passwords of a name, an address or both; `known`: that the name signed in there."""
    return ":".join(("signin", kind, *parts))
