"""The profile as text and CSV."""

from __future__ import annotations

import csv
import io

from tinyc.errors import printable
from tinyc.report.profile import LayerProfile, ProfileReport
from tinyc.report.text import spreadsheet_cell

NAME_COLUMNS = 44
"""Width of a layer's name in characters; longer ones are cut."""
_COLUMNS = (
    ("layer", 5),
    ("step", 4),
    ("MACs", 12),
    ("instructions", 13),
    ("per MAC", 8),
    ("est. cycles", 13),
    ("est. ms", 10),
    ("share", 7),
)
_HEADING = " ".join(f"{title:>{width}}" for title, width in (*_COLUMNS, ("code", 7)))


def profile_text(report: ProfileReport) -> str:
    """A table of the layers, a total, and code that layers share."""
    lines = [
        f"network  {printable(report.name)} on {report.target}, numerics {report.numerics}, arm-none-eabi-gcc {report.compiler}",
        "instructions are exact, counted in one inference; cycles, times and shares are estimated",
        f"cycles   estimated for a {report.model}, {report.timing}",
        "",
        f"{_HEADING}  op: name",
    ]
    for number, layer in enumerate(report.layers):
        title = f"{layer.op}: {printable(layer.name, NAME_COLUMNS)}" if layer.step is not None else layer.name
        lines.append(f"{_row(report, layer, str(number))}  {title}")
    total = LayerProfile(None, "", "", "", report.macs, report.instructions, report.estimated_cycles, report.code_bytes)
    lines.append(f"{_row(report, total, 'total')}  code: with what is shared and what did not run")
    if report.shared:
        lines += ["", "code that several layers run:"]
        lines += [f"  {code.code_bytes:>6,}  {code.function}: layers {', '.join(map(str, code.layers))}" for code in report.shared]
    lines += ["", f"code that did not run in this inference: {report.unused_code_bytes:,} bytes"]
    return "\n".join(lines) + "\n"


def _row(report: ProfileReport, layer: LayerProfile, number: str) -> str:
    step = "" if layer.step is None else str(layer.step)
    each = "" if layer.instructions_per_mac is None else f"{layer.instructions_per_mac:.2f}"
    milliseconds = report.estimated_ms(layer.estimated_cycles)
    time = "" if milliseconds is None else f"{milliseconds:.3f}"
    share = f"{100 * report.share(layer):.1f} %"
    counted = f"{number:>5} {step:>4}  {layer.macs:>11,}  {layer.instructions:>12,}  {each:>7}"
    return f"{counted}  {layer.estimated_cycles:>12,}  {time:>9}  {share:>6}  {layer.code_bytes:>6,}"


def profile_csv(report: ProfileReport) -> str:
    """The table of layers as CSV with a header line."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        [
            *("layer", "step", "name", "op", "kernel", "macs", "instructions", "instructions_per_mac"),
            *("estimated_cycles", "estimated_ms", "share", "code_bytes"),
        ]
    )
    for number, layer in enumerate(report.layers):
        each, milliseconds = layer.instructions_per_mac, report.estimated_ms(layer.estimated_cycles)
        writer.writerow(
            [
                *(number, "" if layer.step is None else layer.step, spreadsheet_cell(layer.name), layer.op, layer.kernel, layer.macs),
                *(layer.instructions, "" if each is None else f"{each:.4f}", layer.estimated_cycles),
                *("" if milliseconds is None else f"{milliseconds:.6f}", f"{report.share(layer):.6f}", layer.code_bytes),
            ]
        )
    return stream.getvalue()
