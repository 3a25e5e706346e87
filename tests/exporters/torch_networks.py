"""Float PyTorch networks with what people's own have, and how the two exporters write them."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

SHAPE = (1, 3, 32, 32)


def _normalised(convolution: nn.Conv2d, activation: nn.Module | None) -> nn.Sequential:
    layers = [convolution, nn.BatchNorm2d(convolution.out_channels)]
    return nn.Sequential(*layers, *([] if activation is None else [activation]))


class Classifier(nn.Module):
    """Convolution with batch normalisation and ReLU, an inverted residual with ReLU6 and hard swish, global pooling, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _normalised(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.ReLU())
        self.expand = _normalised(nn.Conv2d(16, 32, 1, bias=False), nn.ReLU6())
        self.depthwise = _normalised(nn.Conv2d(32, 32, 3, 1, 1, groups=32, bias=False), nn.Hardswish())
        self.project = _normalised(nn.Conv2d(32, 16, 1, bias=False), None)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classes = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        feature = self.stem(image)
        feature = feature + self.project(self.depthwise(self.expand(feature)))
        result: Tensor = self.classes(torch.flatten(self.pool(feature), 1))
        return result


class Neck(nn.Module):
    """Concatenation, nearest enlargement, a normalisation in front of a padded convolution, split, gate, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        self.norm, self.mix = nn.BatchNorm2d(24), nn.Conv2d(24, 16, 3, padding=1)
        self.side, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(16, 6, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        fine = functional.relu(self.fine(image))
        coarse = functional.leaky_relu(self.coarse(fine), 0.1)
        enlarged = functional.interpolate(coarse, scale_factor=2, mode="nearest")
        mixed = functional.relu6(self.mix(self.norm(torch.cat([fine, enlarged], 1))))
        left, right = torch.split(mixed, 8, dim=1)
        gated = torch.sigmoid(functional.max_pool2d(right, 3, 1, 1)) * left
        joined = torch.cat([self.side(left), gated], 1)
        return self.head(joined), joined.mean((2, 3))


class Squeezed(nn.Module):
    """Squeeze and excite, Hardsigmoid, a global maximum, one-sided clamp, one slope for all channels, a difference with a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _normalised(nn.Conv2d(3, 8, 3, 2, bias=False), nn.PReLU())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.Hardsigmoid())
        self.classes = nn.Linear(16, 5)

    def forward(self, image: Tensor) -> Tensor:
        feature = self.stem(functional.pad(image, (0, 1, 0, 1)))
        feature = (feature * self.gate(feature) - 0.25).clamp(min=0)
        largest = functional.adaptive_max_pool2d(feature, 1)
        pooled = torch.cat([largest, feature.mean((2, 3), keepdim=True)], 1)
        return functional.softmax(self.classes(pooled.flatten(1)), dim=1)


NETWORKS = {"classifier": Classifier, "neck": Neck, "squeezed": Squeezed}


def make(name: str) -> nn.Module:
    """The network for inference, with normalisations that do something."""
    torch.manual_seed(1)
    network: nn.Module = NETWORKS[name]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.3, 0.3),
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 1.5),
            ):
                assert values is not None
                values.uniform_(low, high)
    return network.eval()


def export(network: nn.Module, path: Path, dynamo: bool, free_batch: bool = False) -> Path:
    """`network` as an ONNX file, by the dynamo or the TorchScript exporter; weights may lie in a file beside it."""
    if not free_batch:
        free: dict[str, object] = {}
    elif dynamo:
        free = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    else:
        free = {"dynamic_axes": {"input": {0: "batch"}}}
    # One sample would make the dynamo exporter take the batch for a constant.
    example = torch.zeros(2 if free_batch else 1, *SHAPE[1:])
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(network, (example,), str(path), dynamo=dynamo, input_names=["input"], verbose=False, **free)
    finally:
        logging.disable(level)
    return path
