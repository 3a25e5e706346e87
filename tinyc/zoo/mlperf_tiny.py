"""The other reference networks of MLPerf Tiny (Banbury et al., NeurIPS Datasets 2021): keywords, small images, anomalies."""

from __future__ import annotations

from tinyc.zoo.builder import Feature, NetworkBuilder, same_pads
from tinyc.zoo.network import Network, Settings, image

_KEYWORD_FRAMES = (49, 10)
_SPECTRUM = 640
_BOTTLENECK = (128, 128, 128, 128, 8, 128, 128, 128, 128)


def _build_ds_cnn(builder: NetworkBuilder, settings: Settings) -> list[Feature]:
    pads = same_pads(_KEYWORD_FRAMES, (10, 4), 2)
    feature = builder.convolution(builder.input, 64, (10, 4), 2, "stem", pads=pads, activation="relu")
    for index in range(4):
        feature = builder.convolution(feature, 64, 3, 1, f"layer{index}.depthwise", depthwise=True, activation="relu")
        feature = builder.convolution(feature, 64, 1, 1, f"layer{index}.pointwise", activation="relu")
    return [builder.softmax(builder.dense(builder.global_average(feature, "pool"), settings.classes, "logits"), "probabilities")]


def _build_resnet(builder: NetworkBuilder, settings: Settings) -> list[Feature]:
    feature = builder.convolution(builder.input, 16, 3, 1, "stem", activation="relu")
    for index, (channels, stride) in enumerate(((16, 1), (32, 2), (64, 2))):
        label = f"stack{index}"
        side = feature.sample.shape[2]
        first_pads = same_pads((side, side), (3, 3), stride)
        main = builder.convolution(feature, channels, 3, stride, f"{label}.first", pads=first_pads, activation="relu")
        main = builder.convolution(main, channels, 3, 1, f"{label}.second", damped=True)
        skip = feature if stride == 1 else builder.convolution(feature, channels, 1, stride, f"{label}.skip", normalise=False)
        feature = builder.activation(builder.addition(skip, main, f"{label}.sum"), "relu", label)
    return [builder.softmax(builder.dense(builder.global_average(feature, "pool"), settings.classes, "logits"), "probabilities")]


def _build_autoencoder(builder: NetworkBuilder, settings: Settings) -> list[Feature]:
    feature = builder.input
    for index, units in enumerate(_BOTTLENECK):
        feature = builder.dense(feature, units, f"layer{index}", activation="relu", normalise=True)
    return [builder.dense(feature, _SPECTRUM, "reconstruction")]


DS_CNN = Network(
    "ds-cnn",
    "MLPerf Tiny keyword spotting",
    Settings(1.0, 0, 12),
    frozenset({"classes"}),
    lambda settings: (1, *_KEYWORD_FRAMES),
    _build_ds_cnn,
    1e-3,
    2.66,
)
RESNET_8 = Network(
    "resnet-8",
    "MLPerf Tiny image classification",
    Settings(1.0, 32, 10),
    frozenset({"resolution", "classes"}),
    image,
    _build_resnet,
    1e-3,
    12.5,
)
AUTOENCODER = Network(
    "autoencoder",
    "MLPerf Tiny anomaly detection",
    Settings(1.0, 0, 0),
    frozenset(),
    lambda settings: (_SPECTRUM,),
    _build_autoencoder,
    1e-3,
    0.26,
)
