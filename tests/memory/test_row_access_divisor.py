"""Row accesses with a divisor: the rows in Python, and the expressions that the generated C computes them with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyc.backends.cortexm.program import InputView, RowsView
from tinyc.memory.row_access import RowAccess

ACCESSES = st.builds(
    RowAccess, st.integers(1, 4), st.integers(1, 9), st.integers(1, 3), st.integers(-20, 20), st.one_of(st.just(1), st.integers(1, 9))
)


def c_value(expression: str, row: int) -> int:
    """What C computes: its division truncates towards zero, so that a negative numerator would show."""

    class Integer(int):
        def __truediv__(self, other: int) -> Integer:
            return Integer(int(int(self) / other))

        def __add__(self, other: int) -> Integer:
            return Integer(int(self) + other)

        def __sub__(self, other: int) -> Integer:
            return Integer(int(self) - other)

        def __mul__(self, other: int) -> Integer:
            return Integer(int(self) * other)

    return int(eval(expression, {"__builtins__": {}}, {"row": Integer(row)}))


@given(ACCESSES, st.integers(0, 60))
def test_the_c_expressions_name_the_rows_of_the_access(access: RowAccess, row: int) -> None:
    view = InputView(RowsView("int8_t", 0, 100, 100, 8), access.window, access, False, None)
    assert c_value(view.first_row, row) == access.first(row)
    assert c_value(view.rows_needed, row) == access.end(row)


@pytest.mark.parametrize(("row", "first"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2)])
def test_two_rows_of_the_result_read_one_row_of_the_input(row: int, first: int) -> None:
    assert RowAccess(divisor=2).first(row) == first


def test_rows_above_the_image_have_negative_numbers() -> None:
    half_pixel = RowAccess(window=2, stride=2, pad=1, divisor=4)
    assert [half_pixel.first(row) for row in range(5)] == [-1, 0, 0, 1, 1]
