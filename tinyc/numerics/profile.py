"""The three exact arithmetics that tinyc can reproduce."""

from __future__ import annotations

from enum import Enum


class Profile(str, Enum):
    """Which desktop reference the generated code agrees with, bit for bit; docs/numerics.md states every rule."""

    LITERT = "litert"
    """ai-edge-litert with its default resolver (XNNPACK): convolutions are requantised in float32."""

    TFLM = "tflm"
    """TensorFlow Lite Micro's reference kernels: convolutions are requantised by fixed-point double rounding."""

    ONNXRUNTIME = "onnxruntime"
    """ONNX Runtime's CPU kernels: everything is rescaled in float32."""
