"""Networks of inverted residual blocks: expand, filter each channel, project (MobileNetV2, ProxylessNAS, MCUNet)."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files

from tinyc.zoo.builder import Feature, NetworkBuilder
from tinyc.zoo.network import Network, Settings, image

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_ROW = re.compile(r"(\+?)(\d+) k(\d+) s(\d+) (\d+)")


@dataclass(frozen=True)
class Block:
    """One block: channels after the expansion, side and stride of the depthwise kernel, channels after the projection, skip or not."""

    expanded: int
    kernel: int
    stride: int
    output: int
    residual: bool


@dataclass(frozen=True)
class BlockNetwork:
    """Stem channels, blocks, and the channels of the 1x1 convolution before the pooling (0: none)."""

    stem: int
    blocks: tuple[Block, ...]
    mix: int


def parse_block(row: str) -> Block:
    """Block of a row of families.toml. Raises ValueError for anything else."""
    match = _ROW.fullmatch(row)
    if match is None:
        raise ValueError(f"not a block: {row}")
    plus, *numbers = match.groups()
    expanded, kernel, stride, output = map(int, numbers)
    return Block(expanded, kernel, stride, output, plus == "+")


def build(network: BlockNetwork, builder: NetworkBuilder, settings: Settings) -> list[Feature]:
    """Appends the stem, the blocks, pooling and classifier; the output is logits."""
    feature = builder.convolution(builder.input, network.stem, 3, 2, "stem", activation="relu6")
    for index, block in enumerate(network.blocks):
        feature = _append_block(builder, feature, block, f"block{index}")
    if network.mix:
        feature = builder.convolution(feature, network.mix, 1, 1, "mix", activation="relu6")
    return [builder.dense(builder.global_average(feature, "pool"), settings.classes, "logits")]


def _append_block(builder: NetworkBuilder, source: Feature, block: Block, label: str) -> Feature:
    feature = source
    if block.expanded != source.channels:
        feature = builder.convolution(feature, block.expanded, 1, 1, f"{label}.expand", activation="relu6")
    feature = builder.convolution(
        feature, block.expanded, block.kernel, block.stride, f"{label}.depthwise", depthwise=True, activation="relu6"
    )
    feature = builder.convolution(feature, block.output, 1, 1, f"{label}.project", damped=block.residual)
    return builder.addition(source, feature, f"{label}.sum") if block.residual else feature


@cache
def family_networks() -> tuple[Network, ...]:
    """The networks of families.toml."""
    tables = tomllib.loads((files("tinyc.zoo") / "families.toml").read_text(encoding="utf-8"))
    return tuple(
        Network(
            name,
            table["title"],
            Settings(1.0, table["resolution"], table["classes"]),
            frozenset({"resolution", "classes"}),
            image,
            partial(build, BlockNetwork(table["stem"], tuple(parse_block(row) for row in table["blocks"]), table["mix"])),
            table["epsilon"],
            table.get("published_macs"),
            table.get("published_parameters"),
        )
        for name, table in tables.items()
    )


_MOBILENET_V2: Sequence[tuple[int, int, int, int]] = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Table 2 of Sandler et al., CVPR 2018: expansion, channels, repetitions, stride of the first repetition."""


def scaled_channels(channels: float) -> int:
    """`channels` as a multiple of 8, the nearest, but not more than a tenth below: the rule of the MobileNetV2 authors' code."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def mobilenet_v2_table(width: float) -> BlockNetwork:
    """MobileNetV2 at any width; the last 1x1 convolution never shrinks."""
    blocks, channels = list[Block](), scaled_channels(32 * width)
    stem = channels
    for expansion, output, repetitions, stride in _MOBILENET_V2:
        for repetition in range(repetitions):
            scaled = scaled_channels(output * width)
            blocks.append(Block(expansion * channels, 3, stride if repetition == 0 else 1, scaled, repetition > 0))
            channels = scaled
    return BlockNetwork(stem, tuple(blocks), scaled_channels(1280 * max(width, 1.0)))


def _build_mobilenet_v2(builder: NetworkBuilder, settings: Settings) -> list[Feature]:
    return build(mobilenet_v2_table(settings.width), builder, settings)


MOBILENET_V2 = Network(
    "mobilenet-v2",
    "MobileNetV2, ImageNet",
    Settings(1.0, 224, 1000),
    frozenset({"width", "resolution", "classes"}),
    image,
    _build_mobilenet_v2,
    1e-3,
    300,
    3.5,
)
