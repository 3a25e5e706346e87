"""The memory report as one HTML file that needs nothing else: an SVG map of the arena over time beside a table of the buffers.

Decisions on sizes and places are made here; the template lays out. Jinja2 escapes every value, and the page's content security policy
lets nothing run or load but the style and the script that are in the file, by their digests.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from tinyc.errors import printable
from tinyc.report.arena_map import marks, place_text, shared_bytes, span
from tinyc.report.bottleneck import bottleneck, channel_prices, rows_kept, step_text
from tinyc.report.memory import BufferReport, MemoryReport
from tinyc.report.templating import environment
from tinyc.report.text import PRICES, summary_lines

LABEL_WIDTH, MAP_WIDTH, LIVE_WIDTH, TOP = 300, 620, 170, 30
LINE_HEIGHT, STEP_GAP = 16, 3
_CHARACTER_WIDTH = 6.6
"""Pixels of one character of the map's labels."""
_NAME_LIMIT = 120
_TICKS = 6


@dataclass(frozen=True)
class Band:
    """One step of the map, in pixels: its calls as lines of text, and its needed bytes as a bar."""

    step: int
    y: float
    height: float
    lines: tuple[str, ...]
    title: str
    live_bytes: int
    bar: float
    streamed: bool
    peak: bool


@dataclass(frozen=True)
class Box:
    """One buffer of the map, in pixels. `label` fits behind `label_x`, or is empty; `dividers` are the x of borders of ring rows."""

    number: int
    kind: str
    x: float
    y: float
    width: float
    height: float
    label: str
    label_x: float
    label_y: float
    title: str
    odd: bool
    dividers: tuple[float, ...]


@dataclass(frozen=True)
class Hatch:
    """Bytes that two buffers have in one step, in pixels."""

    numbers: str
    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class TableRow:
    """One buffer in the table."""

    number: int
    mark: str
    name: str
    kind: str
    rows: str
    place: str
    size: str
    steps: str
    shares: str


@dataclass(frozen=True)
class Tick:
    """A line of the scale."""

    x: float
    label: str


def report_html(report: MemoryReport) -> str:
    """The page. It is the same for the same report."""
    bands = _bands(report)
    hatches = _hatches(report, bands)
    boxes = _boxes(report, bands, hatches)
    style, script = _part("memory.css"), _part("memory.js")
    found = bottleneck(report)
    return (
        environment()
        .get_template("memory.html.j2")
        .render(
            report=report,
            title=printable(report.name, _NAME_LIMIT),
            summary=[(line[:18].strip(), line[18:], line.startswith("  ")) for line in summary_lines(report)],
            bands=bands,
            # Large buffers first, so that nothing small lies hidden behind them.
            boxes=sorted(boxes, key=lambda box: -box.width * box.height),
            hatches=hatches,
            ticks=_ticks(report),
            rows=_table(report),
            found=found,
            holders=[
                (holder, report.buffers[holder.buffer], printable(report.buffers[holder.buffer].name, 60)) for holder in found.holders
            ],
            prices=[(price, printable(report.buffers[price.buffer].name, 60)) for price in channel_prices(report, found)[:PRICES]],
            step_title=lambda step: f"step {step}, {step_text(report.layers[step])}: {printable(report.layers[step].name, 60)}",
            keeper=lambda holder: printable(holder.keeper, 60),
            change=lambda remedy: printable(remedy.change, 200),
            width=LABEL_WIDTH + MAP_WIDTH + LIVE_WIDTH,
            height=bands[-1].y + bands[-1].height + 8,
            map_left=LABEL_WIDTH,
            map_right=LABEL_WIDTH + MAP_WIDTH,
            top=TOP,
            style=style,
            script=script,
            style_digest=_digest(style),
            script_digest=_digest(script),
        )
    )


def _bands(report: MemoryReport) -> list[Band]:
    y, most = float(TOP), max(report.peak_layer.live_bytes, 1)
    bands = []
    for layer in report.layers:
        height = LINE_HEIGHT * len(layer.calls)
        lines = tuple(_shortened(f"{call.op}  {printable(call.name, 80)}", LABEL_WIDTH - 60) for call in layer.calls)
        title = f"step {layer.step}: {step_text(layer, 200)}: {printable(layer.name, _NAME_LIMIT)}; {layer.live_bytes:,} bytes"
        bar = (LIVE_WIDTH - 80) * layer.live_bytes / most
        bands.append(Band(layer.step, y, height, lines, title, layer.live_bytes, bar, layer.streamed, layer.live_bytes == most))
        y += height + STEP_GAP
    return bands


def _boxes(report: MemoryReport, bands: list[Band], hatches: list[Hatch]) -> list[Box]:
    letters = marks(report.buffers)
    boxes = []
    for number, buffer in enumerate(report.buffers):
        first, last = bands[max(buffer.first_step, 0)], bands[buffer.last_step]
        place = span(report, buffer)
        x, width = _across(report, place.start, place.stop)
        height = last.y + last.height - first.y
        dividers: tuple[float, ...] = ()
        if buffer.kind in ("ring", "input_ring") and buffer.slots > 1 and width / buffer.slots > 3:
            dividers = tuple(x + width * slot / buffer.slots for slot in range(1, buffer.slots))
        spans = bands[max(buffer.first_step, 0) : buffer.last_step + 1]
        label_x, label_y, room = _place_for_label(number, x, width, spans, hatches)
        label = _shortened(f"{letters[number]}  {printable(buffer.name, 80)}" if room > 90 else letters[number], room - 6)
        odd = number % 2 == 1
        boxes.append(Box(number, buffer.kind, x, first.y, width, height, label, label_x, label_y, _title(report, number), odd, dividers))
    return boxes


def _place_for_label(number: int, x: float, width: float, bands: list[Band], hatches: list[Hatch]) -> tuple[float, float, float]:
    """x, y and room of a label in a buffer: where nothing is written over something, in the first step with room for a name.

    Where no step has that much room, it is the place with the most.
    """
    places = []
    for band in bands:
        covered = sorted(
            (hatch.x, hatch.x + hatch.width) for hatch in hatches if hatch.y == band.y and str(number) in hatch.numbers.split()
        )
        begin = x
        for first, end in [*covered, (x + width, x + width)]:
            places.append((begin, band.y, first - begin))
            begin = max(begin, end)
    roomy = [place for place in places if place[2] > 90]
    return roomy[0] if roomy else max(places, key=lambda place: place[2])


def _hatches(report: MemoryReport, bands: list[Band]) -> list[Hatch]:
    hatches = []
    for band in bands:
        for shared in shared_bytes(report, band.step):
            x, width = _across(report, shared.first, shared.end)
            names = [printable(report.buffers[number].name, 60) for number in (shared.one, shared.other)]
            title = f"{shared.end - shared.first:,} bytes shared in step {band.step}: {names[0]} is written over {names[1]}, which was read"
            hatches.append(Hatch(f"{shared.one} {shared.other}", x, band.y, width, band.height, title))
    return hatches


def _across(report: MemoryReport, first: int, end: int) -> tuple[float, float]:
    """x and width of bytes [first, end), at least a pixel wide."""
    scale = MAP_WIDTH / max(report.ram.arena_bytes, 1)
    return round(LABEL_WIDTH + first * scale, 2), round(max((end - first) * scale, 1.0), 2)


def _ticks(report: MemoryReport) -> list[Tick]:
    """Lines at round numbers of bytes; the last one is the arena's end. With several banks, lines where they begin."""
    arena = max(report.ram.arena_bytes, 1)
    if len(report.banks) > 1:
        starts = [sum(bank.arena_bytes for bank in report.banks[:number]) for number in range(len(report.banks))]
        return [Tick(_across(report, start, start)[0], printable(bank.name, 31)) for start, bank in zip(starts, report.banks, strict=True)]
    step = next(size for power in range(12) for size in (10**power, 2 * 10**power, 5 * 10**power) if arena <= size * _TICKS)
    values = [value for value in range(0, arena, step) if value <= arena - step * 0.4]
    return [Tick(_across(report, value, value)[0], f"{value:,}") for value in (*values, arena)]


def _table(report: MemoryReport) -> list[TableRow]:
    letters = marks(report.buffers)
    shares: dict[int, list[str]] = {}
    for overlap in report.overlaps:
        shares.setdefault(overlap.result, []).append(f"{overlap.bytes:,} over {letters[overlap.source]} in step {overlap.step}")
        shares.setdefault(overlap.source, []).append(f"{overlap.bytes:,} under {letters[overlap.result]} in step {overlap.step}")
    return [
        TableRow(
            number,
            letters[number],
            printable(buffer.name, _NAME_LIMIT),
            buffer.kind,
            rows_kept(buffer),
            place_text(buffer),
            f"{buffer.bytes:,}",
            _steps(buffer),
            "; ".join(shares.get(number, [])),
        )
        for number, buffer in sorted(enumerate(report.buffers), key=lambda entry: (entry[1].first_step, entry[0]))
    ]


def _title(report: MemoryReport, number: int) -> str:
    buffer = report.buffers[number]
    kept = f", {rows_kept(buffer)}" if rows_kept(buffer) else ""
    shape = f", {' x '.join(str(size) for size in buffer.shape)}" if buffer.shape else ""
    bank = f" of bank {buffer.bank}" if buffer.bank else ""
    place = f"bytes {buffer.offset:,} to {buffer.end:,}{bank}, {buffer.bytes:,} in all"
    return f"{printable(buffer.name, _NAME_LIMIT)}: {buffer.kind}{kept}{shape}; {place}; step {_steps(buffer)}"


def _steps(buffer: BufferReport) -> str:
    first = max(buffer.first_step, 0)
    return str(first) if first == buffer.last_step else f"{first} to {buffer.last_step}"


def _shortened(text: str, width: float) -> str:
    """As much of `text` as `width` pixels take; empty where that is less than a character."""
    room = int(width / _CHARACTER_WIDTH)
    if len(text) <= room:
        return text
    return text[: room - 1] + "…" if room > 2 else text[:1] if room >= 1 else ""


def _part(name: str) -> str:
    """A file of the page that is the same in every report."""
    return environment().get_template(f"{name}.j2").render()


def _digest(text: str) -> str:
    """The source expression of a content security policy that allows exactly `text`."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
