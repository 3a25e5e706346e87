"""What must hold for every placement of buffers, whoever made it."""

from __future__ import annotations

from collections.abc import Sequence

from tinyc.memory.placement import Buffer, Overlap


def assert_nothing_collides(
    buffers: Sequence[Buffer], overlaps: Sequence[Overlap], offsets: Sequence[int], banks: Sequence[object] | None = None
) -> None:
    """Buffers are aligned; those that live in one step and lie in one bank are apart, or as an overlap allows."""
    known = {(overlap.result, overlap.source): overlap for overlap in overlaps}
    ends = [offset + buffer.size for offset, buffer in zip(offsets, buffers, strict=True)]

    def allowed(result: int, source: int) -> bool:
        overlap = known.get((result, source))
        if overlap is None:
            return False
        return (ends[result] - ends[source] if overlap.backwards else offsets[source] - offsets[result]) >= overlap.gap

    for one, buffer in enumerate(buffers):
        assert offsets[one] >= 0
        assert offsets[one] % buffer.alignment == 0
        for other in range(one):
            together = buffer.first <= buffers[other].last and buffers[other].first <= buffer.last
            together = together and (banks is None or banks[one] == banks[other])
            apart = ends[one] <= offsets[other] or ends[other] <= offsets[one]
            assert not together or apart or allowed(one, other) or allowed(other, one), f"buffers {one} and {other} collide"
