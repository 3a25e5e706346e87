"""A network that is compiled in a moment and still has something to choose: streams, scratch for convolutions, weights that can grow."""

from __future__ import annotations

from functools import cache

from support.network_builder import NetworkBuilder
from tinyc.api import Model


@cache
def small_network(blocks: int = 2) -> Model:
    """Blocks of expand, depthwise, project with a skip connection, then a dense convolution."""
    builder = NetworkBuilder(5)
    value = builder.input((1, 12, 12, 8))
    for _ in range(blocks):
        wide = builder.depthwise(builder.conv(value, 40))
        value = builder.add(value, builder.conv(wide, 8))
    dense = builder.conv(value, 24, (3, 3), (2, 2), (0, 0, 1, 1))
    return Model("small", builder.finish(builder.conv(dense, 4, (6, 6))))
