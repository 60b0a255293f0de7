"""A gateway's own figures for monitors, read from what it counts anyway when somebody asks: check-ins pay nothing."""

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from agents.board.copy import Board
from agents.board.gateway_verbs import Store
from agents.gateway.held_reads import Hold
from agents.protocol.endpoints import VERBS

# The names under which the gateway counts. Nothing that was sent is one: strangers would fill the memory with theirs.
UNKNOWN_ADDRESS = "unknown address"
REQUESTS = (*VERBS, UNKNOWN_ADDRESS)
COME_AGAIN = ("no board", "no redis", "failed", "refused body", "no config", "backlog")
PLAIN = {
    "stored": ("fleet_gateway_answers", "Answers taken into the stream, synced to disk"),
    "deliveries": ("fleet_gateway_deliveries", "Queries handed to hosts"),
    "given back": ("fleet_gateway_given_back", "Deliveries that reached nobody and were undone"),
    "log batches": ("fleet_gateway_log_batches", "Batches of log lines that came"),
    "log lines": ("fleet_gateway_log_lines", "Log lines taken into the sink"),
    "node invalid": ("fleet_gateway_node_invalid", "Times a host was told to enroll again"),
}
DROPPED = ("not owed", "unknown", "not json", "writes without answers")


class Figures:
    """The figures of one gateway (a collector of prometheus_client)."""

    def __init__(self, counts: Counter[str], hold: Hold, board: Board, store: Callable[[], Store], most: int) -> None:
        self._counts, self._hold, self._board, self._store, self._most = counts, hold, board, store, most

    def show(self) -> None:
        """Let monitors see these figures from now on."""
        REGISTRY.register(self)

    def hide(self) -> None:
        """Take these figures away from monitors."""
        REGISTRY.unregister(self)

    def describe(self) -> Iterator[Metric]:
        """Claim no names: several gateways may live in one process, and their figures stand beside each other."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Give every figure, those that are zero too: a rate needs a beginning."""
        counts = self._counts.copy()
        yield _by("fleet_gateway_requests", "Requests of agents", "verb", REQUESTS, counts)
        yield _by("fleet_gateway_dropped", "What agents sent that was dropped", "reason", DROPPED, counts)
        said = "Requests told to come again, whose senders keep what they have"
        yield _by("fleet_gateway_come_again", said, "reason", COME_AGAIN, counts)
        for name, (metric, said) in PLAIN.items():
            yield CounterMetricFamily(metric, said, value=counts[name])
        store = self._store()
        yield CounterMetricFamily("fleet_gateway_round_trips", "Pipelines sent to Redis", value=store.round_trips)
        yield GaugeMetricFamily("fleet_gateway_held_reads", "Reads that are held now", value=len(self._hold))
        yield GaugeMetricFamily("fleet_gateway_held_reads_limit", "Reads that this process may hold", value=self._most)
        is_whole = self._board.epoch is not None
        yield GaugeMetricFamily("fleet_gateway_board_whole", "1 = the copy of the board can be used", value=is_whole)
        yield GaugeMetricFamily(
            "fleet_gateway_backlog_bytes", "Answers in the stream, as last seen", value=store.backlog
        )


def _by(name: str, said: str, label: str, values: tuple[str, ...], counts: Counter[str]) -> Metric:
    family = CounterMetricFamily(name, said, labels=[label])
    for value in values:
        family.add_metric([value], counts[value])
    return family
