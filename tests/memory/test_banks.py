"""place_in_banks: nothing live is written over, nothing exceeds a bank where a way exists, and the fastest bank gets what it is for."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product

from hypothesis import example, given, settings
from hypothesis import strategies as st
from planning_cases import planning_case

from support.placements import assert_nothing_collides
from tinyc.memory.banks import BankPlacement, place_in_banks
from tinyc.memory.placement import Buffer, Overlap, align_up, place


def check(buffers: list[Buffer], overlaps: list[Overlap], found: BankPlacement) -> None:
    """Every buffer is aligned and inside its arena; live ones in one bank lie apart or as was proved safe."""
    assert_nothing_collides(buffers, overlaps, found.offsets, found.banks)
    for buffer, start, bank in zip(buffers, found.offsets, found.banks, strict=True):
        assert start + buffer.size <= found.arena_bytes[bank]


def accesses_of(buffers: list[Buffer], seed: int) -> list[int]:
    generator = random.Random(seed)
    return [generator.choice([1, 3, 20, 200]) * buffer.size // 4 + 1 for buffer in buffers]


def outside(accesses: list[int], banks: tuple[int, ...] | list[int], bank: int) -> int:
    return sum(count for count, chosen in zip(accesses, banks, strict=True) if chosen > bank)


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 1 << 30), st.lists(st.integers(1, 6000), min_size=1, max_size=4))
def test_live_buffers_of_a_bank_never_lie_over_each_other(seed: int, capacities: list[int]) -> None:
    buffers, overlaps = planning_case(seed, 14)
    check(buffers, overlaps, place_in_banks(buffers, overlaps, accesses_of(buffers, seed), capacities))


@settings(max_examples=60, deadline=None)
@example(seed=23, fast=1)
@given(st.integers(0, 1 << 30), st.integers(1, 2000))
def test_capacities_are_kept_where_the_last_bank_takes_all(seed: int, fast: int) -> None:
    buffers, overlaps = planning_case(seed, 14)
    slow = align_up(place(buffers, overlaps).arena_bytes, 4)
    found = place_in_banks(buffers, overlaps, accesses_of(buffers, seed), [fast, slow])
    assert found.arena_bytes[0] <= fast
    assert found.arena_bytes[1] <= slow


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(1, 4000))
def test_what_fits_the_first_bank_as_a_whole_lies_there(seed: int, second: int) -> None:
    buffers, overlaps = planning_case(seed, 8)
    enough = align_up(place(buffers, overlaps, attempts=10).arena_bytes, 4)
    found = place_in_banks(buffers, overlaps, accesses_of(buffers, seed), [enough, second])
    assert set(found.banks) == {0}


def test_the_densest_accesses_are_in_the_fastest_bank() -> None:
    scratch, tensor, ring = Buffer(64, 0, 0), Buffer(1000, 0, 1), Buffer(200, 0, 0)
    found = place_in_banks([tensor, ring, scratch], [], [3000, 4000, 9000], [300, 2000])
    assert found.banks == (1, 0, 0)
    assert found.arena_bytes == (264, 1000)


def test_buffers_that_live_one_after_the_other_share_the_fastest_bank() -> None:
    buffers = [Buffer(100, step, step) for step in range(5)]
    assert place_in_banks(buffers, [], [10] * 5, [100, 1000]) == BankPlacement((0,) * 5, (0,) * 5, (100, 0))


def test_a_result_over_its_input_takes_the_room_of_one() -> None:
    buffers = [Buffer(100, 0, 1), Buffer(100, 1, 2)]
    assert place_in_banks(buffers, [Overlap(1, 0, 0)], [10, 10], [100, 1000]).arena_bytes == (100, 0)
    assert place_in_banks(buffers, [], [10, 11], [100, 1000]).banks == (1, 0)


def test_where_no_bank_has_room_the_largest_is_overfull() -> None:
    found = place_in_banks([Buffer(500, 0, 1), Buffer(80, 0, 1)], [], [1, 1], [100, 300])
    assert found.arena_bytes == (80, 500)


def test_the_second_of_three_banks_gets_the_second_best() -> None:
    buffers = [Buffer(100, 0, 0) for _ in range(3)]
    assert place_in_banks(buffers, [], [5, 50, 500], [100, 100, 100]).banks == (2, 1, 0)


def test_few_heavy_buffers_give_way_to_one_that_is_accessed_more_in_all() -> None:
    # By accesses a byte the small one comes first, and then the large one, which has most accesses, no longer fits.
    assert place_in_banks([Buffer(100, 0, 0), Buffer(8, 0, 0)], [], [1000, 90], [100, 200]).banks == (0, 1)


def best_possible(buffers: list[Buffer], overlaps: list[Overlap], accesses: list[int], capacities: list[int]) -> int | None:
    """Fewest accesses outside the first of two banks, over all divisions; None where no division fits."""
    costs = []
    for banks in product((0, 1), repeat=len(buffers)):
        fits = True
        for bank, capacity in enumerate(capacities):
            members = [index for index, chosen in enumerate(banks) if chosen == bank]
            numbers = {index: number for number, index in enumerate(members)}
            inside = [entry for entry in overlaps if entry.result in numbers and entry.source in numbers]
            pairs = [replace(entry, result=numbers[entry.result], source=numbers[entry.source]) for entry in inside]
            fits &= not members or place([buffers[index] for index in members], pairs, capacity).arena_bytes <= capacity
            if not fits:
                break
        if fits:
            costs.append(outside(accesses, banks, 0))
    return min(costs, default=None)


def test_small_instances_are_solved_as_well_as_by_trying_everything() -> None:
    solved = as_good = feasible = 0
    for seed in range(50):
        buffers, overlaps = planning_case(seed, 6)
        accesses = accesses_of(buffers, seed)
        whole = place(buffers, overlaps).arena_bytes
        capacities = [max(4, whole * (2 + seed % 4) // 8), whole * 7 // 8]
        best = best_possible(buffers, overlaps, accesses, capacities)
        if best is None:
            continue
        found = place_in_banks(buffers, overlaps, accesses, capacities)
        check(buffers, overlaps, found)
        solved += 1
        fits = all(size <= capacity for size, capacity in zip(found.arena_bytes, capacities, strict=True))
        feasible += fits
        as_good += fits and outside(accesses, found.banks, 0) == best
    print(f"{as_good} of {solved} as good as the best, {feasible} within their banks")
    assert solved >= 20
    assert feasible == solved
    assert as_good >= solved * 9 // 10
