"""MobileNetV1 (Howard et al., arXiv 1704.04861): depthwise and 1x1 convolutions in turns, at any width and resolution."""

from __future__ import annotations

from tinyc.zoo.builder import Feature, NetworkBuilder
from tinyc.zoo.network import Network, Settings, image

_LAYERS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""Table 1 of the paper: channels of the 1x1 convolution, stride of the depthwise one before it."""


def _build(builder: NetworkBuilder, settings: Settings) -> list[Feature]:
    feature = builder.convolution(builder.input, max(1, int(32 * settings.width)), 3, 2, "stem", activation="relu6")
    for index, (channels, stride) in enumerate(_LAYERS):
        label = f"layer{index}"
        feature = builder.convolution(feature, feature.channels, 3, stride, f"{label}.depthwise", depthwise=True, activation="relu6")
        feature = builder.convolution(feature, max(1, int(channels * settings.width)), 1, 1, f"{label}.pointwise", activation="relu6")
    return [builder.dense(builder.global_average(feature, "pool"), settings.classes, "logits")]


_ADJUSTABLE = frozenset({"width", "resolution", "classes"})

MOBILENET_V1 = Network("mobilenet-v1", "MobileNetV1, ImageNet", Settings(1.0, 224, 1000), _ADJUSTABLE, image, _build, 1e-3, 569, 4.2)
MLPERF_WAKE_WORDS = Network(
    "mobilenet-v1-vww", "MLPerf Tiny visual wake words", Settings(0.25, 96, 2), _ADJUSTABLE, image, _build, 1e-3, 7.49, None
)
