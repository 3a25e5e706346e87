"""Small models for the fuzzer to start from: what the generators of single ops make."""

from __future__ import annotations

import re

import numpy as np

from support import elementwise_cases, movement_cases, numeric_cases

LARGEST_BYTES = 4096
PER_OP = 3


def seed_models() -> dict[str, bytes]:
    """File name to content: up to PER_OP models of every op, none above LARGEST_BYTES."""
    models: dict[str, bytes] = {}
    for makers in (numeric_cases.CASES, elementwise_cases.CASES, movement_cases.MOVEMENT_CASES):
        for op, make in makers.items():
            random = np.random.default_rng(0)
            small = (model for model in (make(random).model for _ in range(40)) if len(model) <= LARGEST_BYTES)
            for number, model in zip(range(PER_OP), small, strict=False):
                models[f"{re.sub('[^a-z0-9]+', '_', op.lower())}_{number}"] = model
    return models
