"""The order of execution against all topological orders of small random graphs."""

from __future__ import annotations

import itertools
import random

import pytest

from tinyc.memory.order import OrderNode, least_peak_order, live_total_of_order, peak_of_order


def random_graph(generator: random.Random, count: int) -> list[OrderNode]:
    nodes = []
    for index in range(count):
        reads = frozenset(generator.sample(range(index), generator.randint(0, min(index, 2))))
        nodes.append(OrderNode(reads, generator.randint(1, 50), generator.random() < 0.2))
    return nodes


def topological(nodes: list[OrderNode], order: tuple[int, ...]) -> bool:
    position = {node: place for place, node in enumerate(order)}
    return all(position[read] < position[index] for index, node in enumerate(nodes) for read in node.reads)


def live_bytes(nodes: list[OrderNode], order: tuple[int, ...]) -> list[int]:
    """The definition: at each node, its result and all earlier results that it or a later node reads or that are outputs."""
    found = []
    for place, current in enumerate(order):
        later = set().union(*(nodes[index].reads for index in order[place:]))
        live = {index for index in order[:place] if index in later or nodes[index].is_output} | {current}
        found.append(sum(nodes[index].size_bytes for index in live))
    return found


@pytest.mark.parametrize("seed", range(60))
def test_the_order_has_the_least_peak_of_all_and_then_the_fewest_live_bytes(seed: int) -> None:
    generator = random.Random(seed)
    nodes = random_graph(generator, generator.randint(1, 6))
    orders = [order for order in itertools.permutations(range(len(nodes))) if topological(nodes, order)]
    for order in orders[:20]:
        live = live_bytes(nodes, order)
        assert (peak_of_order(nodes, order), live_total_of_order(nodes, order)) == (max(live), sum(live))
    costs = {order: (max(live), sum(live)) for order in orders if (live := live_bytes(nodes, order))}
    found, given = tuple(least_peak_order(nodes, 10_000)), tuple(range(len(nodes)))
    assert topological(nodes, found)
    assert costs[found] == min(costs.values())
    if costs[given] == costs[found]:
        assert found == given


def test_some_graphs_gain_from_another_order() -> None:
    gains = 0
    for seed in range(60):
        generator = random.Random(seed)
        nodes = random_graph(generator, 6)
        gains += peak_of_order(nodes, least_peak_order(nodes, 10_000)) < peak_of_order(nodes, range(6))
    assert gains > 5


def test_the_given_order_stays_where_the_search_is_cut_off() -> None:
    # Two wide branches that shrink: running one to its end first is better.
    nodes = [
        OrderNode(frozenset(), 1, False),
        OrderNode(frozenset({0}), 100, False),
        OrderNode(frozenset({0}), 100, False),
        OrderNode(frozenset({1}), 1, False),
        OrderNode(frozenset({2}), 1, False),
        OrderNode(frozenset({3, 4}), 1, True),
    ]
    assert peak_of_order(nodes, range(6)) == 201
    assert peak_of_order(nodes, least_peak_order(nodes, 10_000)) == 102
    assert least_peak_order(nodes, 2) == list(range(6))
