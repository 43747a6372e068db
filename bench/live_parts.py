"""The parts of a live measurement, by name."""

from collections.abc import Callable, Iterator

from bench.live_costs import measure_costs
from bench.live_memory import measure_memory, measure_stalled
from bench.live_rates import measure_latency, measure_sustained
from bench.live_sites import Row, Site

Part = Callable[[Site], Iterator[Row]]
PARTS: dict[str, Part] = {
    "cost": measure_costs,
    "latency": measure_latency,
    "sustained": measure_sustained,
    "memory": measure_memory,
    "stalled": measure_stalled,
}
