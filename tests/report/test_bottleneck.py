"""What the report names as holding the peak, and what it promises for changing it."""

from __future__ import annotations

from dataclasses import replace

from report_cases import buffer, call, example, layer

from tinyc.report.bottleneck import bottleneck, channel_prices
from tinyc.report.memory import MemoryReport
from tinyc.report.text import bottleneck_lines, report_text


def skipping() -> MemoryReport:
    """Step 0 reads the input, step 1 is the peak while tensor 1 waits for the ADD in step 2."""
    buffers = (
        replace(buffer("image", 0, 10, -1, 0), kind="input"),
        replace(buffer("early", 0, 40, 0, 2), shape=(1, 2, 2, 10)),
        replace(buffer("wide", 40, 60, 1, 2), shape=(1, 2, 2, 15)),
        replace(buffer("sum", 0, 40, 2, 2), kind="output"),
    )
    layers = (
        layer(0, call("CONV_2D", (0,), 1), held={0: 10, 1: 40}),
        layer(1, call("DEPTHWISE_CONV_2D", (1,), 2), held={1: 40, 2: 60}),
        layer(2, call("ADD", (1, 2), 3), held={1: 40, 2: 50}),
    )
    report = example()
    return replace(report, layers=layers, buffers=buffers, overlaps=(), ram=replace(report.ram, arena_bytes=100))


def test_what_holds_the_peak_sums_up_to_it_in_every_step() -> None:
    for entry in example().layers:
        assert sum(held.bytes for held in entry.held) == entry.live_bytes
        assert all(example().buffers[held.buffer].live_in(entry.step) for held in entry.held)
    found = bottleneck(example())
    assert sum(holder.bytes for holder in found.holders) == found.bytes == example().ram.lower_bound_bytes


def test_a_tensor_that_waits_for_a_later_step_is_named_with_that_step() -> None:
    found = bottleneck(skipping())
    assert (found.steps, found.bytes, found.next_step, found.next_bytes) == ((1,), 100, 2, 90)
    wide, early = found.holders
    assert (wide.buffer, wide.bytes, wide.role) == (2, 60, "written here")
    assert early.role == "read here, kept for step 2 (ADD)"
    assert early.keeper == "layer of ADD"


def test_channels_are_priced_by_what_they_take_at_the_peak() -> None:
    report = skipping()
    prices = channel_prices(report, bottleneck(report))
    assert [(price.buffer, price.channels, price.bytes, price.fewer) for price in prices] == [(2, 15, 4.0, 3), (1, 10, 4.0, 3)]


def test_a_tensor_that_is_too_small_to_help_is_said_to_be() -> None:
    report = skipping()
    small = replace(report, layers=(*report.layers[:2], layer(2, call("ADD", (1, 2), 3), held={1: 20})))
    assert {price.buffer: price.fewer for price in channel_prices(small, bottleneck(small))} == {1: None, 2: 13}


def test_all_steps_at_the_peak_are_named() -> None:
    report = skipping()
    twice = replace(report, layers=(*report.layers[:2], layer(2, call("ADD", (1, 2), 3), held={1: 40, 2: 60})))
    found = bottleneck(twice)
    assert found.steps == (1, 2)
    assert found.next_step == 0
    assert "as many in step 2" in "\n".join(bottleneck_lines(twice))


def test_the_text_says_step_holders_and_gain() -> None:
    text = "\n".join(bottleneck_lines(skipping()))
    assert "100 bytes in step 1, DEPTHWISE_CONV_2D" in text
    assert "60  tensor      wide: written here" in text
    assert "40  tensor      early: read here, kept for step 2 (ADD): layer of ADD" in text
    assert "10  bytes fewer is all that this step alone can give: then step 2, ADD, needs 90" in text


def test_a_ring_says_how_many_rows_it_keeps() -> None:
    text = report_text(example())
    ring = next(entry for entry in example().buffers if entry.kind == "ring" and entry.slots > 1)
    assert f"ring of {ring.slots} of {ring.rows} rows between" in text
    assert f"ring {ring.slots} of {ring.rows} rows" in text
