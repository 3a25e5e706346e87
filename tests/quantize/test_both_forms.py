"""One network of the zoo, quantised by ONNX Runtime into QDQ and into QOperator form, gives the same C weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from float_models import save

from tinyc.api import load
from tinyc.zoo import make_network, synthetic_inputs

pytest.importorskip("onnxruntime")

FORMS = ("QDQ", "QOperator")


def quantized_forms(name: str, activations: str, folder: Path) -> list[Path]:
    """The network in both forms, by ONNX Runtime's quantiser with the same calibration data."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = make_network(name)
    shape = [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim][1:]
    calibration = synthetic_inputs(shape, 2, 1)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.feeds: Iterator[dict[str, np.ndarray]] = iter([{"input": sample[None]} for sample in calibration])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.feeds, None)

    prepared, kinds = folder / "prepared.onnx", {"weight_type": QuantType.QInt8, "activation_type": QuantType[activations]}
    quant_pre_process(str(save(model, folder)), str(prepared), skip_symbolic_shape=True)
    for form in FORMS:
        quantize_static(str(prepared), str(folder / f"{form}.onnx"), Reader(), quant_format=QuantFormat[form], per_channel=True, **kinds)
    return [folder / f"{form}.onnx" for form in FORMS]


@pytest.mark.parametrize(
    ("name", "activations"),
    [
        ("ds-cnn", "QInt8"),
        ("resnet-8", "QUInt8"),
        ("mobilenet-v1-vww", "QInt8"),
        pytest.param("mcunet-in0", "QUInt8", marks=pytest.mark.slow),
        pytest.param("yolo-fpn", "QInt8", marks=pytest.mark.slow),
        pytest.param("yolo-fpn", "QUInt8", marks=pytest.mark.slow),
    ],
)
def test_both_forms_of_a_network_have_the_same_weights(name: str, activations: str, tmp_path: Path) -> None:
    paths = quantized_forms(name, activations, tmp_path)
    ops = [{node.op_type for node in onnx.load(path).graph.node} for path in paths]
    assert "Conv" in ops[0]
    assert "QLinearConv" in ops[1]
    assert not any("QLinear" in op for op in ops[0])
    texts = []
    for path in paths:
        text = load(path).compile("cortex-m7", name="net", measure=False).files["net_weights.c"]
        # The quantiser renames layers in one form, and comments name them.
        texts.append(re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))
    assert len(texts[0]) > 10_000
    assert texts[0] == texts[1]
