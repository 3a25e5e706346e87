"""Measurements as the tables of docs/benchmarks.md and README.md, and the check that those tables are still true."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cases import ROOT, SOURCES, PeerFigures
from measure import Measurement
from tables import lines_of, replaced, table, table_row

DOCUMENT = ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"

Peers = dict[str, dict[str, PeerFigures]]

COMMAND = "python benchmarks/models.py --all"
_FULL_HEADING = (
    "network | core | numerics | instructions | per MAC | est. cycles | per MAC | arena | lower bound | stack | RAM | weights | code"
    " | flash image | inputs equal"
)
_RATIO_HEADING = (
    "network | core | numerics | instructions, TFLM | ours / TFLM | RAM, TFLM | ours / TFLM"
    " | instructions, TinyEngine | ours / TinyEngine | RAM, TinyEngine | ours / TinyEngine"
)
_README_HEADING = (
    "network | multiply-adds | RAM | flash | instructions | est. cycles | RAM, TFLM | flash, TFLM | instructions, TFLM"
    " | RAM, TinyEngine | instructions, TinyEngine"
)


def _ratio(ours: int, theirs: int | None) -> str | None:
    return None if theirs is None else f"{ours / theirs:.2f}"


def full_rows(measurements: Sequence[Measurement]) -> list[str]:
    """Rows of the table of everything."""
    rows = []
    for m in measurements:
        taken = m.figures
        rows.append(
            table_row(
                *(m.network, m.core.upper(), m.numerics, taken.instructions, f"{taken.instructions / taken.macs:.2f}"),
                *(m.estimated_cycles, f"{m.estimated_cycles / taken.macs:.2f}", taken.arena, taken.lower_bound, taken.stack, taken.ram),
                *(taken.weights, taken.code, taken.image, m.samples),
            )
        )
    return rows


def ratio_rows(measurements: Sequence[Measurement], peers: Peers) -> list[str]:
    """Rows of the comparison."""
    rows = []
    for m in measurements:
        found = [peers.get(tool, {}).get(m.network) for tool in ("tflm", "tinyengine")]
        if not any(found):
            continue
        cells: list[object] = [m.network, m.core.upper(), m.numerics]
        for peer in found:
            instructions = peer.instructions[m.core] if peer else None
            ram = peer.ram if peer else None
            cells += [instructions, _ratio(m.figures.instructions, instructions), ram, _ratio(m.figures.ram, ram)]
        rows.append(table_row(*cells))
    return rows


def readme_rows(measurements: Sequence[Measurement], peers: Peers) -> list[str]:
    """Rows of the short table: Cortex-M7, default numerics."""
    rows = []
    for m in measurements:
        if (m.core, m.numerics) != ("m7", "litert"):
            continue
        tflm, tinyengine = (peers.get(tool, {}).get(m.network) for tool in ("tflm", "tinyengine"))
        cells: list[object] = [m.network, m.figures.macs, m.figures.ram, m.figures.image, m.figures.instructions, m.estimated_cycles]
        cells += [tflm.ram, tflm.flash, tflm.instructions["m7"]] if tflm else [None] * 3
        cells += [tinyengine.ram, tinyengine.instructions["m7"]] if tinyengine else [None] * 2
        rows.append(table_row(*cells))
    return rows


def document_text(measurements: Sequence[Measurement], peers: Peers, compiler: str) -> str:
    """Text of docs/benchmarks.md."""
    networks = [name for name in SOURCES if any(m.network == name for m in measurements)]
    titles = {"tflm": "TFLM", "tinyengine": "TinyEngine"}
    notes = [
        f"- {titles[tool]}, {name}: {peers[tool][name].note}."
        for tool in titles
        for name in networks
        if tool in peers and name in peers[tool] and peers[tool][name].note
    ]
    return (
        (Path(__file__).parent / "page.md.in")
        .read_text(encoding="utf-8")
        .format(
            command=COMMAND,
            compiler=compiler,
            sources="\n".join(table_row(name, SOURCES[name]) for name in networks),
            full=table(_FULL_HEADING, full_rows(measurements)),
            ratios=table(_RATIO_HEADING, ratio_rows(measurements, peers)),
            notes="\n".join(notes),
        )
    )


def readme_text(readme: str, measurements: Sequence[Measurement], peers: Peers) -> str:
    """README.md with a new table between its markers. Raises ValueError where they are missing."""
    return replaced(readme, BEGIN, END, table(_README_HEADING, readme_rows(measurements, peers)))


def write_documents(measurements: Sequence[Measurement], peers: Peers, compiler: str) -> None:
    """Writes docs/benchmarks.md and the table of README.md."""
    readme = readme_text(README.read_text(encoding="utf-8"), measurements, peers)
    DOCUMENT.write_text(document_text(measurements, peers, compiler), encoding="utf-8")
    README.write_text(readme, encoding="utf-8")


def untrue_rows(measurements: Sequence[Measurement], peers: Peers) -> list[str]:
    """What the two files should say about `measurements` but do not, one line each: the file, and the row as measured now."""
    wanted = {
        DOCUMENT: [*full_rows(measurements), *ratio_rows(measurements, peers)],
        README: readme_rows(measurements, peers),
    }
    problems = []
    for path, rows in wanted.items():
        lines = set(lines_of(path))
        problems += [f"{path.relative_to(ROOT)} does not say: {row}" for row in rows if row not in lines]
    return problems


def recorded_compiler() -> str | None:
    """The version of the compiler that docs/benchmarks.md was measured with."""
    marker = "of arm-none-eabi-gcc "
    found = next((line for line in lines_of(DOCUMENT) if marker in line), None)
    return None if found is None else found.partition(marker)[2].rstrip(".")
