"""The memory report as text and CSV for people and spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from tinyc.errors import printable
from tinyc.report.arena_map import map_row, marks, place_text
from tinyc.report.bottleneck import bottleneck, channel_prices, rows_kept, step_text
from tinyc.report.memory import BufferReport, MemoryReport, OverlapReport

MAP_COLUMNS = 64
"""Width of the map of the arena in characters."""
_HIGHEST = 6
"""Steps that are listed as the next obstacles."""
PRICES = 3
"""Tensors whose channels are priced; the others save less."""
_NAMES = 3
"""Of a list of layers."""


def _share(used: int, limit: int | None) -> str:
    return f"of {limit:,} ({100 * used / limit:.1f} %)" if limit else "(no limit)"


def summary_lines(report: MemoryReport) -> list[str]:
    """The totals."""
    ram, flash = report.ram, report.flash
    gap = ram.arena_bytes - ram.lower_bound_bytes
    proved = (
        "reached: no placement of these steps needs less"
        if gap <= 3
        else f"not proved: up to {gap:,} bytes might be saved, --planner exact knows"
    )
    if len(report.banks) > 1:
        proved = "of one arena; several may need more, since each is as large as its own peak"
    stack = "not measured (no arm-none-eabi-gcc)" if ram.stack_bytes is None else f"{ram.stack_bytes:,} (deepest path of calls)"
    code = "not measured (no arm-none-eabi-gcc)" if flash.code_bytes is None else f"{flash.code_bytes:,}"
    peak = report.peak_layer
    lines = [
        f"network           {printable(report.name)} on {report.target}, numerics {report.numerics}",
        f"multiply-adds     {report.macs:,}{_recomputed_text(report)}",
        f"RAM bytes         {ram.total_bytes:,} {_share(ram.total_bytes, report.ram_limit_bytes)}",
        f"  arena{'s' if len(report.banks) > 1 else ' '}          {ram.arena_bytes:,} ({_boundary_text(report)} included)",
        *bank_lines(report),
        f"  lower bound     {ram.lower_bound_bytes:,} ({proved})",
        f"  .data and .bss  {ram.static_bytes:,}",
        f"  stack           {stack}",
        f"flash bytes       {flash.total_bytes:,} {_share(flash.total_bytes, report.flash_limit_bytes)}",
        f"  weights         {flash.weights_bytes:,}",
        f"  code            {code}",
        f"peak              {peak.live_bytes:,} bytes in step {peak.step}: {step_text(peak)} {printable(peak.name, 60)}",
    ]
    approximate = approximate_text(report.approximate_layers)
    return [*lines, f"approximate       {approximate}"] if approximate else lines


def _recomputed_text(report: MemoryReport) -> str:
    """How much is computed twice; empty where nothing is."""
    calls = [call for layer in report.layers for call in layer.calls]
    kept = [call.name for call in calls if call.again]
    strips = list(dict.fromkeys(call.name for call in calls if call.part))
    if not kept and not strips:
        return ""
    ways = [f"for what is computed again instead of kept: {_names(kept)}"] if kept else []
    if strips:
        counts = sorted({call.parts for call in calls if call.part})
        most = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
        ways.append(f"at the borders of {most} vertical strips: {_names(strips)}")
    return f", {report.recomputed_macs:,} of them {', and '.join(ways)}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(printable(name, 40) for name in names[:_NAMES]) + more


def bank_lines(report: MemoryReport) -> list[str]:
    """One line a bank: its arena, what it may have, and its part of all accesses."""
    total = max(1, sum(bank.accesses for bank in report.banks))
    return [
        f"    {printable(bank.name, 12):<14}{bank.arena_bytes:,} {_share(bank.arena_bytes, bank.limit_bytes)}, "
        f"{100 * bank.accesses / total:.1f} % of the estimated loads and stores{', and the stack' if bank.holds_stack else ''}"
        for bank in report.banks
    ]


def approximate_text(layers: Sequence[str]) -> str:
    """How many layers are computed otherwise than in ONNX Runtime, and which; empty for none."""
    if not layers:
        return ""
    names = ", ".join(printable(name, 60) for name in layers[:_NAMES])
    more = f" and {len(layers) - _NAMES} more" if len(layers) > _NAMES else ""
    count = f"{len(layers)} layer{'s' if len(layers) != 1 else ''}"
    return f"{count} that ONNX Runtime computes in float32, results may differ: {names}{more}"


def _boundary_text(report: MemoryReport) -> str:
    """What of the network's boundary lies in the arena."""
    kept = [buffer for buffer in report.buffers if buffer.kind == "input_ring"]
    return f"outputs and {kept[0].bytes:,} bytes for rows of the input" if kept else "inputs and outputs"


def report_text(report: MemoryReport) -> str:
    """Totals, what sets the peak and what to change, a table of the steps, and a map of the arena over time."""
    lines = [*summary_lines(report), "", *bottleneck_lines(report)]
    lines += ["", f"{'step':>4}  {'live':>9}  {'scratch':>8}  {'macs':>11}  op: name (what is live)"]
    for layer in report.layers:
        mark = "  <- peak" if layer.step == report.peak_layer.step else ""
        live = ", ".join(_live_text(entry) for entry in layer.live)
        numbers = f"{layer.step:>4}  {layer.live_bytes:>9,}  {layer.scratch_bytes:>8,}  {layer.macs:>11,}"
        lines.append(f"{numbers}  {layer.op}: {printable(layer.name, 60)}{mark}")
        lines.append(f"{'':>38}  ({live})")
    return "\n".join([*lines, "", *map_lines(report)]) + "\n"


def bottleneck_lines(report: MemoryReport) -> list[str]:
    """The step that needs the most, what holds it, and what would bring it down by how much."""
    found = bottleneck(report)
    layer = report.layers[found.steps[0]]
    lines = [f"what holds the peak: {found.bytes:,} bytes in step {layer.step}, {step_text(layer)}: {printable(layer.name, 60)}"]
    if len(found.steps) > 1:
        lines.append(f"  (as many in step {', '.join(str(step) for step in found.steps[1:])})")
    for holder in found.holders:
        buffer = report.buffers[holder.buffer]
        keeper = f": {printable(holder.keeper, 40)}" if holder.keeper else ""
        lines.append(f"  {holder.bytes:>9,}  {buffer.kind:<11} {printable(buffer.name, 40)}: {holder.role}{keeper}")
    lines += ["", "to go lower"]
    several = len(report.banks) > 1
    for remedy in report.remedies or ():
        arena = f"arena{'s' if several else ''} {remedy.arena_bytes:,}"
        lines.append(f"  {remedy.saved_bytes:>9,}  bytes fewer with {printable(remedy.change, 120)}: {arena}")
    if report.remedies == ():
        lines.append(f"  no option of tinyc makes {'these arenas, taken together,' if several else 'this arena'} smaller")
    if found.next_step is None:
        return [*lines, "  the network has no other step; only smaller tensors help"]
    following = report.layers[found.next_step]
    these = "these steps" if len(found.steps) > 1 else "this step"
    then = f"then step {following.step}, {step_text(following, 40)}, needs {found.next_bytes:,}"
    lines.append(f"  {found.excess_bytes:>9,}  bytes fewer is all that {these} alone can give: {then}")
    for price in channel_prices(report, found)[:PRICES]:
        name = printable(report.buffers[price.buffer].name, 40)
        enough = f"{price.fewer} fewer would do" if price.fewer is not None else "leaving it out is not enough"
        lines.append(f"  {price.bytes:>9,.0f}  bytes for each of the {price.channels} channels of {name}; {enough}")
    highest = sorted(report.layers, key=lambda entry: -entry.live_bytes)[:_HIGHEST]
    return [*lines, f"  the highest steps: {'; '.join(f'{entry.step} with {entry.live_bytes:,}' for entry in highest)}"]


def _live_text(entry: str) -> str:
    """A live buffer with its name shortened; kind and bytes, which follow the name, stay."""
    name, bracket, rest = entry.rpartition(" [")
    return f"{printable(name, 30)}{bracket}{rest}" if bracket else printable(entry, 60)


def map_lines(report: MemoryReport) -> list[str]:
    """The arena from left (offset 0) to right, one line a step, and a legend: what lies where, and what is written over what."""
    letters = marks(report.buffers)
    lines = [
        f"arena over time: {MAP_COLUMNS} columns of {max(report.ram.arena_bytes, 1) / MAP_COLUMNS:,.0f} bytes, time runs downwards",
        "A-Z tensor   a-z ring of rows   : scratch   + sums   # written over what was read   . free   ~ step that runs row by row",
    ]
    if len(report.banks) > 1:
        lines.append(f"banks side by side: {', '.join(_bank_columns(report))}")
    for layer in report.layers:
        peak = "  <- peak" if layer.step == report.peak_layer.step else ""
        stream = "~" if layer.streamed else " "
        row = map_row(report, layer.step, MAP_COLUMNS, letters)
        lines.append(f"{layer.step:>4}{stream} {row} {layer.live_bytes:>9,}  {step_text(layer, 40)}{peak}")
    over: dict[int, list[OverlapReport]] = {}
    for overlap in report.overlaps:
        over.setdefault(overlap.result, []).append(overlap)
    legend = []
    for number, buffer in sorted(enumerate(report.buffers), key=lambda entry: (entry[1].first_step, entry[0])):
        kind = f"{buffer.kind} {rows_kept(buffer)}" if buffer.kind in ("ring", "input_ring") else buffer.kind
        shares = [f"over {letters[entry.source]}, {entry.bytes:,} bytes" for entry in over.get(number, ())]
        place = f"{place_text(buffer):>28}" if buffer.bank else f"{buffer.offset:>9,} to {buffer.end:>9,}"
        name = printable(buffer.name, 50) + (f" ({'; '.join(shares)})" if shares else "")
        legend.append(f"   {letters[number]}  step {_steps_text(buffer):<9} {place}  {kind:<22} {name}")
    return [*lines, "", *legend]


def _bank_columns(report: MemoryReport) -> list[str]:
    """Which columns of the map are which bank."""
    found, base = [], 0
    for bank in report.banks:
        first, end = (bound * MAP_COLUMNS // max(report.ram.arena_bytes, 1) for bound in (base, base + bank.arena_bytes))
        found.append(f"{printable(bank.name, 31)} from column {first} to {max(end - 1, first)}")
        base += bank.arena_bytes
    return found


def _steps_text(buffer: BufferReport) -> str:
    first = max(buffer.first_step, 0)
    return str(first) if first == buffer.last_step else f"{first} to {buffer.last_step}"


def report_csv(report: MemoryReport) -> str:
    """The table of steps as CSV with a header line."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["step", "name", "op", "kernels", "macs", "live_bytes", "scratch_bytes", "live"])
    for layer in report.layers:
        row = [
            layer.step,
            spreadsheet_cell(layer.name),
            layer.op,
            " ".join(layer.kernels),
            layer.macs,
            layer.live_bytes,
            layer.scratch_bytes,
        ]
        writer.writerow([*row, spreadsheet_cell("; ".join(layer.live))])
    return stream.getvalue()


def spreadsheet_cell(text: str) -> str:
    # A spreadsheet runs cells that begin like a formula; names come from the model.
    safe = printable(text, 1000)
    return f"'{safe}" if safe[:1] in ("=", "+", "-", "@") else safe
