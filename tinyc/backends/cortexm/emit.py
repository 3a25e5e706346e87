"""The C emitter: a scheduled module to the files of a build folder. It prints what the module says and decides nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr

from tinyc.backends.cortexm.kernels.base import c_number, render
from tinyc.backends.cortexm.names import comment_text
from tinyc.backends.cortexm.program import Program, TableView, arena_pointer, build_program
from tinyc.ir.mcu import BufferOp
from tinyc.toolchains.runtime_files import runtime_directory
from tinyc.version import VERSION

ARENA_ALIGNMENT = 16
"""Alignment of the arena's first byte; no buffer asks for more than 8, caches and DMA engines like 16."""
_VALUES_PER_LINE = 16
_C_TYPES = {"i8": "int8_t", "f32": "float", "i32": "int32_t", "i64": "int64_t"}
_LOCAL_INCLUDE = re.compile(r'^#include "(tinyc_[a-z_]+\.h)"', re.MULTILINE)
_TABLE_TYPES: dict[str, np.dtype[Any]] = {"uint32_t": np.dtype(np.uint32), "uint16_t": np.dtype(np.uint16), "uint8_t": np.dtype(np.uint8)}


@dataclass(frozen=True)
class Region:
    """An input or output of the network as the header and the report describe it; `offset` and `bytes` within the arena."""

    name: str
    index: int
    is_input: bool
    element: str
    dims: tuple[int, ...]
    offset: int
    bytes: int
    quantisation: tuple[float, int] | None
    rows: int = 0
    """Of an input that is pushed row by row: how many it has. `offset` and `bytes` are then those of the ring that keeps some of them."""
    row_bytes: int = 0
    bank: str = ""
    """RAM bank of the arena; empty where there is one arena."""
    pointer: str = "arena"
    """C expression of the first byte of the arena."""
    layout: str = ""
    """`nhwc` or `nchw` for an image of a network whose format leaves the choice, otherwise empty."""

    @property
    def macro(self) -> str:
        """Part of the macros' names, e.g. `INPUT_0`."""
        return f"{'INPUT' if self.is_input else 'OUTPUT'}_{self.index}"

    @property
    def title(self) -> str:
        """For the comment above the macros."""
        return f"{'Input' if self.is_input else 'Output'} {self.index}"

    @property
    def comment(self) -> str:
        """The tensor's name in the model, made safe."""
        return comment_text(self.name)

    @property
    def c_type(self) -> str:
        """C type of an element."""
        return _C_TYPES[self.element]

    @property
    def scale(self) -> str | None:
        """Scale as a C literal."""
        return None if self.quantisation is None else c_number(self.quantisation[0])

    @property
    def zero_point(self) -> int | None:
        """Zero point."""
        return None if self.quantisation is None else self.quantisation[1]


def boundary(module: ModuleOp, names: Sequence[str], is_input: bool) -> list[Region]:
    """Inputs or outputs of the scheduled module, in the order of the network's signature."""
    key = "input_index" if is_input else "output_index"
    recorded = module.attributes.get("input_layouts" if is_input else "output_layouts")
    layouts = [item.data for item in recorded.data if isinstance(item, StringAttr)] if isinstance(recorded, ArrayAttr) else []
    regions = []
    for op in module.ops:
        if isinstance(op, BufferOp):
            for index in boundary_indices(op, key):
                assert op.tensor is not None
                tensor = op.tensor.data
                quantisation = None if tensor.scale is None else (tensor.scale, tensor.zero_point)
                region = Region(names[index], index, is_input, tensor.element, tensor.shape, op.start, op.size_bytes, quantisation)
                region = replace(region, bank=op.bank_name, pointer=arena_pointer(op))
                if op.kind.data == "input_ring":
                    region = replace(region, rows=int(op.rows.value.data), row_bytes=int(op.row_bytes.value.data))
                regions.append(replace(region, layout=layouts[index]) if index < len(layouts) else region)
    return sorted(regions, key=lambda region: region.index)


def boundary_indices(op: BufferOp, key: str) -> list[int]:
    """Positions in the network's signature that a buffer serves; recorded by select-kernels."""
    attribute = op.attributes.get(key)
    return [] if attribute is None else [int(item.data) for item in attribute.data]  # type: ignore[attr-defined]


@dataclass(frozen=True)
class EmitOptions:
    """What the C says about where it came from."""

    prefix: str
    target: str
    numerics: str
    model_sha256: str
    core_flags: tuple[str, ...]
    optimization: str = "-O2"
    """The compiler's flag."""


def emit_files(module: ModuleOp, regions: Sequence[Region], arena_bytes: int, options: EmitOptions) -> dict[str, str]:
    """Texts of all C, header and CMake files by file name."""
    program = build_program(module, options.prefix)
    common: dict[str, Any] = {"prefix": options.prefix, "macro": options.prefix.upper(), "version": VERSION, "program": program}
    common |= {"target": options.target, "numerics": options.numerics}
    arrays = [table_array(table) for table in program.tables]
    lengths = [len(array) for array in arrays]
    header = {"model_sha256": options.model_sha256, "arena_bytes": arena_bytes, "arena_align": ARENA_ALIGNMENT, "regions": regions}
    files = {
        f"{options.prefix}.h": render("network.h.j2", **common, **header),
        f"{options.prefix}.c": render("network.c.j2", **common),
        f"{options.prefix}_weights.h": render("weights.h.j2", **common, lengths=lengths),
        f"{options.prefix}_weights.c": render(
            "weights.c.j2", **common, lengths=lengths, initialisers=[initialiser(array) for array in arrays]
        ),
        "CMakeLists.txt": render("CMakeLists.txt.j2", **common, core_flags=options.core_flags, optimization=options.optimization),
    }
    return files | runtime_headers(program)


_STACK_MARK = "/* STACK */\n"


def entry_point(prefix: str, pushed: bool) -> str:
    """The function that computes: called once an inference, or where rows are pushed once a row."""
    return f"{prefix}_{'push_row' if pushed else 'invoke'}"


def with_stack_bound(header: str, prefix: str, function: str, stack_bytes: int | None) -> str:
    """The header's text with the bound on the stack in its place, or without one where it is unknown."""
    if stack_bytes is None:
        return header.replace(_STACK_MARK, "")
    text = f"/* Stack that {function} needs at most, built with the flags of CMakeLists.txt for this core by gcc. */\n"
    return header.replace(_STACK_MARK, f"{text}#define {prefix.upper()}_STACK_SIZE {stack_bytes}\n\n")


def runtime_headers(program: Program) -> dict[str, str]:
    """The runtime headers that the program includes, directly or through one another."""
    found: dict[str, str] = {}
    queue = ["tinyc_rows.h", *program.headers]
    while queue:
        name = queue.pop()
        if name not in found:
            found[name] = (runtime_directory() / name).read_text(encoding="utf-8")
            queue += _LOCAL_INCLUDE.findall(found[name])
    return found


def table_array(view: TableView) -> npt.NDArray[Any]:
    """Entries of a table: rows of field values for a struct, plain values otherwise."""
    fields = [field.array.ravel() for field in view.table.fields.data]
    if len(fields) > 1 or view.c_type.startswith("tinyc_"):
        rows = np.empty(len(fields[0]), dtype=object)
        rows[:] = list(zip(*(field.tolist() if field.dtype.kind == "i" else field for field in fields), strict=True))
        return rows
    # The IR knows signed integers only; the C type says how their bits are meant.
    wanted = _TABLE_TYPES.get(view.c_type)
    return fields[0].view(wanted) if wanted is not None else fields[0]


def initialiser(array: npt.NDArray[Any]) -> str:
    """The lines between the braces of a C initialiser."""
    if array.dtype == object:
        return "\n".join(f"    {{ {', '.join(c_number(value) for value in row)} }}," for row in array)
    if array.dtype.kind == "f":
        texts = [c_number(value) for value in array]
    elif array.dtype.kind == "u":
        texts = [f"0x{value:0{2 * array.dtype.itemsize}x}U" for value in array.tolist()]
    else:
        texts = [c_number(value) for value in array.tolist()] if array.dtype.itemsize == 4 else [str(value) for value in array.tolist()]
    lines = (", ".join(texts[start : start + _VALUES_PER_LINE]) for start in range(0, len(texts), _VALUES_PER_LINE))
    return "\n".join(f"    {line}," for line in lines)
