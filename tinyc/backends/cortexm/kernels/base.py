"""What every kernel family tells the emitter: how its C function is called, what it needs, and its C text.

A kernel *body* is one `static` C function (three for a reduction), specialised to a frozen spec: shapes, zero points and clamp bounds
are constants in its text, weights and other tables come in by pointer. Layers with equal specs share one body.

Calling convention, in this order: inputs, output, the row number where a row body asks for it (`takes_row`), constants (in the order of the
tables that the family packs), scratch.

- `Form.ROW`: `void SYMBOL(inputs, T *output, constants, void *scratch)` computes one row (all columns and channels, HWC) of the output.
  An input with window 0 is a pointer to the one input row needed; an input with window n >= 1 is `const T *const *`, an array of n row
  pointers from top to bottom, NULL for a row of padding.
- `Form.REDUCTION`: `SYMBOL_start(int32_t *accumulator, constants)`, then for each input row from the first to the last
  `SYMBOL_row(const T *row, int32_t row_index, int32_t *accumulator, constants)`, then `SYMBOL_finish(const int32_t *accumulator, T *output,
  constants)`.
- `Form.TENSOR`: `void SYMBOL(inputs, T *output, constants, void *scratch)`; every pointer is to a whole tensor.
- `Form.IN_PLACE`: `void SYMBOL(T *tensor, constants, void *scratch)` overwrites a whole tensor.

`scratch` is passed only when `scratch_bytes` is not 0; it is aligned to 8 bytes. Outputs and inputs have no alignment beyond their element
type unless the spec's family says so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from typing import Any, ClassVar

import jinja2
import numpy as np
import numpy.typing as npt

from tinyc.backends.cortexm.kernels.statements import ordered
from tinyc.memory.strips import Across, Range


class Form(Enum):
    """How a body is called; see the module's text."""

    ROW = "row"
    REDUCTION = "reduction"
    TENSOR = "tensor"
    IN_PLACE = "in_place"


@dataclass(frozen=True)
class Table:
    """A read-only array that a body takes by pointer: weights, channel constants, lookup tables.

    `values` is one-dimensional; a structured dtype is written as C structs whose fields are in the dtype's order.
    """

    suffix: str
    c_type: str
    values: npt.NDArray[Any]


class KernelSpec(ABC):
    """Everything that a body's text depends on. Subclasses are frozen dataclasses: equal specs share one body."""

    form: ClassVar[Form]
    headers: ClassVar[tuple[str, ...]] = ()
    """Runtime headers (file names in runtime/) that the body includes."""

    @property
    @abstractmethod
    def family(self) -> str:
        """Short lower-case name of the kernel, part of the C symbol and shown in reports, e.g. `conv_3x3_s2`."""

    @property
    def windows(self) -> tuple[int, ...]:
        """Per input: 0 for a plain pointer, n for an array of n row pointers."""
        return (0,)

    @property
    def takes_row(self) -> bool:
        """`Form.ROW` only: whether the body needs the number of the output row, an `int32_t` behind the output."""
        return False

    @property
    def ring_inputs(self) -> tuple[bool, ...]:
        """`Form.ROW` only, per input with window 0: whether the body takes the first byte of the input's buffer, whatever the row."""
        return (False,) * len(self.windows)

    @property
    def output_slot_bytes(self) -> int | None:
        """`Form.ROW` only: bytes between the rows of the output where they are not those of a row, since rows are interleaved."""
        return None

    @property
    def input_types(self) -> tuple[str, ...]:
        """C element type of each input."""
        return ("int8_t",) * len(self.windows)

    @property
    def output_type(self) -> str:
        """C element type of the output."""
        return "int8_t"

    @property
    def scratch_bytes(self) -> int:
        """Working memory of one call, in bytes; dead after the call."""
        return 0

    @property
    def accumulator_bytes(self) -> int:
        """`Form.REDUCTION` only: bytes of the int32 accumulators that live from start to finish."""
        return 0

    def across(self, width: int) -> Across | None:
        """`Form.ROW` only: how the body goes over the columns of an image that has `width`; None where it cannot do some of them."""
        return None

    def narrowed(self, columns: Range, inputs: tuple[Range | None, ...], width: int) -> KernelSpec:
        """The body for these columns of an output with `width`, from rows that hold these columns of the inputs.

        Both are what `memory.strips` makes of `across`. Raises ValueError where the body cannot do that.
        """
        raise ValueError(f"{self.family} computes all columns of a row or none")

    def shared_source(self, symbol: str) -> str:
        """C definition of a function `symbol` that `own_source` calls. Other specs may have it with the same text; it is emitted once."""
        return ""

    def own_source(self, symbol: str, shared: str) -> str:
        """The rest of `source`, which calls the function of `shared_source` as `shared`."""
        return self.source(symbol)

    @abstractmethod
    def source(self, symbol: str) -> str:
        """C definition of the body as `static` function(s) called `symbol` (for a reduction `symbol` + `_start`, `_row`, `_finish`)."""


def narrowed_window(spec: Any, stride: int, columns: Range, inputs: tuple[Range | None, ...]) -> KernelSpec:
    """`spec`, which slides a window over the columns of its first input, for some columns; see `KernelSpec.narrowed`."""
    (first, end), source = columns, inputs[0]
    assert source is not None
    left = source[0] - (first * stride - spec.pad_left)
    changed = replace(spec, input_width=source[1] - source[0], output_width=end - first, pad_left=left)
    assert isinstance(changed, KernelSpec)
    return changed


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tinyc.backends.cortexm", "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["ordered"] = ordered
    return environment


def render(template: str, **values: object) -> str:
    """Text of `templates/<template>` with `values`; an undefined name is an error."""
    return _environment().get_template(template).render(**values)


def c_number(value: Any) -> str:
    """A C literal with exactly `value`: decimal for integers, hexadecimal floating point for float32."""
    if isinstance(value, (float, np.floating)):
        single = float(np.float32(value))
        return f"{single.hex()}f"
    number = int(value)
    return f"(-{-number - 1} - 1)" if number == -(2**31) else str(number)
