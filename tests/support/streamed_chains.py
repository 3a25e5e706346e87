"""Chains of layers that are worth streaming: wide in the middle, with windows, skips, strides, dilations and odd sizes."""

from __future__ import annotations

from hypothesis import strategies as st
from xdsl.ir import SSAValue

from support.network_builder import Network, NetworkBuilder
from tinyc.ir.nn_base import tensor_of

_KINDS = ("conv", "depthwise", "same depthwise", "pool", "pad", "skip", "square")


@st.composite
def chains(draw: st.DrawFn, most_columns: int = 6, across: bool = False) -> Network:
    """Blocks that widen the image, slide windows of 1 to 7 taps over it and narrow it again, with skips where shapes allow, and a tail.

    Windows have strides, dilations and other padding above than below; with `across` also over columns, otherwise over rows alone.
    """
    builder = NetworkBuilder(draw(st.integers(0, 1000)))
    value = builder.input((1, draw(st.integers(9, 25)), draw(st.integers(1, most_columns)), draw(st.integers(1, 3))))
    for _ in range(draw(st.integers(1, 3))):
        narrow, depth = value, tensor_of(value).shape[3]
        value = builder.conv(narrow, draw(st.integers(8, 16)))
        for _ in range(draw(st.integers(1, 2))):
            value = _draw_window(draw, builder, value, across)
        value = builder.conv(value, depth)
        if tensor_of(value).shape == tensor_of(narrow).shape:
            value = builder.add(value, narrow)
    return Network(builder.finish(builder.mean(value, (1, 2)) if draw(st.booleans()) else value))


@st.composite
def causal_layers(draw: st.DrawFn) -> Network:
    """A layer with more padding above than below, alone, so that it runs from its last row to its first; sometimes between two others that
    need all rows at once."""
    builder = NetworkBuilder(draw(st.integers(0, 1000)))
    shape = (1, draw(st.integers(5, 25)), draw(st.integers(1, 9)), draw(st.integers(1, 6)))
    value = builder.input(shape)
    between = draw(st.booleans())
    if between:
        value = builder.transpose(value, (0, 2, 1, 3))
    taps, stride, dilation = draw(st.integers(2, 7)), draw(st.sampled_from([1, 1, 1, 2])), draw(st.sampled_from([1, 1, 2]))
    span = (taps - 1) * dilation + 1
    above = draw(st.integers(span // 2, span - 1))
    below = max(0, span - tensor_of(value).shape[1] - above)
    geometry = (taps, 1), (stride, 1), (above, 0, below, 0), (dilation, 1)
    value = builder.depthwise(value, *geometry) if draw(st.booleans()) else builder.conv(value, draw(st.integers(1, 12)), *geometry)
    return Network(builder.finish(builder.transpose(value, (0, 3, 1, 2)) if between else value))


def _draw_axis(draw: st.DrawFn, extent: int) -> tuple[int, int, int, int, int]:
    """Taps, stride, dilation and the padding before and after that an axis of `extent` needs for one output at least."""
    taps, stride, dilation = draw(st.integers(1, 7)), draw(st.sampled_from([1, 1, 2, 3])), draw(st.sampled_from([1, 1, 2, 3]))
    span = (taps - 1) * dilation + 1
    before = draw(st.integers(0, span // 2))
    after = max(draw(st.integers(0, span // 2)), span - extent - before)
    return taps, stride, dilation, before, after


def _draw_window(draw: st.DrawFn, builder: NetworkBuilder, value: SSAValue, across: bool) -> SSAValue:
    height, width, channels = tensor_of(value).shape[1:]
    kind = draw(st.sampled_from(_KINDS))
    taps, stride, dilation, above, below = _draw_axis(draw, height)
    columns, stride_x, dilation_x, left, right = _draw_axis(draw, width) if across else (1, 1, 1, 0, 0)
    geometry = (taps, columns), (stride, stride_x), (above, left, below, right), (dilation, dilation_x)
    if kind == "conv":
        return builder.conv(value, draw(st.integers(8, 16)), *geometry)
    if kind == "depthwise":
        return builder.depthwise(value, *geometry)
    if kind == "pool":
        taps, columns = min(taps, height), min(columns, width)
        pads = (taps // 2, columns // 2, (taps - 1) // 2, (columns - 1) // 2)
        return builder.pool(value, draw(st.booleans()), (taps, columns), (stride, stride_x), pads)
    if kind == "pad":
        sides = draw(st.tuples(st.integers(0, 3), st.integers(0, 3))) if across else (0, 0)
        return builder.pad(value, (draw(st.integers(0, 3)), sides[0], draw(st.integers(0, 3)), sides[1]))
    if kind == "square":
        return builder.mul(value, value)
    around = builder.depthwise(value, (3, 3))
    return around if kind == "same depthwise" else builder.add(around, builder.conv(value, channels, clamp=(0, 127)))
