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
        with pytest.raises(VerifyException, match=r"expected the result of mcu\.buffer or mcu\.view"):
            question(table.results[0])
