"""The memory report as text and CSV for people and spreadsheets."""

from __future__ import annotations

import csv
import io

from tinyc.errors import printable
from tinyc.report.memory import BufferReport, MemoryReport

MAP_COLUMNS = 64
"""Width of the map of the arena in characters."""
_MARKS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def _share(used: int, limit: int | None) -> str:
    return f"of {limit:,} ({100 * used / limit:.1f} %)" if limit else "(no limit)"


def summary_lines(report: MemoryReport) -> list[str]:
    """The totals."""
    ram, flash = report.ram, report.flash
    proved = "no schedule of these steps needs less" if ram.arena_bytes <= ram.lower_bound_bytes + 3 else "bound for these steps"
    stack = "not measured (no arm-none-eabi-gcc)" if ram.stack_bytes is None else f"{ram.stack_bytes:,} (deepest path of calls)"
    code = "not measured (no arm-none-eabi-gcc)" if flash.code_bytes is None else f"{flash.code_bytes:,}"
    peak = report.peak_layer
    return [
        f"network           {printable(report.name)} on {report.target}, numerics {report.numerics}",
        f"multiply-adds     {report.macs:,}",
        f"RAM bytes         {ram.total_bytes:,} {_share(ram.total_bytes, report.ram_limit_bytes)}",
        f"  arena           {ram.arena_bytes:,} (inputs and outputs included)",
        f"  lower bound     {ram.lower_bound_bytes:,} ({proved})",
        f"  .data and .bss  {ram.static_bytes:,}",
        f"  stack           {stack}",
        f"flash bytes       {flash.total_bytes:,} {_share(flash.total_bytes, report.flash_limit_bytes)}",
        f"  weights         {flash.weights_bytes:,}",
        f"  code            {code}",
        f"peak              {peak.live_bytes:,} bytes in step {peak.step}: {peak.op} {printable(peak.name, 60)}",
    ]


def report_text(report: MemoryReport) -> str:
    """Totals, a table of the steps, and a map of the arena over time."""
    lines = [*summary_lines(report), "", f"{'step':>4}  {'live':>9}  {'scratch':>8}  {'macs':>11}  op: name (what is live)"]
    for layer in report.layers:
        mark = "  <- peak" if layer.step == report.peak_layer.step else ""
        live = ", ".join(_live_text(entry) for entry in layer.live)
        numbers = f"{layer.step:>4}  {layer.live_bytes:>9,}  {layer.scratch_bytes:>8,}  {layer.macs:>11,}"
        lines.append(f"{numbers}  {layer.op}: {printable(layer.name, 60)}{mark}")
        lines.append(f"{'':>38}  ({live})")
    return "\n".join([*lines, "", *map_lines(report)]) + "\n"


def _live_text(entry: str) -> str:
    """A live buffer with its name shortened; kind and bytes, which follow the name, stay."""
    name, bracket, rest = entry.rpartition(" [")
    return f"{printable(name, 30)}{bracket}{rest}" if bracket else printable(entry, 60)


def map_lines(report: MemoryReport) -> list[str]:
    """The arena from left (offset 0) to right, one line a step; each letter is a buffer, `#` is where two buffers share bytes."""
    arena = max(report.ram.arena_bytes, 1)
    lines = [f"arena map, {MAP_COLUMNS} columns of {arena / MAP_COLUMNS:,.0f} bytes; '#' where an output is written over its input"]
    legend: list[str] = []
    for layer in report.layers:
        row = ["."] * MAP_COLUMNS
        for number, buffer in enumerate(report.buffers):
            if not buffer.first_step <= layer.step <= buffer.last_step:
                continue
            for column in _columns(buffer, arena):
                row[column] = _MARKS[number % len(_MARKS)] if row[column] == "." else row[column]
        for first, end in _shared(report, layer.step):
            for column in range(first * MAP_COLUMNS // arena, min(-(-end * MAP_COLUMNS // arena), MAP_COLUMNS)):
                row[column] = "#"
        lines.append(f"{layer.step:>4}  {''.join(row)}")
    for number, buffer in enumerate(report.buffers):
        end = buffer.offset + buffer.bytes
        legend.append(
            f"   {_MARKS[number % len(_MARKS)]}  {buffer.offset:>8,} to {end:>8,}  {buffer.kind:<11} {printable(buffer.name, 60)}"
        )
    return [*lines, "", *legend]


def _shared(report: MemoryReport, step: int) -> list[tuple[int, int]]:
    """Byte ranges that two buffers both have in `step`."""
    live = [buffer for buffer in report.buffers if buffer.first_step <= step <= buffer.last_step]
    ranges = []
    for index, one in enumerate(live):
        for other in live[:index]:
            first, end = max(one.offset, other.offset), min(one.offset + one.bytes, other.offset + other.bytes)
            if first < end:
                ranges.append((first, end))
    return ranges


def _columns(buffer: BufferReport, arena: int) -> range:
    first = buffer.offset * MAP_COLUMNS // arena
    end = -(-(buffer.offset + buffer.bytes) * MAP_COLUMNS // arena)
    return range(first, min(max(end, first + 1), MAP_COLUMNS))


def report_csv(report: MemoryReport) -> str:
    """The table of steps as CSV with a header line."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["step", "name", "op", "kernels", "macs", "live_bytes", "scratch_bytes", "live"])
    for layer in report.layers:
        row = [layer.step, _cell(layer.name), layer.op, " ".join(layer.kernels), layer.macs, layer.live_bytes, layer.scratch_bytes]
        writer.writerow([*row, _cell("; ".join(layer.live))])
    return stream.getvalue()


def _cell(text: str) -> str:
    # A spreadsheet runs cells that begin like a formula; names come from the model.
    safe = printable(text, 1000)
    return f"'{safe}" if safe[:1] in ("=", "+", "-", "@") else safe
