"""Small ONNX files that claim much or mean nothing: each is refused with one clear line, before memory or time is spent."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from support.onnx_builder import GraphBuilder
from support.onnx_networks import network
from tinyc.errors import ModelError, TinycError, UnsupportedError
from tinyc.frontends.load import load_model
from tinyc.frontends.onnx import import_onnx

HUGE = 1 << 31
SECONDS, BYTES = 5.0, 64 << 20
"""What reading such a file may take at most; the time is generous for a busy machine."""


def changed(name: str, values: Any) -> bytes:
    """The network with other data for one constant."""
    model = network(True)
    next(tensor for tensor in model.graph.initializer if tensor.name == name).CopyFrom(numpy_helper.from_array(np.asarray(values), name))
    return model.SerializeToString()


def behind(op: str, constants: list[tuple[str, Any]] | None = None, weights: bool = False, copies: int = 1, **attributes: Any) -> bytes:
    """A network of one op on a small image."""
    graph = GraphBuilder()
    graph.input("x", [1, 4, 6, 6], np.int8)
    real = graph.dequantize("x", (0.1, 3))
    inputs = [real] * copies + ([graph.weights("w", np.ones((4, 4, 1, 1), np.int8), np.float32(0.1).reshape(()), 0)] if weights else [])
    inputs += [graph.constant(name, values) if name else "" for name, values in constants or []]
    graph.output(graph.quantize(graph.node(op, inputs, "result", **attributes), (0.1, 3)), np.int8)
    return graph.model().SerializeToString()


def folded(op: str, *constants: Any) -> bytes:
    """A network that adds a constant which the file computes."""
    graph = GraphBuilder()
    graph.input("x", [1, 4, 6, 6], np.int8)
    made = graph.node(op, [graph.constant(f"c{index}", values) for index, values in enumerate(constants)], "made")
    graph.output(graph.quantize(graph.node("Add", [graph.dequantize("x", (0.1, 3)), made], "result"), (0.1, 3)), np.int8)
    return graph.model().SerializeToString()


def claimed(change: Callable[[onnx.TensorProto], None]) -> bytes:
    """The network with something untrue said about one constant."""
    model = network(True)
    change(next(tensor for tensor in model.graph.initializer if tensor.name == "first_w"))
    return model.SerializeToString()


def _without_data(tensor: onnx.TensorProto, kind: int, sizes: list[int]) -> None:
    tensor.ClearField("raw_data")
    tensor.data_type = kind
    del tensor.dims[:]
    tensor.dims.extend(sizes)


def _external(tensor: onnx.TensorProto) -> None:
    _without_data(tensor, TensorProto.INT8, [HUGE])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "data"), ("length", str(HUGE))):
        tensor.external_data.add(key=key, value=value)


def _input_of(*sizes: int) -> bytes:
    model = network(True)
    for dimension, size in zip(model.graph.input[0].type.tensor_type.shape.dim, sizes, strict=True):
        dimension.dim_value = size
    return model.SerializeToString()


def _nested(levels: int) -> bytes:
    """A graph in an attribute of a node of a graph, and so on, written as bytes: nothing would build it."""

    def field(tag: int, content: bytes) -> bytes:
        size, length = len(content), b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        return bytes([tag]) + length + bytes([size]) + content

    graph = field(0x0A, field(0x22, b"If"))
    for _ in range(levels):
        graph = field(0x0A, field(0x22, b"If") + field(0x2A, field(0x0A, b"then_branch") + field(0x32, graph)))
    return field(0x3A, graph)


WITHOUT_MEANING: dict[str, tuple[bytes, str]] = {
    "weight scales that are not numbers": (changed("first_w_scale", np.full(8, np.nan, np.float32)), "not a finite number"),
    "weight scales that are infinite": (changed("first_w_scale", np.full(8, np.inf, np.float32)), "not a finite number"),
    "one weight scale of zero": (changed("first_w_scale", np.array([1, 1, 1, 0, 1, 1, 1, 1], np.float32)), "not positive"),
    "negative weight scales": (changed("first_w_scale", -np.ones(8, np.float32)), "not positive"),
    "fewer weight scales than channels": (changed("first_w_scale", np.ones(5, np.float32)), "8 zero points for 5 scales"),
    "no scale": (changed("first_w_scale", np.zeros(0, np.float32)), "scale"),
    "scales of float64": (changed("first_w_scale", np.ones(8)), "must be float32"),
    "bias scales that are not numbers": (changed("first_b_scale", np.full(8, np.nan, np.float32)), "not a finite number"),
    "bias scales of zero": (changed("first_b_scale", np.zeros(8, np.float32)), "not positive"),
}

CLAIMS: dict[str, tuple[bytes, str]] = {
    "2 GB of int8 in no bytes": (claimed(lambda tensor: _without_data(tensor, TensorProto.INT8, [HUGE])), "more than any part"),
    "128 MB of int8 in no bytes": (claimed(lambda tensor: _without_data(tensor, TensorProto.INT8, [1 << 27])), "has 0 values"),
    "floats in no bytes": (claimed(lambda tensor: _without_data(tensor, TensorProto.FLOAT, [1 << 25])), "has 0 values"),
    "4-bit numbers in no bytes": (claimed(lambda tensor: _without_data(tensor, TensorProto.INT4, [1 << 27])), "first_w"),
    "2 GB beside the model": (claimed(_external), "first_w"),
    "a message of 2 GB": (b"\x08\x08\x3a\xff\xff\xff\xff\x07" + bytes(900), "damaged"),
    "graphs within graphs": (_nested(5000), "damaged"),
    "an input of 2 GB": (_input_of(1, 3, 1 << 15, 1 << 15), "has the shape"),
    "padding": (behind("Pad", [("pads", np.array([0, 0, 0, 0, 0, 0, 1 << 40, 1 << 40]))]), "more than any part"),
    "padding of a convolution": (behind("Conv", weights=True, pads=[0, 0, 1 << 30, 1 << 30]), "more than any part"),
    "padding that is averaged": (
        behind("AveragePool", kernel_shape=[1, 1], pads=[0, 0, 1 << 30, 1 << 30], count_include_pad=1),
        "more than any part",
    ),
    "a resize": (
        behind(
            "Resize",
            [("", None), ("", None), ("sizes", np.array([1, 4, 1 << 16, 1 << 16]))],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        "more than any part",
    ),
    "blocks": (behind("DepthToSpace", blocksize=1 << 40), "do not fit"),
    "a dilation": (behind("Conv", weights=True, dilations=[1 << 62, 1 << 62], kernel_shape=[1, 1], strides=[0, 0]), "positive"),
    "400 dimensions": (behind("Unsqueeze", [("axes", np.arange(4, 400))]), "400 dimensions"),
    "a concatenation of 20,000": (behind("Concat", copies=20_000, axis=1), "20000 inputs"),
    "a constant of one value": (folded("ConstantOfShape", np.array([1 << 20, 1 << 20])), "1048576"),
    "an expansion": (folded("Expand", np.float32(1), np.array([1 << 31, 4])), "2147483648"),
    "a range": (folded("Range", np.float32(0), np.float32(1e30), np.float32(1e-30)), "endless"),
    "a product of shapes": (folded("Mul", np.ones((1 << 15, 1), np.float32), np.ones((1, 1 << 15), np.float32)), "32768"),
}


def refused(content: bytes, folder: Path | None = None) -> str:
    """The error's text. Checks what all errors here have in common."""
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(TinycError) as caught:
            import_onnx(content, "model.onnx", folder)
        assert time.process_time() - start < SECONDS
        assert tracemalloc.get_traced_memory()[1] < BYTES
    finally:
        tracemalloc.stop()
    text = str(caught.value)
    if isinstance(caught.value, UnsupportedError):
        # The first line says how many nodes follow.
        assert len(caught.value.diagnostics) == 1
        text = text.split("\n", 1)[1]
    assert "\n" not in text
    assert "model.onnx" in text
    return text


@pytest.mark.parametrize("case", WITHOUT_MEANING)
def test_parameters_without_meaning_are_one_clear_line(case: str) -> None:
    content, reason = WITHOUT_MEANING[case]
    assert reason in refused(content)


@pytest.mark.parametrize("case", CLAIMS)
def test_a_small_file_that_claims_much_is_one_clear_line(case: str, tmp_path: Path) -> None:
    content, reason = CLAIMS[case]
    assert len(content) < 400_000
    (tmp_path / "data").write_bytes(bytes(1000))
    assert reason in refused(content, tmp_path)


@pytest.mark.parametrize("suffix", ["", "/", "/."])
def test_a_folder_in_place_of_external_data_is_one_clear_line(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "data").mkdir()
    model = network(True)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "first_w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=f"data{suffix}")
    assert "cannot read" in refused(model.SerializeToString(), tmp_path)


def test_external_data_that_would_never_end_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to("/dev/zero")
    with pytest.raises(ModelError, match="link out"):
        import_onnx(claimed_external(), "model.onnx", tmp_path)


def claimed_external() -> bytes:
    """The network whose first weights lie in `data`."""
    model = network(True)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "first_w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="data")
    return model.SerializeToString()


def test_the_command_line_reads_external_data_only_from_the_models_own_folder(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "data").write_bytes(bytes(8 * 27))
    (tmp_path / "models" / "model.onnx").write_bytes(claimed_external())
    with pytest.raises(ModelError, match="cannot read data"):
        load_model(tmp_path / "models" / "model.onnx")
    (tmp_path / "models" / "data").write_bytes(bytes(8 * 27))
    load_model(tmp_path / "models" / "model.onnx")
