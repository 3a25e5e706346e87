"""Multiply-adds and parameters of the zoo against the published ones."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from tinyc.quantize.graph import attributes_of
from tinyc.zoo import count_network, make_network, networks, tally
from tinyc.zoo.inverted_residuals import mobilenet_v2_table, parse_block, scaled_channels

CONFIGS = Path(__file__).resolve().parents[3] / "shared" / "models" / "mcunet-configs"
PUBLISHED = [name for name, network in networks().items() if network.published_macs is not None]
CONFIG_FILES = {
    "mcunet-in0": "mcunet-10fps_imagenet",
    "mcunet-in1": "mcunet-5fps_imagenet",
    "mcunet-in2": "mcunet-256kb-1mb_imagenet",
    "mcunet-in3": "mcunet-320kb-1mb_imagenet",
    "mcunet-in4": "mcunet-512kb-2mb_imagenet",
    "mcunet-256kb-1mb-int4": "mcunet-256kb-1mb-int4_imagenet",
    "mcunet-320kb-1mb-int4": "mcunet-320kb-1mb-int4_imagenet",
    "mcunet-512kb-2mb-int4": "mcunet-512kb-2mb-int4_imagenet",
    "mbv2-w0.3": "mbv2-w0.3-r80_imagenet",
    "mbv2-w0.35": "mbv2-w0.35-r144_imagenet",
    "proxyless-w0.25": "proxyless-w0.25-r112_imagenet",
    "proxyless-w0.3": "proxyless-w0.3-r176_imagenet",
    "proxyless-mobile": "proxyless_mobile",
}


def digits(published: float) -> float:
    """Half a unit of the last digit that the authors print."""
    text = f"{published:g}"
    return 0.5 * 10.0 ** -(len(text.partition(".")[2]))


@pytest.mark.parametrize("name", PUBLISHED)
def test_macs_are_the_published_ones_to_the_last_printed_digit(name: str) -> None:
    network = networks()[name]
    assert network.published_macs is not None
    # MobileNetV2's authors print 300 for 300.8: they cut instead of rounding.
    tolerance = 1.0 if name == "mobilenet-v2" else digits(network.published_macs) * 1.001
    assert count_network(name).macs / 1e6 == pytest.approx(network.published_macs, abs=tolerance)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if networks()[name].published_parameters is not None])
def test_parameters_are_the_published_ones_to_the_last_printed_digit(name: str) -> None:
    network = networks()[name]
    assert network.published_parameters is not None
    # MCUNet's table rounds some of its counts up: one unit of the last digit.
    tolerance = 2 * digits(network.published_parameters) * 1.001
    assert count_network(name).parameters / 1e6 == pytest.approx(network.published_parameters, abs=tolerance)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("mobilenet-v1", 4_231_976), ("mobilenet-v2", 3_504_872), ("proxyless-mobile", 4_080_512), ("autoencoder", 267_928)],
)
def test_parameters_equal_those_of_the_usual_implementations(name: str, parameters: int) -> None:
    assert count_network(name).parameters == parameters


@pytest.mark.parametrize(("width", "macs"), [(0.75, 325), (0.5, 149), (0.25, 41)])
def test_mobilenet_v1_scales_with_width_as_its_paper_says(width: float, macs: int) -> None:
    assert tally(make_network("mobilenet-v1", width=width)).macs / 1e6 == pytest.approx(macs, abs=1)


@pytest.mark.parametrize(("resolution", "macs"), [(192, 418), (160, 290), (128, 186)])
def test_mobilenet_v1_scales_with_resolution_as_its_paper_says(resolution: int, macs: int) -> None:
    assert tally(make_network("mobilenet-v1", resolution=resolution)).macs / 1e6 == pytest.approx(macs, abs=1)


@pytest.mark.parametrize(("width", "macs", "parameters"), [(0.75, 209, 2.61), (0.5, 97, 1.95), (0.35, 59, 1.66)])
def test_mobilenet_v2_scales_with_width_as_its_authors_say(width: float, macs: int, parameters: float) -> None:
    counted = tally(make_network("mobilenet-v2", width=width))
    assert counted.macs / 1e6 == pytest.approx(macs, abs=1)
    assert counted.parameters / 1e6 == pytest.approx(parameters, abs=0.04)


@pytest.mark.parametrize(
    ("channels", "scaled"), [(16 * 0.35, 8), (24 * 0.35, 8), (32 * 0.35, 16), (96 * 0.35, 32), (320 * 0.35, 112), (11.2, 16)]
)
def test_channels_round_to_multiples_of_eight_and_lose_at_most_a_tenth(channels: float, scaled: int) -> None:
    assert scaled_channels(channels) == scaled


def test_a_residual_of_mobilenet_v2_joins_equal_channels_at_stride_one() -> None:
    blocks = mobilenet_v2_table(1.0).blocks
    assert len(blocks) == 17
    for before, block in pairwise(blocks):
        assert block.residual == (block.stride == 1 and block.output == before.output)


@pytest.mark.parametrize("row", ["", "16k3s1>8", "16 k3 s1", "x16 k3 s1 8", "16 k3 s1 8 "])
def test_a_row_that_is_no_block_is_refused(row: str) -> None:
    with pytest.raises(ValueError, match="not a block"):
        parse_block(row)


@pytest.mark.skipif(not CONFIGS.is_dir(), reason="the published configurations are not here")
@pytest.mark.parametrize("name", list(CONFIG_FILES))
def test_the_blocks_equal_the_published_configuration(name: str) -> None:
    published = json.loads((CONFIGS / f"{CONFIG_FILES[name]}.json").read_text())
    expected = []
    for block in published["blocks"]:
        layer, shortcut = block["mobile_inverted_conv"], block["shortcut"]
        if layer["name"] == "ZeroLayer":
            continue
        expanded = layer.get("mid_channels") or round(layer["in_channels"] * layer["expand_ratio"])
        expected.append((expanded, layer["kernel_size"], layer["stride"], layer["out_channels"], shortcut is not None))
    model = make_network(name)
    sums = {node.name.removesuffix(".sum") for node in model.graph.node if node.op_type == "Add"}
    projected = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if tensor.name.endswith(".project.weight")}
    found = []
    for node in model.graph.node:
        if node.name.endswith(".depthwise.conv"):
            given, block = attributes_of(node), node.name.removesuffix(".depthwise.conv")
            found.append(
                (given["group"], given["kernel_shape"][0], given["strides"][0], projected[f"{block}.project.weight"], block in sums)
            )
    assert found == expected
    assert networks()[name].defaults.resolution == published["resolution"]
    assert networks()[name].epsilon == published["bn"]["eps"]
