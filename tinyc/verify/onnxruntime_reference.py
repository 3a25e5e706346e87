"""ONNX Runtime as an independent reference for ONNX files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr

from tinyc.ir.nn_base import tensor_of
from tinyc.numerics.quantization import dequantization_plan
from tinyc.passes.rewriting import main_block
from tinyc.verify.desktop import NoReference

Array = npt.NDArray[Any]


def run_onnxruntime(path: Path, module: ModuleOp, samples: Sequence[Sequence[Array]]) -> list[list[Array]]:
    """What ONNX Runtime's CPU provider answers, with int8 arithmetic allowed, in the layouts and types of the boundary of `module`.

    Where `module` takes int8 and the file float32, inputs are dequantised, which QuantizeLinear undoes exactly. uint8 outputs come back as
    int8, 128 lower. Raises NoReference.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise NoReference("onnxruntime is not installed; pip install 'tinyc[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its C++ module that it does not export
        raise NoReference(f"ONNX Runtime cannot load this model: {str(error).splitlines()[0]}") from error
    arguments = [tensor_of(argument) for argument in main_block(module).args]
    layouts_in, layouts_out = _layouts(module, "input_layouts"), _layouts(module, "output_layouts")
    results = []
    for sample in samples:
        feeds = {}
        for number, (info, array, tensor) in enumerate(zip(session.get_inputs(), sample, arguments, strict=True)):
            if info.type == "tensor(float)" and array.dtype == np.int8:
                assert tensor.scale is not None
                array = dequantization_plan(tensor.scale, tensor.zero_point).apply(array)
            elif info.type == "tensor(uint8)":
                array = (array.astype(np.int16) + 128).astype(np.uint8)
            feeds[info.name] = array.transpose(0, 3, 1, 2) if layouts_in[number : number + 1] == ["nhwc"] else array
        found = []
        for number, array in enumerate(session.run(None, feeds)):
            made = np.asarray(array)
            if made.dtype == np.uint8:
                made = (made.astype(np.int16) - 128).astype(np.int8)
            found.append(np.ascontiguousarray(made.transpose(0, 2, 3, 1)) if layouts_out[number : number + 1] == ["nhwc"] else made)
        results.append(found)
    return results


def _layouts(module: ModuleOp, name: str) -> list[str]:
    found = module.attributes.get(name)
    return [item.data for item in found.data if isinstance(item, StringAttr)] if isinstance(found, ArrayAttr) else []
