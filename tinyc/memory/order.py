"""Order of execution with the least peak of live tensors, by best-first search over sets of executed nodes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class OrderNode:
    """One op: the nodes whose results it reads, the bytes of its own result, and whether that is an output of the network."""

    reads: frozenset[int]
    size_bytes: int
    is_output: bool


def peak_of_order(nodes: Sequence[OrderNode], order: Sequence[int]) -> int:
    """Most bytes live at once: while a node runs, its result and everything that it or a later node reads."""
    remaining = [0] * len(nodes)
    for node in nodes:
        for read in node.reads:
            remaining[read] += 1
    live = peak = 0
    for index in order:
        live += nodes[index].size_bytes
        peak = max(peak, live)
        for read in nodes[index].reads:
            remaining[read] -= 1
            if remaining[read] == 0 and not nodes[read].is_output:
                live -= nodes[read].size_bytes
        if remaining[index] == 0 and not nodes[index].is_output:
            live -= nodes[index].size_bytes
    return peak


def live_total_of_order(nodes: Sequence[OrderNode], order: Sequence[int]) -> int:
    """Bytes live while a node runs, added up over all nodes."""
    search = _Search(nodes)
    done = total = 0
    for index in order:
        total += search.live_bytes(done) + nodes[index].size_bytes
        done |= 1 << index
    return total


def least_peak_order(nodes: Sequence[OrderNode], max_states: int) -> list[int]:
    """An order with the least peak, and of those one with the fewest bytes live on average; the given one where it is as good.

    States are sets of executed nodes (downsets of the graph). The least peak on any way to a state is a bottleneck path, so the first
    time that best-first search takes the full set, its peak is optimal; a second search then adds up live bytes over ways that stay at
    or below that peak. Either search ends without a result where it exceeds `max_states` states.
    """
    search, given = _Search(nodes), list(range(len(nodes)))
    peak, total = peak_of_order(nodes, given), live_total_of_order(nodes, given)
    least = search.run(lambda cost, live: max(cost, live), peak, max_states)
    if least is not None:
        peak, total = peak_of_order(nodes, least), live_total_of_order(nodes, least)
    fewest = search.run(lambda cost, live: cost + live if live <= peak else total, total, max_states)
    return fewest or least or given


class _Search:
    """Best-first search over sets of executed nodes."""

    def __init__(self, nodes: Sequence[OrderNode]) -> None:
        self._nodes = nodes
        self._readers: list[list[int]] = [[] for _ in nodes]
        for index, node in enumerate(nodes):
            for read in node.reads:
                self._readers[read].append(index)

    def live_bytes(self, done: int) -> int:
        """Bytes of results that outputs or nodes not in `done` still need."""
        return sum(
            node.size_bytes
            for index, node in enumerate(self._nodes)
            if done >> index & 1 and (node.is_output or any(not done >> reader & 1 for reader in self._readers[index]))
        )

    def run(self, extend: Callable[[int, int], int], bound: int, max_states: int) -> list[int] | None:
        """The order of least cost if below `bound`; `extend` gives the cost of a way and one more node, by the bytes live there."""
        count = len(self._nodes)
        best: dict[int, int] = {0: 0}
        came_from: dict[int, tuple[int, int]] = {}
        # Ties go to the state with more nodes done, then to the given order: fewest moves away from what the user drew.
        queue: list[tuple[int, int, int]] = [(0, 0, 0)]
        closed: set[int] = set()
        while queue:
            spent, _, done = heapq.heappop(queue)
            if done in closed:
                continue
            closed.add(done)
            if len(closed) > max_states or spent >= bound:
                return None
            if done == (1 << count) - 1:
                order = []
                while done:
                    done, index = came_from[done]
                    order.append(index)
                return order[::-1]
            live = self.live_bytes(done)
            for index, node in enumerate(self._nodes):
                if done >> index & 1 or any(not done >> read & 1 for read in node.reads):
                    continue
                after, cost = done | 1 << index, extend(spent, live + node.size_bytes)
                if cost < best.get(after, bound):
                    best[after], came_from[after] = cost, (done, index)
                    heapq.heappush(queue, (cost, -after.bit_count(), after))
        return None
