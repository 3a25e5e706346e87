"""Order of execution with the least peak of live tensors, by best-first search over sets of executed nodes."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
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


def least_peak_order(nodes: Sequence[OrderNode], max_states: int) -> list[int]:
    """An order with the least peak, which is the given one if that is already best or if the search exceeds `max_states` states.

    States are sets of executed nodes (downsets of the graph); the cost of a state is the least peak on any way to it, a bottleneck
    path, so the first time that best-first search takes the full set, its way is optimal.
    """
    count = len(nodes)
    given = list(range(count))
    bound = peak_of_order(nodes, given)
    readers: list[list[int]] = [[] for _ in range(count)]
    for index, node in enumerate(nodes):
        for read in node.reads:
            readers[read].append(index)

    def live_bytes(done: int) -> int:
        return sum(
            node.size_bytes
            for index, node in enumerate(nodes)
            if done >> index & 1 and (node.is_output or any(not done >> reader & 1 for reader in readers[index]))
        )

    best: dict[int, int] = {0: 0}
    came_from: dict[int, tuple[int, int]] = {}
    # Ties go to the state with more nodes done, then to the given order: fewest moves away from what the user drew.
    queue: list[tuple[int, int, int]] = [(0, 0, 0)]
    closed: set[int] = set()
    while queue:
        peak, _, done = heapq.heappop(queue)
        if done in closed:
            continue
        closed.add(done)
        if len(closed) > max_states or peak >= bound:
            return given
        if done == (1 << count) - 1:
            order = []
            while done:
                done, index = came_from[done]
                order.append(index)
            return order[::-1]
        live = live_bytes(done)
        for index, node in enumerate(nodes):
            if done >> index & 1 or any(not done >> read & 1 for read in node.reads):
                continue
            after, cost = done | 1 << index, max(peak, live + node.size_bytes)
            if cost < best.get(after, bound):
                best[after], came_from[after] = cost, (done, index)
                heapq.heappush(queue, (cost, -after.bit_count(), after))
    return given
