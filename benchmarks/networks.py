"""Every network of ../shared/models on both cores with both numeric profiles: docs/benchmarks.md and the table of README.md."""

from __future__ import annotations

from collections.abc import Sequence

from cases import SOURCES, Case, PeerFigures, load_peers
from documents import DOCS, README, Edit, Section, Statement
from measure import CORES, Build, Laboratory, Measurement
from tables import table_row

from tinyc.bench import Figures
from tinyc.numerics.profile import Profile
from tinyc.toolchains.gcc_arm import find_gcc_arm

BENCHMARKS = DOCS / "benchmarks.md"
PROFILES = (Profile.LITERT, Profile.TFLM)
"""The networks are TFLite files; the third profile is that of ONNX files."""

Peers = dict[str, dict[str, PeerFigures]]

SENTENCE = "these are of arm-none-eabi-gcc {}"
TITLES = {"tflm": "TFLM", "tinyengine": "TinyEngine"}
_FULL_HEADING = (
    "network | core | numerics | instructions | per MAC | est. cycles | per MAC | arena | lower bound | stack | RAM | weights | code"
    " | flash image | inputs equal"
)
RATIO_COLUMNS = (
    "instructions, TFLM | ours / TFLM | RAM, TFLM | ours / TFLM"
    " | instructions, TinyEngine | ours / TinyEngine | RAM, TinyEngine | ours / TinyEngine"
)
_README_HEADING = (
    "network | multiply-adds | RAM | flash | instructions | est. cycles | RAM, TFLM | flash, TFLM | instructions, TFLM"
    " | RAM, TinyEngine | instructions, TinyEngine"
)


def _ratio(ours: int, theirs: int | None) -> str | None:
    return None if theirs is None else f"{ours / theirs:.2f}"


def ratio_cells(peers: Peers, network: str, core: str, ours: Figures) -> list[object] | None:
    """Cells of RATIO_COLUMNS; None where no other tool was measured on `network`."""
    found = [peers.get(tool, {}).get(network) for tool in TITLES]
    if not any(found):
        return None
    cells: list[object] = []
    for peer in found:
        instructions = peer.instructions[core] if peer else None
        ram = peer.ram if peer else None
        cells += [instructions, _ratio(ours.instructions, instructions), ram, _ratio(ours.ram, ram)]
    return cells


def full_rows(measurements: Sequence[Measurement]) -> list[str]:
    """Rows of the table of everything."""
    rows = []
    for m in measurements:
        taken, cycles = m.figures, m.estimated_cycles
        assert cycles is not None
        rows.append(
            table_row(
                *(m.network, m.core.upper(), m.numerics, taken.instructions, f"{taken.instructions / taken.macs:.2f}"),
                *(cycles, f"{cycles / taken.macs:.2f}", taken.arena, taken.lower_bound, taken.stack, taken.ram),
                *(taken.weights, taken.code, taken.image, m.samples),
            )
        )
    return rows


def ratio_rows(measurements: Sequence[Measurement], peers: Peers) -> list[str]:
    """Rows of the comparison."""
    found = [(m, ratio_cells(peers, m.network, m.core, m.figures)) for m in measurements]
    return [table_row(m.network, m.core.upper(), m.numerics, *cells) for m, cells in found if cells is not None]


def readme_rows(measurements: Sequence[Measurement], peers: Peers) -> list[str]:
    """Rows of the short table: Cortex-M7, default numerics."""
    rows = []
    for m in measurements:
        if (m.core, m.numerics) != ("m7", "litert"):
            continue
        tflm, tinyengine = (peers.get(tool, {}).get(m.network) for tool in TITLES)
        cells: list[object] = [m.network, m.figures.macs, m.figures.ram, m.figures.image, m.figures.instructions, m.estimated_cycles]
        cells += [tflm.ram, tflm.flash, tflm.instructions["m7"]] if tflm else [None] * 3
        cells += [tinyengine.ram, tinyengine.instructions["m7"]] if tinyengine else [None] * 2
        rows.append(table_row(*cells))
    return rows


def compiler_statement() -> Statement:
    """Whose bytes and instructions docs/benchmarks.md is about."""
    return Statement(BENCHMARKS, SENTENCE, (find_gcc_arm().version(),))


def measure_networks(laboratory: Laboratory, cases: Sequence[Case]) -> list[Edit]:
    """What the pages say about `cases`."""
    peers = load_peers()
    builds = [Build(core, profile.value) for core in CORES for profile in PROFILES]
    measurements = [laboratory.measure(case, build) for case in cases for build in builds]
    names = [case.name for case in cases]
    notes = [
        f"- {TITLES[tool]}, {name}: {peers[tool][name].note}."
        for tool in TITLES
        for name in names
        if tool in peers and name in peers[tool] and peers[tool][name].note
    ]
    return [
        compiler_statement(),
        Section(BENCHMARKS, "networks", [table_row(name, SOURCES[name]) for name in names], "network | from"),
        Section(BENCHMARKS, "figures", full_rows(measurements), _FULL_HEADING),
        Section(BENCHMARKS, "ratios", ratio_rows(measurements, peers), f"network | core | numerics | {RATIO_COLUMNS}"),
        Section(BENCHMARKS, "notes", notes),
        Section(README, "benchmarks", readme_rows(measurements, peers), _README_HEADING),
    ]
