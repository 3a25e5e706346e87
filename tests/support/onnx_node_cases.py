"""The node cases of ONNX's own backend test: where they come from, and which of them concern the ONNX front end.

The `onnx` package generates them (`onnx.backend.test.case.node`); its wheels up to 1.22 hold them as files too.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from tinyc.frontends.onnx import RULES
from tinyc.frontends.onnx_fold import FOLDS
from tinyc.quantize.supported import QUANTISABLE

Array = npt.NDArray[Any]

REWRITTEN = frozenset({"BatchNormalization", "Div", "HardSigmoid", "HardSwish", "ReduceMean", "Sub"})
"""What `tinyc quantize` turns into operators that it quantises."""
STANDARD_RULES = frozenset(op for op in RULES if "." not in op)
CLAIMED = STANDARD_RULES | frozenset(FOLDS) | QUANTISABLE | REWRITTEN
"""Every op of the standard domain that docs/onnx.md and docs/quantize.md name."""


@dataclass(frozen=True)
class NodeCase:
    """One case: a model of one node, the arrays of its inputs and outputs (None: something that is no plain tensor), tolerances."""

    name: str
    op: str
    model: onnx.ModelProto
    inputs: tuple[Array | None, ...]
    outputs: tuple[Array | None, ...]
    relative: float = 1e-3
    absolute: float = 1e-7

    @property
    def node(self) -> onnx.NodeProto:
        """The node."""
        return self.model.graph.node[0]

    def feeds(self) -> dict[str, Array | None]:
        """Arrays by the names of the graph's inputs."""
        return {value.name: array for value, array in zip(self.model.graph.input, self.inputs, strict=True)}


_PLAIN = "biuf"


def _plain(value: object) -> Array | None:
    """`value` as an array of numbers as numpy knows them; None for strings, sequences, and types of less than a byte."""
    if isinstance(value, onnx.TensorProto):
        value = numpy_helper.to_array(value)
    if isinstance(value, (np.ndarray, np.generic)) and np.asarray(value).dtype.kind in _PLAIN and np.asarray(value).dtype.isbuiltin == 1:
        return np.asarray(value)
    return None


def concerns(model: onnx.ModelProto) -> bool:
    """Whether the model is one node of an op that tinyc claims. The cases `..._expanded` write an op in terms of others."""
    nodes = model.graph.node
    return len(nodes) == 1 and nodes[0].op_type in CLAIMED and nodes[0].domain in ("", "ai.onnx") and "_expanded" not in model.graph.name


def generated_cases() -> list[NodeCase]:
    """The cases that the installed onnx package generates, by name."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        # The generators divide by zero and overflow on purpose.
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    cases = []
    for case in found:
        if case.model is None or not concerns(case.model) or "_expanded" in case.name:
            continue
        inputs, outputs = case.data_sets[0]
        cases.append(
            NodeCase(
                case.name,
                case.model.graph.node[0].op_type,
                case.model,
                tuple(map(_plain, inputs)),
                tuple(map(_plain, outputs)),
                case.rtol,
                case.atol,
            )
        )
    return sorted(cases, key=lambda case: case.name)


def wheel_cases(wheel: Path) -> list[NodeCase]:
    """The cases that a wheel of onnx, up to 1.22, holds as files."""
    cases = []
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for name in sorted(names):
            path = PurePosixPath(name)
            if path.name != "model.onnx" or path.parts[:5] != ("onnx", "backend", "test", "data", "node"):
                continue
            model = onnx.load_model_from_string(archive.read(name))
            if not concerns(model) or "_expanded" in path.parts[5]:
                continue
            folder = path.parent / "test_data_set_0"
            inputs = tuple(_stored(archive, names, folder, "input", len(model.graph.input)))
            outputs = tuple(_stored(archive, names, folder, "output", len(model.graph.output)))
            cases.append(NodeCase(path.parts[5], model.graph.node[0].op_type, model, inputs, outputs))
    return cases


def _stored(archive: zipfile.ZipFile, names: set[str], folder: PurePosixPath, kind: str, count: int) -> Iterator[Array | None]:
    for index in range(count):
        content = archive.read(f"{folder}/{kind}_{index}.pb") if f"{folder}/{kind}_{index}.pb" in names else b""
        try:
            yield _plain(numpy_helper.to_array(onnx.TensorProto.FromString(content)))
        except (DecodeError, ValueError, TypeError, KeyError):
            # A sequence, an optional value, or a type that numpy lacks.
            yield None


def by_op(cases: Sequence[NodeCase]) -> dict[str, list[NodeCase]]:
    """The cases of each claimed op, also of those that have none."""
    return {op: [case for case in cases if case.op == op] for op in sorted(CLAIMED)}
