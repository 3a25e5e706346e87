"""Networks that mix element-wise ops, int8 and uint8, through the compiler and QEMU against LiteRT: bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tinyc
from support.elementwise_cases import as_unsigned, shifted
from support.host_network import compile_for_host, needs_gcc, run_on_host
from support.kernel_harness import missing_tools
from support.tflite_builder import ACTIVATION_CODES, Op, Tensor, build_model, run_litert
from tinyc.frontends.tflite import import_tflite
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.nn_base import tensor_of
from tinyc.numerics.profile import Profile
from tinyc.passes.rewriting import main_block

TARGET = missing_tools("arm-none-eabi-gcc", "qemu-system-arm")
Int8 = npt.NDArray[np.int8]
SAMPLES = 3


@dataclass
class Builder:
    """Collects a model op by op; each method returns its result's name."""

    seed: int
    tensors: list[Tensor] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def tensor(self, shape: tuple[int, ...], scale: float = 0.05, zero_point: int = 0, **more: Any) -> str:
        name = f"t{len(self.tensors)}"
        self.tensors.append(Tensor(name, shape, scale=float(np.float32(scale)), zero_point=zero_point, **more))
        return name

    def op(self, code: str, inputs: list[str], shape: tuple[int, ...], scale: float, zero_point: int, **options: Any) -> str:
        result = self.tensor(shape, scale, zero_point)
        self.ops.append(Op(code, inputs, [result], options))
        return result

    def convolution(
        self, source: str, code: str, shape: tuple[int, int, int, int], inputs: int, scale: float, zero_point: int, taps: int = 3
    ) -> str:
        """A convolution with SAME padding, a bias and stride 1."""
        depthwise = code == "DEPTHWISE_CONV_2D"
        weights_shape = (1, taps, taps, shape[3]) if depthwise else (shape[3], taps, taps, inputs)
        values = self.random.integers(-127, 128, weights_shape).astype(np.int8)
        weights = self.tensor(weights_shape, 0.004, data=values)
        bias = self.tensor((shape[3],), 0.0002, dtype="int32", data=self.random.integers(-2000, 2000, shape[3]).astype(np.int32))
        options = {"StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1} | ({"DepthMultiplier": 1} if depthwise else {})
        return self.op(code, [source, weights, bias], shape, scale, zero_point, **options)


def activations() -> tuple[Builder, str, str]:
    """A chain of images with a skip connection: every unary function, PRELU, SUB, MAXIMUM and MINIMUM."""
    net = Builder(1)
    shape = (1, 9, 7, 6)
    source = net.tensor((1, 9, 7, 3), 0.04, 5)
    x = net.convolution(source, "CONV_2D", shape, 3, 0.06, -7)
    skip = x = net.op("HARD_SWISH", [x], shape, 0.035, -117)
    x = net.convolution(x, "DEPTHWISE_CONV_2D", shape, 6, 0.05, 3)
    x = net.op("RELU6", [x], shape, 0.05, 3)
    x = net.op("LEAKY_RELU", [x], shape, 0.04, -20, Alpha=0.1)
    slopes = net.tensor((1, 1, 6), 0.01, 2, data=net.random.integers(-128, 128, (1, 1, 6)).astype(np.int8))
    y = net.op("PRELU", [net.op("SUB", [x, skip], shape, 0.07, 9), slopes], shape, 0.05, -3)
    y = net.op("ELU", [y], shape, 0.045, -40)
    z = net.op("LOGISTIC", [y], shape, 1 / 256, -128)
    z = net.op("SUB", [net.tensor((1,), 1 / 127, 0, data=np.array([127], np.int8)), z], shape, 0.006, -30)
    z = net.op("MUL", [net.op("TANH", [y], shape, 1 / 128, 0), z], shape, 0.008, 0)
    z = net.op("QUANTIZE", [z], shape, 0.012, 20)
    z = net.op("ABS", [z], shape, 0.011, -100)
    limit = net.tensor((1,), 0.011, -100, data=np.array([-20], np.int8))
    z = net.op("MINIMUM", [z, limit], shape, 0.011, -100)
    z = net.op("MAXIMUM", [z, net.op("RELU", [z], shape, 0.011, -100)], shape, 0.011, -100)
    return net, source, net.op("RELU_N1_TO_1", [z], shape, 0.02, -50)


def classifier() -> tuple[Builder, str, str]:
    """What TFLite's first converter made of a MobileNet: convolutions, an average over the image, a classifier."""
    net = Builder(2)
    source = net.tensor((1, 8, 8, 3), 0.02, 0)
    x = net.convolution(source, "CONV_2D", (1, 8, 8, 8), 3, 0.03, -128)
    x = net.op("RELU6", [net.convolution(x, "DEPTHWISE_CONV_2D", (1, 8, 8, 8), 8, 0.024, -128)], (1, 8, 8, 8), 0.024, -128)
    pool = {
        "StrideH": 2,
        "StrideW": 2,
        "FilterHeight": 2,
        "FilterWidth": 2,
        "Padding": 1,
        "FusedActivationFunction": ACTIVATION_CODES["none"],
    }
    x = net.op("AVERAGE_POOL_2D", [x], (1, 4, 4, 8), 0.024, -128, **pool)
    x = net.op("ADD", [x, net.convolution(x, "CONV_2D", (1, 4, 4, 8), 8, 0.04, 3, taps=1)], (1, 4, 4, 8), 0.045, -20)
    x = net.op("AVERAGE_POOL_2D", [x], (1, 1, 1, 8), 0.045, -20, **(pool | {"FilterHeight": 4, "FilterWidth": 4}))
    net.tensors.append(Tensor("shape", (2,), "int32", data=np.array([1, 8])))
    x = net.op("RESHAPE", [x, "shape"], (1, 8), 0.045, -20)
    weights = net.tensor((5, 8), 0.01, data=net.random.integers(-127, 128, (5, 8)).astype(np.int8))
    bias = net.tensor((5,), 0.0003, dtype="int32", data=net.random.integers(-500, 500, 5).astype(np.int32))
    x = net.op("FULLY_CONNECTED", [x, weights, bias], (1, 5), 0.06, 10)
    return net, source, net.op("SOFTMAX", [x], (1, 5), 1 / 256, -128, Beta=1.0)


def model_of(
    network: Callable[[], tuple[Builder, str, str]], unsigned: bool = False, unsigned_boundary: bool = False
) -> tuple[bytes, Builder]:
    """The TFLite file; `unsigned` shifts every tensor to uint8, `unsigned_boundary` puts QUANTIZE ops around an int8 network."""
    net, source, result = network()
    if unsigned:
        net.tensors = [as_unsigned(tensor) for tensor in net.tensors]
    if unsigned_boundary:
        by_name = {tensor.name: tensor for tensor in net.tensors}
        ends = {name: as_unsigned(by_name[name]) for name in (source, result)}
        for name, tensor in ends.items():
            net.tensors.append(Tensor(f"{name}_uint8", tensor.shape, "uint8", tensor.scale, tensor.zero_point))
        net.ops = [Op("QUANTIZE", [f"{source}_uint8"], [source]), *net.ops, Op("QUANTIZE", [result], [f"{result}_uint8"])]
        source, result = f"{source}_uint8", f"{result}_uint8"
    return build_model(net.tensors, net.ops, [source], [result]), net


CASES = {
    "activations": lambda: model_of(activations),
    "uint8 at the boundary": lambda: model_of(activations, unsigned_boundary=True),
    "int8 classifier": lambda: model_of(classifier),
    "uint8 classifier": lambda: model_of(classifier, unsigned=True),
}


def _samples(model: bytes) -> list[Int8]:
    shape = tensor_of(main_block(import_tflite(model, "model")).args[0]).shape
    random = np.random.default_rng(5)
    return [random.integers(-128, 128, shape).astype(np.int8) for _ in range(SAMPLES)]


def _litert(model: bytes, sample: Int8, unsigned: bool, resolver: str = "default") -> Int8:
    (output,) = run_litert(model, [shifted(sample) if unsigned else sample], resolver=resolver)
    return (output ^ np.uint8(128)).view(np.int8) if output.dtype == np.uint8 else output


@pytest.mark.parametrize("case", CASES)
def test_the_interpreter_equals_litert(case: str) -> None:
    pytest.importorskip("ai_edge_litert")
    model, _ = CASES[case]()
    for sample in _samples(model):
        (output,) = evaluate(import_tflite(model, case), [sample], Profile.LITERT)
        np.testing.assert_array_equal(output, _litert(model, sample, "uint8" in case))


@pytest.mark.skipif(TARGET is not None, reason=TARGET or "")
@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m7"])
@pytest.mark.parametrize("case", CASES)
def test_the_c_in_qemu_equals_the_interpreter(case: str, target: str, tmp_path: Path) -> None:
    model, _ = CASES[case]()
    (tmp_path / "net.tflite").write_bytes(model)
    numerics = "litert" if target == "cortex-m7" else "tflm"
    loaded = tinyc.load(tmp_path / "net.tflite")
    loaded.compile(target, numerics=numerics, measure=False).write(tmp_path / "build")
    samples = _samples(model)
    result = tinyc.run(tmp_path / "build", "qemu", {"input_0": np.stack(samples)})
    for sample, output in zip(samples, result.outputs["output_0"], strict=True):
        (expected,) = evaluate(loaded.module, [sample], Profile(numerics))
        np.testing.assert_array_equal(output, expected)


@pytest.mark.skipif(needs_gcc() is not None, reason=needs_gcc() or "")
@pytest.mark.parametrize("case", CASES)
def test_the_plain_c_equals_the_interpreter(case: str, tmp_path: Path) -> None:
    model, _ = CASES[case]()
    module = import_tflite(model, case)
    network = compile_for_host(module)
    for sample in _samples(model)[:1]:
        (output,) = run_on_host(network, tmp_path, [sample])
        np.testing.assert_array_equal(output, evaluate(module, [sample], Profile.LITERT)[0])


def test_a_chain_of_elementwise_ops_runs_row_by_row_or_in_place() -> None:
    model, net = CASES["activations"]()
    report = compile_for_host(import_tflite(model, "net")).report
    image = 9 * 7 * 6
    # Input, skip connection and what is computed: three images at the most, although the network has nineteen.
    assert report.ram.arena_bytes <= 4 * image
    assert len(net.ops) > 15
