"""The map of the arena: every byte range at its place, and what is shared is marked."""

from __future__ import annotations

from dataclasses import replace

from report_cases import buffer, call, example, layer

from tinyc.report.arena_map import map_row, marks, shared_bytes
from tinyc.report.memory import MemoryReport, OverlapReport


def two_steps() -> MemoryReport:
    buffers = (
        replace(buffer("in", 20, 80, -1, 0), kind="input"),
        buffer("ring", 0, 10, 0, 0, "ring", 4, 2),
        buffer("work", 10, 10, 0, 0, "scratch"),
        replace(buffer("out", 10, 50, 0, 1), kind="output"),
    )
    layers = (layer(0, call("CONV_2D", (0,), 1), call("ADD", (1,), 3), held={0: 80}), layer(1, call("MEAN", (3,), 3), held={3: 50}))
    report = example()
    return replace(report, layers=layers, buffers=buffers, ram=replace(report.ram, arena_bytes=100))


def test_a_row_of_the_map_shows_what_is_live_and_what_is_written_over() -> None:
    report = two_steps()
    letters = marks(report.buffers)
    assert letters == ("A", "a", ":", "B")
    assert map_row(report, 0, 10, letters) == "a#####" + "AAAA"
    assert map_row(report, 1, 10, letters) == ".BBBBB...."


def test_shared_bytes_are_the_intersection_of_two_live_buffers() -> None:
    shared = {(entry.one, entry.other): (entry.first, entry.end) for entry in shared_bytes(two_steps(), 0)}
    assert shared == {(3, 0): (20, 60), (3, 2): (10, 20)}
    assert shared_bytes(two_steps(), 1) == []


def test_a_buffer_smaller_than_a_column_still_has_a_mark() -> None:
    report = two_steps()
    tiny = replace(report, buffers=(buffer("tiny", 99, 1, 0, 0, "ring", 2, 1),))
    assert map_row(tiny, 0, 4, marks(tiny.buffers)) == "...a"


def test_buffers_that_are_live_together_have_different_letters() -> None:
    buffers = [buffer(str(number), number, 1, number, number + 3) for number in range(80)]
    letters = marks(buffers)
    for first, one in enumerate(buffers):
        for second, other in enumerate(buffers[:first]):
            if one.first_step <= other.last_step and other.first_step <= one.last_step:
                assert letters[first] != letters[second]


def test_the_overlaps_of_a_report_are_exactly_those_that_the_map_shows() -> None:
    report = example()
    listed = {(entry.step, *sorted((entry.result, entry.source))): entry.bytes for entry in report.overlaps}
    drawn = {
        (entry.step, *sorted((entry.one, entry.other))): entry.end - entry.first
        for step in report.layers
        for entry in shared_bytes(report, step.step)
    }
    assert listed == drawn
    assert listed


def test_an_overlap_keeps_the_distance_that_was_proved() -> None:
    for entry in example().overlaps:
        assert isinstance(entry, OverlapReport)
        assert example().buffers[entry.source].offset - example().buffers[entry.result].offset == entry.distance
        assert entry.least_distance is None or entry.distance >= entry.least_distance
