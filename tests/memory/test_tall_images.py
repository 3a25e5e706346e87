"""Images of very many rows are planned without following each row, and only ever more carefully than they need."""

from __future__ import annotations

import pytest

from tinyc.memory.row_access import EACH_ROW, RowAccess
from tinyc.memory.segments import SegmentBuffer, SegmentCall, choose_segments
from tinyc.memory.stream import MOST_ROWS, UNCONSTRAINED, StreamCall, StreamInput, replay, safe_gap

TALL = MOST_ROWS + 1


def one_call(rows: int, access: RowAccess, in_place: bool, reduces: bool) -> StreamCall:
    return StreamCall((StreamInput(0, rows, 4, access, in_place),), 1, 1 if reduces else rows, 4, reduces)


@pytest.mark.parametrize("access", [EACH_ROW, RowAccess(3, 1, 1, 1)])
def test_a_call_above_the_limit_is_one_event_that_forbids_at_least_what_its_rows_forbid(access: RowAccess) -> None:
    trace = replay([one_call(TALL, access, False, False)])
    assert len(trace.events) == 1
    below = safe_gap(replay([one_call(MOST_ROWS, access, False, False)]), 0, 1)
    assert safe_gap(trace, 0, 1) >= below
    assert safe_gap(trace, 0, 1) == TALL * 4


def test_in_place_and_reductions_keep_their_overlap_above_the_limit() -> None:
    assert safe_gap(replay([one_call(TALL, EACH_ROW, True, False)]), 0, 1) == 0
    assert safe_gap(replay([one_call(TALL, EACH_ROW, False, True)]), 0, 1) == UNCONSTRAINED


def test_a_stream_is_formed_up_to_the_limit_and_not_above() -> None:
    def chosen(rows: int) -> int:
        calls = [
            SegmentCall(StreamCall((StreamInput(index, rows, width, EACH_ROW),), index + 1, rows, 64 // width), 0, 0, True)
            for index, width in enumerate((1, 64))
        ]
        buffers = [SegmentBuffer(rows, 0, 0, False), SegmentBuffer(rows * 64, 0, 1, False), SegmentBuffer(rows, 1, 2, False)]
        return len(choose_segments(calls, buffers, 12))

    assert chosen(MOST_ROWS // 2) == 1
    assert chosen(MOST_ROWS // 2 + 1) == 2
