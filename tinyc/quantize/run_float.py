"""Runs ONNX models in ONNX Runtime, with every intermediate tensor visible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray

from tinyc.errors import ModelError, ToolError
from tinyc.quantize.messages import first_line

if TYPE_CHECKING:
    import onnxruntime

HINT = "it is not installed; install it with: pip install 'tinyc[onnx]'"


def require_onnxruntime() -> None:
    """Raises ToolError, saying how to install it, where ONNX Runtime is missing."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ToolError(f"quantisation needs ONNX Runtime: {HINT}") from error


class Runner:
    """One session of a model that returns the named tensors."""

    def __init__(self, model: onnx.ModelProto, names: Sequence[str] | None = None, optimise: bool = True) -> None:
        """`names` are the tensors to return, the model's outputs by default; without `optimise` each node is executed as it stands.

        Raises ModelError where ONNX Runtime refuses the model.
        """
        require_onnxruntime()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        # ONNX Runtime may then compute int8 operators in integers, as its users run them.
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        # Threads that wait for the next sample shall not burn a core.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        shown = onnx.ModelProto.FromString(model.SerializeToString())
        outputs = {value.name for value in shown.graph.output}
        self.names = list(names) if names is not None else [value.name for value in shown.graph.output]
        shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self.names if name not in outputs)
        try:
            self._session: onnxruntime.InferenceSession = onnxruntime.InferenceSession(
                shown.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises classes of its own that derive from Exception alone.
            raise ModelError(f"ONNX Runtime refuses the model: {first_line(error)}") from error

    def run(self, feeds: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """The named tensors for one sample. Raises ModelError where the model fails on it."""
        wanted = [name for name in self.names if name not in feeds]
        try:
            values: Iterable[NDArray[np.float32]] = self._session.run(wanted, dict(feeds))
        except Exception as error:  # As above.
            raise ModelError(f"ONNX Runtime cannot run the model: {first_line(error)}") from error
        found = dict(zip(wanted, values, strict=True))
        return {name: found[name] if name in found else feeds[name] for name in self.names}
