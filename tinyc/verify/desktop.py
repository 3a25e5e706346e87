"""The network on the desktop: the interpreter, and ai-edge-litert as an independent reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from xdsl.dialects.builtin import ModuleOp

from tinyc.errors import TinycError
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.nn_base import tensor_of
from tinyc.numerics.profile import Profile
from tinyc.numerics.quantization import dequantization_plan
from tinyc.passes.rewriting import main_block

Array = npt.NDArray[Any]


class NoReference(TinycError):
    """ai-edge-litert is not installed, or cannot run this model."""


def interpret(module: ModuleOp, samples: Sequence[Sequence[Array]], profile: Profile) -> list[list[Array]]:
    """Outputs of every sample."""
    return [evaluate(module, sample, profile) for sample in samples]


def run_litert(path: Path, module: ModuleOp, samples: Sequence[Sequence[Array]]) -> list[list[Array]]:
    """What ai-edge-litert's default interpreter answers, in the dtypes of `module`'s own boundary.

    Where `module` takes int8 and the file float32 (QUANTIZE was stripped), inputs are dequantised, which QUANTIZE undoes exactly; outputs
    then come back as float32. Raises NoReference.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise NoReference("ai-edge-litert is not installed; pip install 'tinyc[verify]'") from error
    try:
        interpreter = Interpreter(model_path=str(path))
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise NoReference(f"ai-edge-litert cannot load this model: {str(error).splitlines()[0]}") from error
    arguments = [tensor_of(argument) for argument in main_block(module).args]
    results = []
    for sample in samples:
        for detail, array, tensor in zip(interpreter.get_input_details(), sample, arguments, strict=True):
            if detail["dtype"] == np.float32 and array.dtype == np.int8:
                assert tensor.scale is not None
                array = dequantization_plan(tensor.scale, tensor.zero_point).apply(array)
            elif detail["dtype"] == np.uint8 and array.dtype == np.int8:
                # The front end made this int8 by taking off 128.
                array = array.view(np.uint8) ^ np.uint8(128)
            interpreter.set_tensor(detail["index"], array.reshape(detail["shape"]))
        interpreter.invoke()
        results.append([np.array(interpreter.get_tensor(detail["index"])) for detail in interpreter.get_output_details()])
    return results


def comparable(ours: Sequence[Array], theirs: Sequence[Array], module: ModuleOp) -> list[Array]:
    """`ours` in the dtypes of `theirs`: int8 outputs dequantised where the reference's are float32, raised by 128 where they are uint8."""
    terminator = main_block(module).last_op
    assert terminator is not None
    converted: list[Array] = []
    for array, reference, value in zip(ours, theirs, terminator.operands, strict=True):
        tensor = tensor_of(value)
        if array.dtype == np.int8 and reference.dtype == np.float32 and tensor.scale is not None:
            array = dequantization_plan(tensor.scale, tensor.zero_point).apply(array)
        elif array.dtype == np.int8 and reference.dtype == np.uint8:
            array = array.view(np.uint8) ^ np.uint8(128)
        converted.append(array)
    return converted


def random_samples(module: ModuleOp, count: int, seed: int) -> list[list[Array]]:
    """`count` samples of random inputs: all of int8, standard normal float32."""
    generator = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        sample: list[Array] = []
        for argument in main_block(module).args:
            tensor = tensor_of(argument)
            if tensor.element == "f32":
                sample.append(generator.standard_normal(tensor.shape).astype(np.float32))
            else:
                sample.append(generator.integers(-128, 128, tensor.shape).astype(np.int8))
        samples.append(sample)
    return samples


def as_archive(samples: Sequence[Sequence[Array]]) -> Mapping[str, Array]:
    """Samples as the arrays `input_0`, ... with a leading sample axis."""
    return {f"input_{index}": np.stack([sample[index] for sample in samples]) for index in range(len(samples[0]))}
