"""Microcontrollers as data: core, memory banks, flash, clock."""

from tinyc.targets.target import (
    CORES,
    Bank,
    Core,
    Target,
    Timing,
    available_targets,
    load_target,
    load_target_file,
    target_origins,
    timing_from,
)

__all__ = [
    "CORES",
    "Bank",
    "Core",
    "Target",
    "Timing",
    "available_targets",
    "load_target",
    "load_target_file",
    "target_origins",
    "timing_from",
]
