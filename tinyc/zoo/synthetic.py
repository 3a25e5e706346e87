"""Made-up inputs: smooth random images, for calibration and for the statistics of random networks.

Neighbouring pixels of photographs are alike; white noise would put almost all energy where the first convolutions average it away.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_COARSEST = 4


def synthetic_inputs(shape: Sequence[int], count: int, seed: int) -> NDArray[np.float32]:
    """`count` inputs of `shape` (without a batch axis), float32 in [-1, 1], the same for the same seed everywhere.

    Images (channels, height, width) are sums of nearest-neighbour enlarged noise, each grid twice as fine as the one before and half as
    strong; vectors are independent values.
    """
    # RandomState, because its stream is frozen; numpy may change the one of Generator.
    random = np.random.RandomState(seed)
    inputs = np.zeros((count, *shape))
    if len(shape) != 3:
        return np.asarray(random.uniform(-1, 1, inputs.shape), np.float32)
    channels, height, width = shape
    cells, strength, total = _COARSEST, 1.0, 0.0
    while cells < 2 * max(height, width):
        rows, columns = min(cells, height), min(cells, width)
        noise = random.uniform(-1, 1, (count, channels, rows, columns))
        inputs += strength * noise[:, :, np.arange(height) * rows // height][:, :, :, np.arange(width) * columns // width]
        total += strength
        cells, strength = 2 * cells, strength / 2
    # The sum seldom comes near its bound: stretch it, and let the rare rest saturate like an overexposed pixel.
    return np.asarray(np.clip(inputs * (2 / total), -1, 1), np.float32)
