"""verify: compile, run in an emulator, compare with the desktop; on a mismatch find the first tensor that differs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from xdsl.dialects.builtin import FunctionType, ModuleOp
from xdsl.dialects.func import ReturnOp
from xdsl.ir import SSAValue

from tinyc.api import Compiled, Model, load
from tinyc.driver.budgets import OPTIMIZE
from tinyc.errors import MismatchError, PassError, printable
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.edit import erase
from tinyc.ir.nn_base import NNOp, tensor_of
from tinyc.ir.nn_elementwise import DequantizeOp
from tinyc.ir.nn_shape import ConstantOp
from tinyc.numerics.profile import Profile
from tinyc.passes.fold_constants import profile_of
from tinyc.passes.manager import run_passes
from tinyc.passes.pins import parse_pins
from tinyc.passes.registry import parse_passes
from tinyc.passes.rewriting import main_block, main_function
from tinyc.report.choices import Explanation
from tinyc.runners import RunResult, load_inputs, read_description, run_build
from tinyc.runners.io import prepare_inputs
from tinyc.targets import Target
from tinyc.verify.desktop import NoReference, as_archive, comparable, interpret, random_samples, run_litert
from tinyc.verify.onnxruntime_reference import run_onnxruntime

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Divergence:
    """Where two executions part: the tensor, how many of its elements differ, the first of them and the greatest difference."""

    tensor: str
    differing: int
    elements: int
    index: tuple[int, ...]
    expected: float
    found: float
    greatest: float

    def __str__(self) -> str:
        return (
            f"{printable(self.tensor)}: {self.differing} of {self.elements} elements differ, by at most {self.greatest:g}; "
            f"first at {list(self.index)}: expected {self.expected:g}, found {self.found:g}"
        )


@dataclass(frozen=True)
class VerifyResult:
    """A verification that passed: how much was compared with what, and the run itself."""

    samples: int
    outputs_compared: int
    references: tuple[str, ...]
    notes: tuple[str, ...]
    run: RunResult
    approximate_layers: tuple[str, ...] = ()
    """Layers that ONNX Runtime computes in float32: with any, a difference to it is among the notes and no mismatch."""


def compare(name: str, expected: Array, found: Array) -> Divergence | None:
    """None where both are equal, bit for bit (NaNs are equal to NaNs)."""
    same = (expected == found) | ((expected != expected) & (found != found))
    if bool(np.all(same)):
        return None
    difference = np.abs(expected.astype(np.float64) - found.astype(np.float64))
    first = tuple(int(axis) for axis in np.argwhere(~same)[0])
    return Divergence(name, int((~same).sum()), same.size, first, float(expected[first]), float(found[first]), float(np.nanmax(difference)))


@dataclass(frozen=True)
class Conditions:
    """How a network is compiled and run, whole or cut off."""

    target: str | Target
    profile: Profile
    runner: str
    keep_float_io: bool = False
    stream_input: bool = False
    optimize: str = OPTIMIZE[0]
    toolchain: str | None = None
    banks: str | None = None
    pins: tuple[str, ...] = ()

    def compile(self, model: Model) -> Compiled:
        """`model` compiled so. Raises what compiling raises."""
        return model.compile(
            self.target,
            numerics=self.profile.value,
            keep_float_io=self.keep_float_io,
            measure=False,
            stream_input=self.stream_input,
            optimize=self.optimize,
            banks=self.banks,
            pins=self.pins,
        )

    def part(self, model: Model, whole: Explanation) -> Compiled:
        """`model`, a part of the network that `whole` is about: pinned where the same layers are, if they can have that in it.

        Layers of a part have other numbers, and a choice about a stream may be none where the stream was cut off.
        """
        conditions = replace(self, keep_float_io=True, pins=())
        free = conditions.compile(model)
        pins = pins_of_part(self.pins, whole, free.explanation)
        if not pins:
            return free
        try:
            return replace(conditions, pins=pins).compile(model)
        except PassError:
            return free

    def run(self, build: Path, inputs: Mapping[str, Array]) -> RunResult:
        """What the C gives for `inputs`."""
        return run_build(build, self.runner, inputs, toolchain=self.toolchain)


def verify(
    path: str | Path,
    target: str | Target,
    *,
    numerics: str | None = None,
    runner: str = "qemu",
    toolchain: str | None = None,
    optimize: str = OPTIMIZE[0],
    samples: int = 2,
    seed: int = 0,
    input_file: str | Path | None = None,
    keep_float_io: bool = False,
    stream_input: bool = False,
    shapes: Mapping[str, Sequence[int]] | None = None,
    layout: str = "nhwc",
    approximate: bool = False,
    banks: str | None = None,
    pins: Sequence[str] = (),
) -> VerifyResult:
    """Compiles `path` for `target`, runs it on `runner` and compares every output with the interpreter and, if it can, with ai-edge-litert
    or, for an ONNX file, with ONNX Runtime; with `stream_input` the C gets its input row by row, with `banks` it has several arenas, and
    `pins` are choices about single layers.
    Where `approximate` let layers in that ONNX Runtime computes in float32, its outputs need not be equal: a note says how many differ
    and by how much.

    Raises MismatchError naming the first diverging tensor, and everything that loading, compiling and running raise.
    """
    model = load(path, shapes, layout, approximate)
    profile = profile_of(numerics or model.default_numerics)
    conditions = Conditions(target, profile, runner, keep_float_io, stream_input, optimize, toolchain, banks, tuple(pins))
    # The reference is the network as it came from the file; only the boundary is what the C has.
    reference = model.module.clone()
    if not keep_float_io:
        run_passes(reference, parse_passes("strip-io-quantization"))
    with tempfile.TemporaryDirectory(prefix="tinyc-verify-") as folder:
        build = conditions.compile(model).write(Path(folder) / "build")
        if input_file is not None:
            prepared = prepare_inputs(read_description(build), load_inputs(Path(input_file)))
            data = [[np.asarray(array[number]) for array in prepared.arrays] for number in range(prepared.count)]
        else:
            data = random_samples(reference, samples, seed)
        result = conditions.run(build, as_archive(data))
        outputs = [[result.outputs[f"output_{k}"][number] for k in range(len(result.outputs))] for number in range(len(data))]
    expected = interpret(reference, data, profile)
    references, notes = ["interpreter"], []
    for number, (ours, theirs) in enumerate(zip(outputs, expected, strict=True)):
        if any(compare("", b, a) for a, b in zip(ours, theirs, strict=True)):
            raise MismatchError(_explain(model, conditions, data[number], ours, theirs))
    if Path(path).suffix == ".onnx" and profile is Profile.ONNXRUNTIME:
        try:
            answers = run_onnxruntime(Path(path), reference, data)
            if model.approximate_layers:
                notes.append(_distance("ONNX Runtime", answers, reference, outputs))
            else:
                _compare_desktop("ONNX Runtime", answers, reference, outputs)
                references.append("ONNX Runtime")
        except NoReference as reason:
            notes.append(str(reason))
    elif profile is not Profile.LITERT:
        notes.append(f"ai-edge-litert computes the litert numerics; there is no desktop reference for {profile.value} but the interpreter")
    elif Path(path).suffix != ".tflite":
        notes.append("ai-edge-litert reads TFLite files only")
    else:
        try:
            _compare_desktop("ai-edge-litert", run_litert(Path(path), reference, data), reference, outputs)
            references.append("ai-edge-litert")
        except NoReference as reason:
            notes.append(str(reason))
    compared = sum(array.size for sample in outputs for array in sample)
    return VerifyResult(len(data), compared, tuple(references), (*notes, *result.notes), result, model.approximate_layers)


def _compare_desktop(name: str, expected: Sequence[Sequence[Array]], reference: ModuleOp, outputs: Sequence[Sequence[Array]]) -> None:
    for number, (ours, theirs) in enumerate(zip(outputs, expected, strict=True)):
        for index, (a, b) in enumerate(zip(comparable(ours, theirs, reference), theirs, strict=True)):
            found = compare(f"output {index}", b.reshape(a.shape), a)
            if found is not None:
                raise MismatchError(f"the C equals the interpreter, but not {name}, on sample {number}: {found}")


def _distance(name: str, expected: Sequence[Sequence[Array]], reference: ModuleOp, outputs: Sequence[Sequence[Array]]) -> str:
    """How far the outputs are from those of a reference that need not be equal, in steps of their quantisation where they have one."""
    terminator = main_block(reference).last_op
    assert terminator is not None
    steps = [_step(value) for value in terminator.operands]
    differing, elements, greatest = 0, 0, 0.0
    for ours, theirs in zip(outputs, expected, strict=True):
        for a, b, step in zip(comparable(ours, theirs, reference), theirs, steps, strict=True):
            elements += a.size
            found = compare("", b.reshape(a.shape), a)
            if found is not None:
                differing += found.differing
                greatest = max(greatest, found.greatest / step if a.dtype == np.float32 else found.greatest)
    if not differing:
        return f"all {elements} output values equal {name}'s, though approximate layers need not"
    unit = "step" if round(greatest) == 1 else "steps"
    return f"{differing} of {elements} output values differ from {name}'s, by at most {greatest:.3g} {unit}: approximate layers may differ"


def _step(value: SSAValue) -> float:
    """The real value of one step of a network's output."""
    source = value.owner.operands[0] if isinstance(value.owner, DequantizeOp) else value
    return tensor_of(source).scale or 1.0


def _explain(model: Model, conditions: Conditions, sample: Sequence[Array], ours: Sequence[Array], theirs: Sequence[Array]) -> str:
    outputs = [f"output {index}" for index in range(len(ours))]
    differing = [found for name, a, b in zip(outputs, ours, theirs, strict=True) if (found := compare(name, b, a)) is not None]
    text = f"the C does not compute what the interpreter does: {differing[0]}"
    first = first_divergence(model, conditions, sample)
    return f"{text}; first diverging tensor: {first}" if first else f"{text}; no shorter part of the network diverges by itself"


def first_divergence(model: Model, conditions: Conditions, sample: Sequence[Array]) -> Divergence | None:
    """The first tensor, in order of execution, at which the network cut off there differs in C from the interpreter; by bisection.

    Tensors inside a stream never exist as a whole, so instead of looking into a run the network is compiled up to a tensor and run again.
    """
    module, profile = model.module.clone(), conditions.profile
    strip = "" if conditions.keep_float_io else "strip-io-quantization,"
    simplify = f"{strip}fold-constants{{numerics={profile.value}}},canonicalize,fold-pad,fuse-activation,canonicalize,eliminate-dead-code"
    run_passes(module, parse_passes(simplify))
    tensors: list[tuple[NNOp, Array]] = []
    evaluate(module, sample, profile, lambda op, array: tensors.append((op, array)))
    computed = [(op, array) for op, array in tensors if not isinstance(op, ConstantOp)]
    order = list(main_block(module).ops)
    whole = conditions.compile(model).explanation

    def divergence(number: int) -> Divergence | None:
        op, expected = computed[number]
        part = Model(model.name, cut_module(module, order.index(op)))
        with tempfile.TemporaryDirectory(prefix="tinyc-verify-") as folder:
            build = conditions.part(part, whole).write(Path(folder) / "build")
            arrays = {f"input_{index}": array for index, array in enumerate(sample)}
            found = conditions.run(build, arrays).outputs["output_0"]
        return compare(op.layer, expected, found)

    low, high, at_high = -1, len(computed) - 1, divergence(len(computed) - 1)
    while at_high is not None and high - low > 1:
        middle = (low + high) // 2
        found = divergence(middle)
        if found is not None:
            high, at_high = middle, found
        else:
            low = middle
    return at_high


def pins_of_part(pins: Sequence[str], whole: Explanation, part: Explanation) -> tuple[str, ...]:
    """`pins` about layers of `whole` as pins about those layers of `part` that compute the same tensor; the others are left out."""
    titles = {layer.name: layer.title for layer in whole.layers}
    names = {layer.title: layer.name for layer in part.layers}
    found = [(pin, names.get(titles.get(pin.layer, ""))) for pin in parse_pins(pins)]
    return tuple(str(replace(pin, layer=name)) for pin, name in found if name is not None)


def cut_module(module: ModuleOp, position: int) -> ModuleOp:
    """A copy of `module` whose `main` returns the result of its op number `position` and nothing else."""
    part = module.clone()
    function = main_function(part)
    block = main_block(part)
    operation, terminator = list(block.ops)[position], block.last_op
    assert terminator is not None
    result = operation.results[0]
    erase(terminator)
    block.add_op(ReturnOp(result))
    function.properties["function_type"] = FunctionType.from_lists([argument.type for argument in block.args], [result.type])
    part.attributes.pop("output_names", None)
    return part
