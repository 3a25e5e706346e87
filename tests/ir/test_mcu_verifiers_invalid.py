"""One test for every rule of the `mcu` level's verifiers; each damaged module is the valid one with a single change."""

from __future__ import annotations

import pytest
from xdsl.utils.exceptions import VerifyException

from tinyc.errors import ModelError
from tinyc.ir.mcu import BufferOp, buffer_of, row_shape
from tinyc.ir.text import parse_module

CALL = 'layer = "l", op = "O", kernel = #mcu.kernel<"K", {}>, in_place = [], macs = 0 : i64'
ROWS = "#mcu.rows<#builtin.int<1>, #builtin.int<1>, #builtin.int<1>, #builtin.int<0>, #builtin.int<1>>"


def buffer(name: str, kind: str, rows: int, row_bytes: int, slots: int, extra: str = "", alignment: int = 4) -> str:
    return (
        f'%{name} = mcu.buffer {{kind = "{kind}", layer = "{name}", rows = {rows} : i64, row_bytes = {row_bytes} : i64, '
        f"slots = {slots} : i64, alignment = {alignment} : i64{extra}}}\n"
    )


VALID = (
    "builtin.module {\n"
    + buffer("in", "input", 8, 4, 8, ", offset = 0 : i64")
    + buffer("ring", "ring", 8, 4, 3)
    + buffer("other", "ring", 8, 4, 3)
    + buffer("out", "output", 8, 4, 8)
    + buffer("scratch", "scratch", 1, 8, 1, alignment=8)
    + buffer("sums", "accumulator", 1, 16, 1, alignment=8)
    + buffer("total", "tensor", 1, 4, 1)
    + '%t = mcu.table {suffix = "s", c_type = "int8_t", fields = [#nn.dense<[1], i8, values [0]>]}\n'
    + "%view = mcu.view %out {rows = 1 : i64, row_bytes = 32 : i64}\n"
    + "mcu.stream {\n"
    + f'mcu.call %in to %ring {{form = "row", accesses = [{ROWS}], {CALL}}}\n'
    + f'mcu.call %ring to %out scratch %scratch {{form = "row", accesses = [{ROWS}], {CALL}}}\n'
    + "}\n"
    + f'mcu.stream {{ mcu.call %out to %total accumulator %sums {{form = "reduction", accesses = [], {CALL}}} }}\n'
    + f'mcu.stream {{ mcu.call %out to %out {{form = "in_place", accesses = [], {CALL}}} }}\n'
    + f'mcu.stream {{ mcu.call %view to %total {{form = "tensor", accesses = [], {CALL}}} }}\n'
    + "}\n"
)

FIRST = f'mcu.call %in to %ring {{form = "row", accesses = [{ROWS}], {CALL}}}\n'
SECOND = f'mcu.call %ring to %out scratch %scratch {{form = "row", accesses = [{ROWS}], {CALL}}}\n'
DOWN = ROWS.replace("int<1>", "int<4>", 1)
SUM = f'mcu.call %ring, %other to %out {{form = "row", accesses = [{ROWS}, {ROWS}], {CALL}}}\n'
"""The sum of `other` and of what is computed from four of its rows: the lower of them must wait for the sum."""
REDUCTION = f'mcu.call %out to %total accumulator %sums {{form = "reduction", accesses = [], {CALL}}}'

CASES = {
    "kind": ('kind = "ring"', 'kind = "loop"', "kind must be one of"),
    "rows": (buffer("total", "tensor", 1, 4, 1), buffer("total", "tensor", 0, 4, 0), "rows and row_bytes must be positive"),
    "row bytes": (buffer("total", "tensor", 1, 4, 1), buffer("total", "tensor", 1, 0, 1), "rows and row_bytes must be positive"),
    "too many slots": ("slots = 3", "slots = 9", "slots must be between 1 and 8 rows"),
    "no slots": ("slots = 3", "slots = 0", "slots must be between 1 and 8 rows"),
    "alignment": ("alignment = 8", "alignment = 12", "alignment must be a power of two"),
    "negative offset": ("offset = 0", "offset = -4", "offset -4 is negative or not aligned"),
    "odd offset": ("offset = 0", "offset = 2", "offset 2 is negative or not aligned"),
    "view size": ("row_bytes = 32", "row_bytes = 31", "a view covers its buffer exactly"),
    "view sign": ("{rows = 1 : i64, row_bytes = 32", "{rows = -1 : i64, row_bytes = -32", "rows and row_bytes must be positive"),
    "view of a ring": (
        "mcu.view %out {rows = 1 : i64, row_bytes = 32",
        "mcu.view %ring {rows = 1 : i64, row_bytes = 12",
        "a ring has no views",
    ),
    "form": ('form = "tensor"', 'form = "column"', "form must be one of"),
    "row accesses": (f"accesses = [{ROWS}], {CALL}}}\nmcu", f"accesses = [], {CALL}}}\nmcu", "a row call needs one row access per input"),
    "reduction inputs": ("mcu.call %out to %total acc", "mcu.call %out, %in to %total acc", "a call of form reduction has one input"),
    "reduction accumulator": (" accumulator %sums", "", "a reduction needs an accumulator"),
    "in place": ("mcu.call %out to %out", "mcu.call %in to %out", "writes over its input"),
    "call outside": ("mcu.stream { " + REDUCTION + " }", REDUCTION, "mcu.call stands inside mcu.stream"),
    "empty stream": ("mcu.stream { " + REDUCTION + " }", "mcu.stream { }", "expected a single block"),
    "stream with another op": (
        "mcu.stream { " + REDUCTION + " }",
        "mcu.stream { " + REDUCTION + " " + buffer("x", "tensor", 1, 4, 1) + " }",
        "a stream holds calls and nothing else",
    ),
    "stream with a whole-tensor call": (SECOND, SECOND.replace('"row"', '"tensor"'), "a stream of several calls works by rows"),
    "order in a stream": (FIRST + SECOND, SECOND + FIRST, "reads a buffer that a later call computes"),
    "inner buffer used outside": (" %out to %total acc", " %ring to %total acc", "inner buffer ring of a stream is used outside it"),
    "ring too small": (
        SECOND,
        SECOND.replace(ROWS, ROWS.replace("int<1>", "int<5>", 1)),
        "l would read rows of ring that were written over: its ring has 3 rows and needs 5",
    ),
    "ring for a lag": (
        FIRST + SECOND,
        FIRST.replace("%ring", "%other") + FIRST.replace("%in to", "%other to").replace(ROWS, DOWN) + SUM,
        "l would read rows of other that were written over: its ring has 3 rows and needs 4",
    ),
    "ring outside a stream": (
        buffer("in", "input", 8, 4, 8, ", offset = 0 : i64"),
        buffer("in", "input", 8, 4, 7, ", offset = 0 : i64"),
        "in is a ring of 7 rows outside its stream",
    ),
    "table suffix": ('suffix = "s"', 'suffix = "s[1];x"', "suffix must be"),
    "table type": ('c_type = "int8_t"', 'c_type = "int8_t evil; int"', "c_type must be"),
    "empty table": ("fields = [#nn.dense<[1], i8, values [0]>]", "fields = []", "at least one field"),
    "input is no buffer": ("mcu.call %view to %total", "mcu.call %t to %total", "mcu.region|does not match|type"),
}


def test_the_undamaged_module_verifies() -> None:
    parse_module(VALID)


@pytest.mark.parametrize("case", CASES)
def test_is_invalid(case: str) -> None:
    old, new, message = CASES[case]
    damaged = VALID.replace(old, new)
    assert damaged != VALID
    with pytest.raises(ModelError, match=message):
        parse_module(damaged)


PUSHED = (
    "builtin.module {\n"
    + buffer("image", "input_ring", 8, 4, 3)
    + buffer("sums", "accumulator", 1, 16, 1, alignment=8)
    + buffer("narrow", "ring", 6, 4, 1)
    + buffer("total", "output", 1, 4, 1)
    + buffer("more", "tensor", 1, 4, 1)
    + buffer("spare", "tensor", 6, 4, 6)
    + buffer("state", "state", 1, 4, 1)
    + buffer("counters", "counters", 1, 16, 1)
    + "mcu.stream keeps(%state, %counters) {\n"
    + f'mcu.call %image to %narrow {{form = "row", accesses = [{ROWS.replace("int<1>", "int<3>", 1)}], {CALL}}}\n'
    + f'mcu.call %narrow to %total accumulator %sums {{form = "reduction", accesses = [], {CALL}}}\n'
    + "}\n"
    + f'mcu.stream {{ mcu.call %total to %more {{form = "row", accesses = [{ROWS}], {CALL}}} }}\n'
    + "}\n"
)
AFTER = f'mcu.stream {{ mcu.call %total to %more {{form = "row", accesses = [{ROWS}], {CALL}}} }}\n'

PUSHED_CASES = {
    "nothing kept": (" keeps(%state, %counters)", "", "a step that reads an input_ring keeps a state and counters"),
    "two states": ("keeps(%state, %counters)", "keeps(%state, %state)", "keeps a state and counters"),
    "kept without pushed rows": (AFTER, AFTER.replace("stream", "stream keeps(%state)"), "only a step that reads an input_ring keeps"),
    "too few counters": (
        buffer("counters", "counters", 1, 16, 1),
        buffer("counters", "counters", 1, 12, 1),
        "must have 16 bytes, but have 12",
    ),
    "small state": (buffer("state", "state", 1, 4, 1), buffer("state", "state", 1, 2, 1), "state must have 4 bytes"),
    "not the first step": ("mcu.stream keeps", AFTER + "mcu.stream keeps", "rows are pushed into the first step"),
    "another source": ("mcu.call %narrow to", "mcu.call %spare to", "l reads spare, which does not come from the pushed rows"),
    "read again later": (AFTER, AFTER.replace("%total", "%image"), "is read outside its step|keeps a state"),
    "input ring too small": ("slots = 3", "slots = 2", "rows of image that were written over: its ring has 2 rows and needs 3"),
}


def test_the_undamaged_pushed_module_verifies() -> None:
    parse_module(PUSHED)


@pytest.mark.parametrize("case", PUSHED_CASES)
def test_a_pushed_step_is_invalid(case: str) -> None:
    old, new, message = PUSHED_CASES[case]
    damaged = PUSHED.replace(old, new)
    assert damaged != PUSHED
    with pytest.raises(ModelError, match=message):
        parse_module(damaged)


def test_an_unplanned_buffer_has_no_start() -> None:
    ring = BufferOp.make("tensor", "somewhere", 2, 4)
    with pytest.raises(VerifyException, match="somewhere has no offset yet; run plan-memory"):
        _ = ring.start


def test_views_lead_back_to_their_buffer() -> None:
    module = parse_module(VALID)
    views = [op for op in module.ops if op.name == "mcu.view"]
    assert buffer_of(views[0].results[0]).layer.data == "out"
    assert row_shape(views[0].results[0]) == (1, 32)
    (table,) = (op for op in module.ops if op.name == "mcu.table")
    for question in (buffer_of, row_shape):
        with pytest.raises(VerifyException, match=r"expected the result of mcu\.buffer, mcu\.view or mcu\.columns"):
            question(table.results[0])


IN_COLUMNS = (
    "builtin.module {\n"
    + buffer("in", "input", 8, 6, 8)
    + buffer("out", "output", 8, 6, 8)
    + "%left = mcu.columns %out {first = 0 : i64, row_bytes = 2 : i64}\n"
    + "%right = mcu.columns %out {first = 2 : i64, row_bytes = 4 : i64}\n"
    + f'mcu.stream {{ mcu.call %in to %left {{form = "row", accesses = [{ROWS}], {CALL}}} }}\n'
    + f'mcu.stream {{ mcu.call %in to %right {{form = "row", accesses = [{ROWS}], {CALL}}} }}\n'
    + "}\n"
)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("first = 2 : i64, row_bytes = 4", "first = 3 : i64, row_bytes = 4", "columns must lie within the 6 bytes of a row"),
        ("first = 2 : i64, row_bytes = 4", "first = -1 : i64, row_bytes = 4", "columns must lie within the 6 bytes of a row"),
        ("first = 2 : i64, row_bytes = 4", "first = 1 : i64, row_bytes = 5", "columns of out are written twice or not at all"),
        ("first = 2 : i64, row_bytes = 4", "first = 2 : i64, row_bytes = 3", "the last columns of out are not written"),
        ("first = 0 : i64, row_bytes = 2", "first = 1 : i64, row_bytes = 1", "columns of out are written twice or not at all"),
        ("mcu.call %in to %left", "mcu.call %in to %out", "out is written whole and in columns"),
        ("%right = mcu.columns %out", "%right = mcu.columns %left", "columns are those of a buffer"),
        (f'form = "row", accesses = [{ROWS}]', 'form = "tensor", accesses = []', "a call of form tensor takes whole rows"),
        ("rows = 8 : i64", "rows = 70000 : i64", "at most 65536 rows"),
        ("slots = 8 : i64", "slots = 70000 : i64", "slots must be between"),
    ],
)
def test_columns_lie_in_their_buffer_and_are_each_written_once(before: str, after: str, message: str) -> None:
    parse_module(IN_COLUMNS)
    assert before in IN_COLUMNS
    changed = IN_COLUMNS.replace(before, after)
    if "at most" in message:
        changed = changed.replace("slots = 8", "slots = 70000")
    with pytest.raises((ModelError, VerifyException), match=message):
        parse_module(changed)
