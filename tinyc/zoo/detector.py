"""A small one-stage detector in the manner of YOLO, with what classifiers lack: a pyramid neck, concatenation, enlargement, three outputs.

The architecture is this project's own. Depthwise separable layers at strides 8, 16 and 32; a spatial pyramid of max pools; features go down
the pyramid by nearest enlargement and concatenation. Each output is (1, anchors * (5 + classes), rows, columns): box, objectness and
classes, raw.
"""

from __future__ import annotations

from tinyc.zoo.builder import Feature, NetworkBuilder
from tinyc.zoo.network import Network, Settings, image

_ANCHORS = 3
_STAGES = (24, 48, 96, 160)


def _separable(builder: NetworkBuilder, source: Feature, channels: int, stride: int, label: str) -> Feature:
    feature = builder.convolution(source, source.channels, 3, stride, f"{label}.depthwise", depthwise=True, activation="relu6")
    return builder.convolution(feature, channels, 1, 1, f"{label}.pointwise", activation="relu6")


def _build(builder: NetworkBuilder, settings: Settings) -> list[Feature]:
    channels = [max(8, round(stage * settings.width / 8) * 8) for stage in _STAGES]
    feature = builder.convolution(builder.input, max(8, round(16 * settings.width / 8) * 8), 3, 2, "stem", activation="relu6")
    levels = list[Feature]()
    for index, count in enumerate(channels):
        feature = _separable(builder, feature, count, 2, f"stage{index}.down")
        feature = builder.addition(feature, _separable(builder, feature, count, 1, f"stage{index}.refine"), f"stage{index}.sum")
        levels.append(feature)
    pooled = [feature, builder.max_pool(feature, 5, 1, "pyramid.pool")]
    top = builder.convolution(builder.concatenation(pooled, "pyramid.parts"), channels[2], 1, 1, "pyramid", activation="relu6")
    necks = [top]
    for index, level in enumerate((levels[2], levels[1])):
        enlarged = builder.enlargement(necks[-1], f"neck{index}.enlarged")
        joined = builder.concatenation([enlarged, level], f"neck{index}.parts")
        necks.append(_separable(builder, joined, channels[1], 1, f"neck{index}"))
    values = _ANCHORS * (5 + settings.classes)
    return [
        builder.convolution(_separable(builder, neck, neck.channels, 1, f"head{index}"), values, 1, 1, f"output{index}", normalise=False)
        for index, neck in enumerate(necks)
    ]


DETECTOR = Network(
    "yolo-fpn",
    "YOLO-style detector with a pyramid neck",
    Settings(1.0, 160, 4),
    frozenset({"width", "resolution", "classes"}),
    image,
    _build,
    1e-3,
    multiple=32,
)
