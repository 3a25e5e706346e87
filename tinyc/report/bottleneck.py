"""What sets the size of an arena: the steps that need the most, what holds it there, and how far the next step lies below."""

from __future__ import annotations

from dataclasses import dataclass

from tinyc.report.memory import BufferReport, LayerReport, MemoryReport

_ROW_KINDS = ("input", "input_ring", "output", "tensor", "ring")
_ROLES = {
    "scratch": "working memory of the step",
    "accumulator": "sums of a reduction",
    "state": "how many rows were pushed",
    "counters": "how far each op has come, between two rows",
}


@dataclass(frozen=True)
class Holder:
    """Buffer number `buffer` holds `bytes` bytes at the worst moment; `role` says why, in words without names from the model.

    `keeper` is the layer for which a tensor is kept although the step does not need it any more, empty where there is none.
    """

    buffer: int
    bytes: int
    role: str
    keeper: str = ""


@dataclass(frozen=True)
class Bottleneck:
    """`steps` all need `bytes`, the most of all steps; the holders are those of the first one and sum up to `bytes`.

    `next_step` is the step that would set the size if these were smaller, with `next_bytes`; None where there is no other.
    """

    steps: tuple[int, ...]
    bytes: int
    holders: tuple[Holder, ...]
    next_step: int | None
    next_bytes: int

    @property
    def excess_bytes(self) -> int:
        """Bytes by which these steps lie above the next one."""
        return self.bytes - self.next_bytes


@dataclass(frozen=True)
class ChannelPrice:
    """Each of `channels` channels of buffer number `buffer` takes `bytes` bytes; `fewer` channels less reach the next step's size.

    `fewer` is None where even without the tensor another step sets the size.
    """

    buffer: int
    channels: int
    bytes: float
    fewer: int | None


def bottleneck(report: MemoryReport) -> Bottleneck:
    """The bottleneck of a report; holders with the most bytes come first."""
    most = max(layer.live_bytes for layer in report.layers)
    steps = tuple(layer.step for layer in report.layers if layer.live_bytes == most)
    others = [layer for layer in report.layers if layer.live_bytes < most]
    following = max(others, key=lambda layer: layer.live_bytes, default=None)
    layer = report.layers[steps[0]]
    held = sorted(layer.held, key=lambda entry: (-entry.bytes, entry.buffer))
    holders = tuple(_holder(report, layer, entry.buffer, entry.bytes) for entry in held)
    return Bottleneck(steps, most, holders, None if following is None else following.step, 0 if following is None else following.live_bytes)


def channel_prices(report: MemoryReport, found: Bottleneck) -> list[ChannelPrice]:
    """What the channels of the tensors at the bottleneck cost there, the dearest first."""
    prices = []
    for holder in found.holders:
        buffer = report.buffers[holder.buffer]
        if buffer.kind not in _ROW_KINDS or len(buffer.shape) != 4:
            continue
        price = holder.bytes / buffer.shape[3]
        fewer = -(-found.excess_bytes // price)
        prices.append(ChannelPrice(holder.buffer, buffer.shape[3], price, int(fewer) if fewer < buffer.shape[3] else None))
    return sorted(prices, key=lambda entry: -entry.bytes)


def rows_kept(buffer: BufferReport) -> str:
    """`3 of 40 rows` for a ring, otherwise empty."""
    return f"{buffer.slots} of {buffer.rows} rows" if buffer.slots < buffer.rows or buffer.kind == "ring" else ""


def step_text(layer: LayerReport, limit: int = 60) -> str:
    """The ops of a step; of a long stream the first, the last and how many lie between."""
    ops = [call.op for call in layer.calls]
    text = " + ".join(ops)
    return text if len(text) <= limit or len(ops) < 3 else f"{ops[0]} + {len(ops) - 2} more + {ops[-1]}"


def _holder(report: MemoryReport, layer: LayerReport, number: int, size: int) -> Holder:
    buffer = report.buffers[number]
    writers = [call for call in layer.calls if call.output == number]
    readers = [call for call in layer.calls if number in call.inputs]
    part = "" if size == buffer.bytes else f", {size:,} of its {buffer.bytes:,} bytes at that moment"
    if buffer.kind == "ring" and readers:
        return Holder(number, size, f"ring of {rows_kept(buffer)} between {writers[0].op} and {readers[-1].op}")
    if buffer.kind == "input_ring":
        return Holder(number, size, f"ring of {rows_kept(buffer)} that are pushed one by one")
    if buffer.kind in _ROLES:
        return Holder(number, size, _ROLES[buffer.kind])
    if writers and readers:
        return Holder(number, size, f"read and overwritten here{part}")
    if writers:
        return Holder(number, size, f"written here{part}")
    later = [call for other in report.layers[layer.step + 1 :] for call in other.calls if number in call.inputs]
    here = "read here" if readers else "not used here"
    if later:
        step = next(other.step for other in report.layers[layer.step + 1 :] if later[0] in other.calls)
        return Holder(number, size, f"{here}, kept for step {step} ({later[0].op})", later[0].name)
    if buffer.kind == "output":
        return Holder(number, size, f"{here}, an output of the network")
    return Holder(number, size, f"read here for the last time{part}")
