"""The default keeps the float network's answer at least as often as ONNX Runtime's quantize_static with the same data.

benchmarks/agreement.py measures more networks, with more samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from float_models import save

from tinyc.quantize.post_training import quantize_arrays
from tinyc.quantize.run_float import Runner
from tinyc.zoo import make_network, synthetic_inputs

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(("name", "classes"), [("mcunet-in0", 1000), ("ds-cnn", 12)])
def test_the_largest_output_agrees_with_float_at_least_as_often(name: str, classes: int, tmp_path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = make_network(name, classes=classes)
    shape = [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim][1:]
    calibration, inputs = synthetic_inputs(shape, 16, 1), synthetic_inputs(shape, 80, 2)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.feeds: Iterator[dict[str, np.ndarray]] = iter([{"input": sample[None]} for sample in calibration])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.feeds, None)

    path, prepared, static = save(model, tmp_path), tmp_path / "prepared.onnx", tmp_path / "static.onnx"
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    kinds = {"weight_type": QuantType.QInt8, "activation_type": QuantType.QInt8}
    quantize_static(str(prepared), str(static), Reader(), quant_format=QuantFormat.QDQ, per_channel=True, **kinds)

    def answers(quantized: onnx.ModelProto) -> np.ndarray:
        runner = Runner(quantized)
        return np.array([runner.run({"input": sample[None]})[runner.names[0]].argmax() for sample in inputs])

    expected = answers(model)
    ours = quantize_arrays(path, {"input": calibration}).model
    shares = [float((answers(quantized) == expected).mean()) for quantized in (ours, onnx.load(static))]
    assert shares[0] >= shares[1]
