"""What the zoo knows of a network before building it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinyc.zoo.builder import Feature, NetworkBuilder


@dataclass(frozen=True)
class Settings:
    """What a user can choose. `resolution` is pixels a side, `width` multiplies channels, `seed` decides random weights."""

    width: float
    resolution: int
    classes: int
    seed: int = 0


@dataclass(frozen=True)
class Network:
    """One entry of the zoo.

    `build` appends the layers to a builder and returns the outputs. `input_shape` gives the shape of one input for the settings.
    `adjustable` names the settings that this network takes; the others stay at `defaults`. The published figures are millions, None where
    its authors gave none. `multiple` is what the resolution must be a multiple of.
    """

    name: str
    title: str
    defaults: Settings
    adjustable: frozenset[str]
    input_shape: Callable[[Settings], tuple[int, ...]]
    build: Callable[[NetworkBuilder, Settings], list[Feature]]
    epsilon: float = 1e-5
    published_macs: float | None = None
    published_parameters: float | None = None
    multiple: int = 1


def image(settings: Settings) -> tuple[int, ...]:
    """Shape of a square colour image."""
    return 3, settings.resolution, settings.resolution
