"""The networks that are measured, with inputs and the outputs that the references gave for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
"""Folder beside the repository with public networks, recorded outputs and measurements of other tools; may be absent."""

EXAMPLE = "fashion_mnist"
ONE_SAMPLE = ("mcunetv2_large",)
"""Networks so large that one input has to do."""

SOURCES: Mapping[str, str] = {
    EXAMPLE: "examples/fashion_mnist",
    "ad01_int8": "MLPerf Tiny anomaly detection (mlcommons/tiny)",
    "kws_ref_model": "MLPerf Tiny keyword spotting (mlcommons/tiny)",
    "micro_speech_quantized": "micro speech (tensorflow/tflite-micro)",
    "pretrainedResnet_quant": "MLPerf Tiny image classification (mlcommons/tiny)",
    "vww_96_int8": "MLPerf Tiny visual wake words (mlcommons/tiny)",
    "vww": "MCUNet visual wake words (mit-han-lab/tinyengine)",
    "mcunet-in3": "MCUNet ImageNet, 320 kB (mit-han-lab/tinyml)",
    "mcunetv2_large": "MCUNetV2 with squeeze-and-excite (mit-han-lab/tinyengine)",
}


@dataclass(frozen=True)
class Case:
    """A network: `inputs` (N, ...) for its one input, and `expected` output 0 (up to N, ...) by numerics profile, int8 or dequantised."""

    name: str
    model: Path
    inputs: Array
    expected: Mapping[str, Array]

    @property
    def samples(self) -> int:
        """How many of the recorded inputs are run at most."""
        return 1 if self.name in ONE_SAMPLE else len(self.inputs)

    @property
    def source(self) -> str:
        """Where the network comes from."""
        return SOURCES[self.name]


def example_case() -> Case:
    """The network of the repository; its recorded answers are ai-edge-litert's."""
    folder = ROOT / "examples" / EXAMPLE
    with np.load(folder / "test_images.npz", allow_pickle=False) as archive:
        return Case(EXAMPLE, folder / "fashion_mnist.tflite", archive["input_0"], {"litert": archive["expected_0"]})


def shared_case(name: str) -> Case | None:
    """A network of the shared folder, or None where it is not there."""
    model, golden = SHARED / "models" / f"{name}.tflite", SHARED / "golden" / f"{name}.npz"
    if not (model.exists() and golden.exists()):
        return None
    with np.load(golden, allow_pickle=False) as archive:
        expected = {profile: archive[f"{profile}_0"] for profile in ("litert", "tflm")}
        return Case(name, model, archive["input"], expected)


def find_cases(wanted: tuple[str, ...]) -> tuple[list[Case], list[str]]:
    """Cases of the networks `wanted` in the order of SOURCES, and the names of those that are not on this machine."""
    cases, absent = [], []
    for name in SOURCES:
        if name not in wanted:
            continue
        case = example_case() if name == EXAMPLE else shared_case(name)
        if case is None:
            absent.append(name)
        else:
            cases.append(case)
    return cases, absent


@dataclass(frozen=True)
class PeerFigures:
    """What another tool needs for a network; None where it was not measured. Instructions by core."""

    instructions: Mapping[str, int | None]
    ram: int | None
    flash: int | None
    note: str


def load_peers() -> dict[str, dict[str, PeerFigures]]:
    """Recorded measurements by tool and network; empty where there are none."""
    path = SHARED / "peers.json"
    if not path.exists():
        return {}
    found: dict[str, dict[str, PeerFigures]] = {}
    for tool, record in json.loads(path.read_text(encoding="utf-8"))["peers"].items():
        found[tool] = {name: _figures(entry) for name, entry in record["models"].items()}
    return found


def _figures(entry: Mapping[str, Any]) -> PeerFigures:
    # A tool that has a faster form with another answer is held against its exact one.
    instructions = {core: entry.get(f"insn_{core}_exact", entry.get(f"insn_{core}")) for core in ("m4", "m7")}
    return PeerFigures(instructions, entry.get("ram"), entry.get("flash"), entry.get("note", ""))
