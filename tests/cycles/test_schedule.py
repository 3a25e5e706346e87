"""The list scheduler: another order computes the same and takes no more cycles, whatever the block."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.assembly import assemble
from tinyc.cycles import CortexM7, Instruction
from tinyc.cycles.instruction import Kind
from tinyc.cycles.schedule import dependences, schedule

MODEL = CortexM7()
STORES = (Kind.STORE, Kind.STORE_MULTIPLE)
ACCESSES = (Kind.LOAD, Kind.LOAD_MULTIPLE, *STORES)

SHAPES = (
    "ldr {0}, [{1}, #{offset}]",
    "ldr {0}, [{1}], #4",
    "ldrb {0}, [{1}, #{offset}]",
    "ldrd {0}, {1}, [{2}, #{offset}]",
    "ldmia.w {0}!, {{{1}, {2}}}",
    "str {0}, [{1}, #{offset}]",
    "strb {0}, [{1}], #1",
    "strd {0}, {1}, [{2}]",
    "smlad {0}, {1}, {2}, {3}",
    "smlad {0}, {1}, {2}, {0}",
    "smmul {0}, {1}, {2}",
    "smlal {0}, {1}, {2}, {3}",
    "ssat {0}, #8, {1}, asr #4",
    "sxtb16 {0}, {1}",
    "pkhbt {0}, {1}, {2}, lsl #16",
    "add {0}, {1}, {2}",
    "adds {0}, {1}, {2}",
    "adc {0}, {1}, {2}",
    "and {0}, {1}, {2}, lsl #8",
    "movt {0}, #{offset}",
    "cmp {0}, {1}",
    "sdiv {0}, {1}, {2}",
    "vmul.f32 s0, s1, s2",
    "vmov {0}, s0",
)
"""Every kind of instruction that straight code has, and every way to read and write a register."""


@st.composite
def lines(draw: st.DrawFn) -> str:
    registers = draw(st.permutations(["r0", "r1", "r2", "r3", "r4", "r5"]))
    return draw(st.sampled_from(SHAPES)).format(*registers, offset=4 * draw(st.integers(0, 3)))


blocks = st.lists(lines(), min_size=1, max_size=24).map(lambda text: tuple(assemble("\n".join(text))))

Value = tuple[object, ...]


def computed(block: Sequence[Instruction], order: Sequence[int]) -> tuple[dict[str, Value], Value]:
    """Registers and the history of memory after `order`, every instruction an unknown function of all that it reads.

    Equal values mean an equal result, whatever the instructions compute and wherever pointers point.
    """
    registers: dict[str, Value] = {}
    memory: Value = ()
    for number in order:
        instruction = block[number]
        inputs = tuple(registers.get(register, (register,)) for register in sorted(instruction.all_reads))
        value: Value = (instruction.mnemonic, number, inputs, memory if instruction.kind in ACCESSES else ())
        if instruction.kind in STORES:
            memory = (memory, value)
        registers.update({register: (*value, register) for register in instruction.writes | instruction.base_writes})
    return registers, memory


@settings(max_examples=300, deadline=None)
@given(blocks, st.booleans())
def test_another_order_computes_the_same_in_no_more_cycles(block: tuple[Instruction, ...], repeats: bool) -> None:
    order = schedule(block, MODEL, repeats)
    given_order = range(len(block))
    assert sorted(order) == list(given_order)
    assert computed(block, order) == computed(block, given_order)
    reordered = [block[number] for number in order]
    if repeats:
        assert MODEL.following_cycles(reordered, reordered, True) <= MODEL.following_cycles(block, block, True)
    else:
        assert MODEL.straight_cycles(reordered) <= MODEL.straight_cycles(block)


@settings(max_examples=200, deadline=None)
@given(blocks)
def test_instructions_without_a_dependence_may_change_places(block: tuple[Instruction, ...]) -> None:
    """The dependences are not stricter than needed: neighbours that have none can be swapped."""
    before = dependences(block)
    order = list(range(len(block)))
    for first, second in pairwise(range(len(block))):
        if first not in before[second]:
            swapped = [*order[:first], second, first, *order[second + 1 :]]
            assert computed(block, swapped) == computed(block, order)


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("add r0, r1, r2\nadd r3, r0, r4", [set(), {0}]),
        ("add r0, r1, r2\nadd r1, r3, r4", [set(), {0}]),
        ("add r0, r1, r2\nadd r0, r3, r4", [set(), {0}]),
        ("add r0, r1, r2\nadd r3, r1, r2", [set(), set()]),
        ("adds r0, r1, r2\nadc r3, r4, r5", [set(), {0}]),
        ("ldr r0, [r1], #4\nldr r2, [r1]", [set(), {0}]),
        ("ldr r0, [r1]\nldr r2, [r3]", [set(), set()]),
        ("ldr r0, [r1]\nstr r2, [r3]", [set(), {0}]),
        ("str r2, [r3]\nldr r0, [r1]\nldr r4, [r5]\nstr r6, [r5]", [set(), {0}, {0}, {0, 1, 2}]),
    ],
)
def test_dependences(text: str, needs: list[set[int]]) -> None:
    assert dependences(assemble(text)) == [frozenset(entry) for entry in needs]


@pytest.mark.parametrize("text", ["b.n 0", "bl 0", "pop {r4, pc}", "it eq\nmoveq r0, r1", "mrs r0, PRIMASK"])
def test_other_than_straight_code_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="straight code"):
        schedule(tuple(assemble(text)), MODEL)


def test_a_step_of_a_convolution_takes_a_cycle_a_product_from_four_temporaries() -> None:
    steps = 12
    text = []
    for step in range(steps):
        text += [f"ldr r8, [r9, #{8 * step}]", f"ldr r10, [r9, #{8 * step + 4}]"]
        for column in range(4):
            value = ("r11", "r12")[column % 2]
            text += [f"ldr {value}, [lr, #{16 * step + 4 * column}]"]
            text += [f"smlad r{2 * column + half}, {value}, {('r8', 'r10')[half]}, r{2 * column + half}" for half in range(2)]
    block = tuple(assemble("\n".join(text)))
    # The first products wait two cycles for the second pair of loads.
    assert MODEL.straight_cycles([block[number] for number in schedule(block, MODEL)]) == 8 * steps + 3
    assert MODEL.straight_cycles(block) > 12 * steps


def test_the_first_order_stays_where_no_other_is_faster() -> None:
    block = tuple(assemble("add r0, r1, r2\nadd r0, r0, r2\nadd r0, r0, r2"))
    assert schedule(block, MODEL) == (0, 1, 2)
