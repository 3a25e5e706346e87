"""Microcontrollers as data: core, memory banks, flash, clock."""

from tinyc.targets.target import CORES, Bank, Core, Target, available_targets, load_target, load_target_file, target_origins

__all__ = ["CORES", "Bank", "Core", "Target", "available_targets", "load_target", "load_target_file", "target_origins"]
